"""Hostile requests of many identities on shared connections; part of ``tests.system.attack``.

Every route by method by identity of the OpenAPI document, with hostile paths, headers and bodies,
several in a row on one connection. Each names itself by a correlation id, so an answer that went to
another request is seen. Made from a seed. Loopback only.
"""

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

_IN_A_ROW = 24
_ANSWER_S = 60.0
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# What may change the registry or empty the cache is asked for by those alone who must not.
_READERS_ONLY = ("registry-write", "admin", "review")
_PARAMETER = re.compile(r"\{[^}]+\}")
_NAMES = (
    "nobody",
    "..%2f..%2fetc%2fpasswd",
    "%00",
    "a" * 300,
    "-1",
    "0' OR '1'='1",
    "%F0%9F%92%A9",
    "0" * 64,
)
_HEADERS = (
    "X-Deadline-Ms: -1",
    "X-Deadline-Ms: 1",
    "X-Priority: never",
    "X-Priority: interactive",
    "X-Forwarded-For: 127.0.0.1",
    "X-Sentigraph-Front: 00000000000000000000000000000000 127.0.0.1",
    "X-Actor: admin",
    "X-Original-URL: /metrics",
    "X-HTTP-Method-Override: DELETE",
    "X-Request-ID: plain",
    "Content-Encoding: gzip",
    "Cookie: X-API-Key=x",
    "Host: evil.example",
    "Idempotency-Key: " + "k" * 400,
)


@dataclass(slots=True)
class Seen:
    """What came back."""

    answers: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    misdirected: list[str] = field(default_factory=list)
    broken: int = 0

    @property
    def count(self) -> int:
        """Requests that were answered."""
        return self.answers.total()


def _bodies(rng: random.Random) -> bytes:
    made: Sequence[Callable[[], object]] = (
        lambda: {"text": "a good text"},
        lambda: {"text": rng.choice(["", " ", "\x00", "x" * 10_001, "\u202e"])},
        lambda: {"text": 1},
        lambda: {"texts": [rng.choice(["a", "", " ", None, 7]) for _ in range(rng.randint(0, 9))]},
        lambda: {"prediction_id": "x", "corrected_label": "y"},
        lambda: [[[[]]]],
        lambda: {"inputs": [{"name": "text", "shape": [1 << 62], "datatype": "BYTES"}]},
        lambda: {"name": "../x", "version": -1, "stage": "production", "reason": ""},
    )
    raw: Sequence[bytes] = (b"{", b"\xff\xfe", b'{"text": "\\ud800"}', b"[" * 2_000, b"NaN", b"")
    if rng.random() < 0.4:
        return rng.choice(raw)
    return json.dumps(rng.choice(made)()).encode()


class Attack:
    """The requests of all identities against one server."""

    def __init__(self, paths: Sequence[str], identities: Mapping[str, Sequence[str]]) -> None:
        """``paths``: with parameters in braces. ``identities``: header lines by name."""
        self._paths = paths
        self._identities = identities

    def request(self, seed: int) -> tuple[str, str, bytes]:
        """Identity, method and bytes of a request; its correlation id is ``h-SEED``."""
        rng = random.Random(seed)
        identity = rng.choice(list(self._identities))
        path = _PARAMETER.sub(lambda _: rng.choice(_NAMES), rng.choice(self._paths))
        if rng.random() < 0.1:
            path = rng.choice([f"/{path}", f"{path}/", path.upper(), f"{path}?a={'b' * 500}"])
        method = rng.choice(_METHODS)
        body = b"" if method in ("GET", "HEAD", "OPTIONS") else _bodies(rng)
        if identity in _READERS_ONLY and method not in ("GET", "HEAD", "OPTIONS"):
            method, body = "POST", rng.choice([b"{", b"[]", b'{"text": 1}'])
        lines = [f"{method} {path.replace(' ', '%20')} HTTP/1.1", "Host: x"]
        lines += [f"X-Correlation-ID: h-{seed}", *self._identities[identity]]
        lines += rng.sample(_HEADERS, rng.choice([0, 0, 1, 2]))
        if body or method not in ("GET", "HEAD", "OPTIONS"):
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        seen = set[str]()
        lines = [each for each in lines if not (_name(each) in seen or seen.add(_name(each)))]  # type: ignore[func-returns-value]
        return identity, method, "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

    async def client(self, host: str, port: int, seeds: "Seeds", seen: Seen) -> None:
        """Sends until the seeds are used up."""
        while row := seeds.take(_IN_A_ROW):
            asked = [(seed, *self.request(seed)) for seed in row]
            try:
                reader, writer = await asyncio.open_connection(host, port)
            except OSError:
                seen.broken += 1
                await asyncio.sleep(0.5)
                continue
            try:
                for number, (*_, content) in enumerate(asked):
                    writer.write(content)
                    # Some wait in a row, as a client that pipelines does.
                    if number % 3 == 0:
                        await writer.drain()
                for seed, identity, method, _ in asked:
                    status, headers = await asyncio.wait_for(_answer(reader, method), _ANSWER_S)
                    _note(seen, seed, identity, method, status, headers)
                    if headers.get("connection", "").lower() == "close":
                        break
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
                seen.broken += 1
            finally:
                writer.transport.abort()


def _name(line: str) -> str:
    return line.split(" ", maxsplit=1)[0].lower()


def _note(
    seen: Seen, seed: int, identity: str, method: str, status: int, headers: Mapping[str, str]
) -> None:
    seen.answers[f"{identity} {status}"] += 1
    if status >= 500 and len(seen.faults) < 50:
        seen.faults.append(f"{seed} {identity} {method} {status}")
    # HAProxy's own refusals name nobody.
    named = headers.get("x-correlation-id")
    if named is not None and named != f"h-{seed}":
        seen.misdirected.append(f"{seed} got {named[:40]}")


async def _answer(reader: asyncio.StreamReader, method: str) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split()[1])
    headers = {
        k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)
    }
    if method == "HEAD" or status in (204, 304):
        return status, headers
    if "chunked" in headers.get("transfer-encoding", ""):
        while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
            await reader.readexactly(size + 2)
        await reader.readuntil(b"\r\n")
    else:
        await reader.readexactly(int(headers.get("content-length", "0")))
    return status, headers


class Seeds:
    """Seeds from one number on, until a time is over."""

    def __init__(self, first: int, go_on: Callable[[], bool]) -> None:
        self._next = first
        self._go_on = go_on

    def take(self, count: int) -> range:
        """The next ones; empty at the end."""
        if not self._go_on():
            return range(0)
        row = range(self._next, self._next + count)
        self._next = row.stop
        return row
