"""Hostile requests of many identities on shared connections; part of ``tests.system.attack``.

Every route by method by identity of the OpenAPI document, with hostile paths, headers and bodies,
several in a row on one connection. They are made once, each from a seed; only the correlation id
by which a request names itself is put in when it is sent, so the client costs the machine little
and an answer that went to another request is seen. Loopback only.
"""

import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from deployments.access.roles import needed

_IN_A_ROW = 24
_ANSWER_S = 60.0
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_WITHOUT_BODY = ("GET", "HEAD", "OPTIONS")
# What may change the registry or empty the cache is asked for by those alone who must not.
_READERS_ONLY = ("registry-write", "admin", "review")
_PARAMETER = re.compile(r"\{[^}]+\}")
_NAMES = (
    "nobody",
    "..%2f..%2fetc%2fpasswd",
    "%00",
    "a" * 300,
    "-1",
    "0'%20OR%20'1'='1",
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
    """What came back.

    Attributes:
        answers: By identity and status.
        faults: Answers with 5xx.
        misdirected: Answers that name another request.
        undue: Answers with 2xx to those that the route is closed to.
        cut_off: Connections that ended before the answers did.
    """

    answers: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    misdirected: list[str] = field(default_factory=list)
    undue: list[str] = field(default_factory=list)
    cut_off: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True)
class Template:
    """A request up to its correlation id, and from there on.

    Attributes:
        seed: What it was made from.
        identity: Who sends it.
        refused: Whether nothing but a refusal is due.
    """

    seed: int
    identity: str
    method: str
    path: str
    before: bytes
    after: bytes
    refused: bool

    @property
    def head(self) -> bool:
        """Whether its answer has no body."""
        return self.method == "HEAD"


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


def template(seed: int, paths: Sequence[str], identities: Mapping[str, Sequence[str]]) -> Template:
    """The request of a seed.

    Args:
        seed: Of the choices.
        paths: With parameters in braces.
        identities: Header lines by name.
    """
    rng = random.Random(seed)
    identity = rng.choice(list(identities))
    path = _PARAMETER.sub(lambda _: rng.choice(_NAMES), rng.choice(paths))
    method = rng.choice(_METHODS)
    refused = _refused(identity, needed(method, path))
    if rng.random() < 0.1:
        path = rng.choice([f"/{path}", f"{path}/", path.upper(), f"{path}?a={'b' * 500}"])
        refused = False
    body = b"" if method in _WITHOUT_BODY else _bodies(rng)
    if identity in _READERS_ONLY and method not in _WITHOUT_BODY:
        method, body = "POST", rng.choice([b"{", b"[]", b'{"text": 1}'])
        refused = False
    lines = ["Host: x", *identities[identity], *rng.sample(_HEADERS, rng.choice([0, 0, 1, 2]))]
    if method not in _WITHOUT_BODY:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    # The first of a name, so that no request is refused for its framing alone.
    once = list({line.partition(":")[0].lower(): line for line in reversed(lines)}.values())
    before = f"{method} {path} HTTP/1.1\r\nX-Correlation-ID: h-"
    after = "".join(f"\r\n{line}" for line in once) + "\r\n\r\n"
    encoded = before.encode("latin-1"), after.encode("latin-1") + body
    return Template(seed, identity, method, path, *encoded, refused)


def _refused(identity: str, need: str) -> bool:
    if need in ("service", "health"):
        return False
    if identity in ("none", "wrong", "expired", "bearer"):
        return True
    return identity not in ("admin", need) and need not in ("metrics", "docs")


class Numbers:
    """Numbers of requests that are still to be sent, shared by connections, until a time."""

    def __init__(self, count: int, ends_s: float) -> None:
        self._next, self._stop, self._ends_s = 0, count, ends_s

    def take(self, most: int) -> range:
        """The next ones; empty at the end."""
        if time.monotonic() > self._ends_s:
            return range(0)
        row = range(self._next, min(self._next + most, self._stop))
        self._next = row.stop
        return row

    def unanswered(self, count: int) -> None:
        """So many more are to be sent in place of those that had no answer."""
        self._stop += count


class Pipeline(asyncio.Protocol):
    """A connection on which rows of requests are sent, each when the last is answered."""

    def __init__(
        self, templates: Sequence[Template], numbers: Numbers, seen: Seen, rng: random.Random
    ) -> None:
        self._templates, self._numbers, self._seen, self._rng = templates, numbers, seen, rng
        self._row: list[tuple[int, Template]] = []
        self._received = b""
        self._transport: asyncio.Transport | None = None
        # Set to whether there may be more to send, on another connection.
        self.ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the first row."""
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Notes what is complete."""
        self._received += data
        at = 0
        while self._row:
            end = self._answer(at)
            if end is None:
                break
            at = end
        self._received = self._received[at:]
        if not self._row and not self.ended.done():
            self._send()

    def connection_lost(self, _: Exception | None) -> None:
        """The rest of the row has no answer."""
        self._seen.cut_off += bool(self._row)
        self._numbers.unanswered(len(self._row))
        if not self.ended.done():
            self.ended.set_result(True)

    def close(self) -> None:
        """Ends the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _send(self) -> None:
        numbers = self._numbers.take(_IN_A_ROW)
        chosen = self._rng.choices(self._templates, k=len(numbers))
        # The first to be answered is the last.
        self._row = list(zip(numbers, chosen, strict=True))[::-1]
        if not self._row:
            self.ended.set_result(False)
            return
        assert self._transport is not None
        parts = (b"%b%d%b" % (each.before, n, each.after) for n, each in reversed(self._row))
        self._transport.write(b"".join(parts))

    def _answer(self, at: int) -> int | None:
        """Notes the answer that starts there; where it ends, or None when it is not complete."""
        received = self._received
        begin = received.find(b"\r\n\r\n", at)
        if begin < 0:
            return None
        head, begin = received[at:begin].lower(), begin + 4
        number, sent = self._row[-1]
        status = int(head[9:12])
        if not sent.head and status not in (204, 304):
            if b"transfer-encoding: chunked" in head:
                end = received.find(b"0\r\n\r\n", begin)
                if end < 0:
                    return None
                begin = end + 5
            else:
                begin += int(_header(head, b"\r\ncontent-length:") or 0)
                if begin > len(received):
                    return None
        self._row.pop()
        self._note(number, sent, status, head)
        return begin

    def _note(self, number: int, sent: Template, status: int, head: bytes) -> None:
        seen = self._seen
        seen.count += 1
        seen.answers[f"{sent.identity} {status}"] += 1
        said = f"{sent.seed} {sent.identity} {sent.method} {sent.path[:80]} {status}"
        if status >= 500:
            seen.faults.append(said)
        if sent.refused and status < 300:
            seen.undue.append(said)
        # HAProxy's own refusals name nobody.
        named = _header(head, b"\r\nx-correlation-id:")
        if named and named != b"h-%d" % number:
            seen.misdirected.append(f"{said} got {named[:40]!r} for {number}")


def _header(head: bytes, name: bytes) -> bytes:
    at = head.find(name)
    if at < 0:
        return b""
    end = head.find(b"\r\n", at + 2)
    return head[at + len(name) : end if end >= 0 else len(head)].strip()


async def send_all(
    port: int, templates: Sequence[Template], numbers: Numbers, connections: int, seen: Seen
) -> None:
    """Sends requests to a port of this machine until ``numbers`` are used up."""
    loop = asyncio.get_running_loop()

    async def client(number: int) -> None:
        rng, more = random.Random(number), True
        while more:
            try:
                _, pipeline = await loop.create_connection(
                    lambda: Pipeline(templates, numbers, seen, rng), "127.0.0.1", port
                )
            except OSError:
                await asyncio.sleep(0.5)
                continue
            before = -1
            while not pipeline.ended.done():
                await asyncio.wait([pipeline.ended], timeout=_ANSWER_S)
                if seen.count == before:
                    break
                before = seen.count
            pipeline.close()
            more = not pipeline.ended.done() or pipeline.ended.result()

    await asyncio.gather(*(client(number) for number in range(connections)))
