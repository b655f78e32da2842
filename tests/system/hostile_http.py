"""Malformed and hostile requests on raw sockets; part of ``tests.system.abuse``.

Every one is made from a seed, so a bad one can be sent again. What must hold: the process
lives, nothing is answered with 5xx, and its memory does not grow. Loopback only.
"""

import asyncio
import json
import random
import socket
import statistics
import struct
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

from benchmarks.harness.processes import memory_mb

_PREDICT, _BATCH, _OIP = "/api/v1/predict", "/api/v1/predict/batch", "/v2/models/m/infer"
_PATIENCE_S, _ANSWER_S = 1.0, 15.0
_UP_AND_DOWN_MB = 5.0
_PARTS = 20
_T_OF_8 = 2.306  # 95 % of a line through ten marks
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_GOOD = json.dumps({"text": "a good text"}).encode()


def _junk(rng: random.Random, most: int = 200) -> bytes:
    return rng.randbytes(rng.randint(0, most))


def _request(
    body: bytes, path: str = _PREDICT, method: str = "POST", headers: tuple[bytes, ...] = ()
) -> bytes:
    head = [f"{method} {path} HTTP/1.1".encode(), b"Host: x", b"Connection: close", *headers]
    if not any(h.lower().startswith((b"content-length", b"transfer-")) for h in headers):
        head.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def _json(rng: random.Random) -> bytes:
    """JSON that is wrong somewhere: shape, type, depth, encoding."""
    kinds: list[Callable[[], bytes]] = [
        lambda: _junk(rng),
        lambda: _GOOD[: rng.randrange(len(_GOOD))],
        lambda: b"[" * rng.randint(1, 20_000),
        lambda: b'{"text":' * rng.randint(1, 5_000) + b"1",
        lambda: b'{"text": %s}' % rng.choice([b"NaN", b"1e999", b"null", b"[]", b"{}", b"true"]),
        lambda: b'{"text": "\\ud800"}',
        lambda: b'{"text": "' + _junk(rng) + b'"}',
        lambda: b'{"text": "a", "text": 1}',
        lambda: b'{"text": "a", "__proto__": {}, "model": "../../x"}',
        lambda: b'{"text": "%s"}' % (b"\\u0000" * rng.randint(1, 2_000)),
        lambda: b'{"text": %s}' % (b"9" * rng.randint(1, 20_000)),
        lambda: b'{"text": "%s"}' % (b"x" * rng.randint(10_001, 60_000)),
        lambda: b"\xff\xfe" + _GOOD.decode().encode("utf-16-le"),
    ]
    return _request(rng.choice(kinds)())


def _batch(rng: random.Random) -> bytes:
    texts: list[object] = [
        rng.choice(["", " ", "\x00", None, 1, [], {}, "\u202e", "x" * 10_001])
        for _ in range(rng.randint(0, 60))
    ]
    return _request(json.dumps({"texts": texts}).encode(), _BATCH)


def _oip(rng: random.Random) -> bytes:
    tensor = {
        "name": "text",
        "shape": rng.choice([[1], [-1], [1 << 62], [0], [], ["a"], [1, 1, 1]]),
        "datatype": rng.choice(["BYTES", "FP32", "", 1]),
        "parameters": {"binary_data_size": rng.choice([0, -1, 1 << 62, 9, None])},
    }
    body = json.dumps({"inputs": [tensor] * rng.randint(0, 2)}).encode()
    length = rng.choice([len(body), -1, 1 << 62, 0, "x"])
    tail = struct.pack("<I", rng.choice([0, 1, 5, 0xFFFFFFFF])) + _junk(rng, 9)
    header = f"Inference-Header-Content-Length: {length}".encode()
    return _request(body + tail, _OIP, headers=(header, b"Content-Type: application/octet-stream"))


def _path(rng: random.Random) -> bytes:
    path = rng.choice(
        [
            "/api/v1/../../etc/passwd",
            "/api/v1/%2e%2e/%2e%2e/etc/passwd",
            "/%00",
            "//api/v1/predict",
            "/api/v1/predict/",
            "/api/v1/health/ready?vault_addr=http://127.0.0.1:1",
            "/" + "a" * rng.randint(1, 9_000),
            "/" + "%" * rng.randint(1, 200),
            "/v2/models/" + "x" * rng.randint(1, 500) + "/infer",
            "/api/v1/models/" + "../" * rng.randint(1, 50),
            "*",
            "http://127.0.0.1:1/",
        ]
    )
    method = rng.choice(["GET", "POST", "PUT", "DELETE", "TRACE", "CONNECT", "PROPFIND", "get"])
    return _request(b"", path, method)


def _headers(rng: random.Random) -> bytes:
    headers = rng.choice(
        [
            (b"X-Correlation-ID: " + b"a" * rng.randint(100, 7_000),),
            (b"X-Correlation-ID: \x01\x7f\xff",),
            (b"X-Deadline-Ms: " + rng.choice([b"-1", b"0", b"1e9", b"\xff", b"9" * 400]),),
            (b"X-Priority: " + _junk(rng, 20).hex().encode(),),
            (b"X-API-Key: " + _junk(rng, 60).hex().encode(),),
            (b"Authorization: Bearer " + b"." * rng.randint(0, 7_000),),
            tuple(b"X-%d: %d" % (i, i) for i in range(rng.randint(50, 400))),
            (b"Content-Type: " + _junk(rng, 30).hex().encode(),),
            (b"Content-Encoding: gzip",),
            (b"Content-Length: " + rng.choice([b"-1", b"99999999999999", b"x", b"1, 2"]),),
            (b"Content-Length: 5", b"Content-Length: 50"),
            (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
            (b"Transfer-Encoding: chunked",),
            (b"Expect: 100-continue",),
            (b"Origin: https://evil.example",),
            (b"No colon here",),
            (b" folded: x",),
        ]
    )
    return _request(_GOOD, headers=headers)


def _raw(rng: random.Random) -> bytes:
    return rng.choice(
        [
            _junk(rng, 2_000),
            b"GET / HTTP/9.9\r\n\r\n",
            b"\x16\x03\x01" + _junk(rng),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _junk(rng),
            b"POST / HTTP/1.1\r\n" + b"A" * rng.randint(1, 9_000),
            _request(_GOOD)[: rng.randrange(60)],
        ]
    )


_KINDS = (_json, _json, _batch, _oip, _path, _headers, _raw)


def make(seed: int) -> tuple[str, bytes]:
    """The request of a seed, and what kind it is of."""
    rng = random.Random(seed)
    kind = rng.choice(_KINDS)
    return kind.__name__.strip("_"), kind(rng)


async def send(host: str, port: int, request: bytes, *, leave: bool) -> str:
    """The status that came back, ``closed`` for none, ``silent`` for no answer in time."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        if leave:
            return "left"
        try:
            line = await asyncio.wait_for(reader.readline(), _PATIENCE_S)
        except TimeoutError:
            writer.write_eof()  # it waits for more, and there is none
            line = await asyncio.wait_for(reader.readline(), _ANSWER_S)
        parts = line.split()
        return parts[1].decode("latin-1")[:3] if len(parts) > 1 else "closed"
    except TimeoutError:
        return "silent"
    except OSError:
        return "closed"
    finally:
        raw = writer.get_extra_info("socket")
        # Reset, so that a hundred thousand closed connections do not use up the ports.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


async def attack(
    url: str, model: str, count: int, concurrency: int, pid: int, key: str = ""
) -> dict[str, object]:
    """Sends ``count`` requests, half of them with ``key``; what came back, and the memory.

    The server gives free memory back in teeth, so flat is what its feet say: over the second half
    their line rises by less than 5 MB.
    """
    address = urlsplit(url)
    host, port = address.hostname or "", address.port or 80
    if host not in _LOOPBACK:
        raise SystemExit("loopback only")
    answers: Counter[str] = Counter()
    bad: list[int] = []
    seeds = iter(range(count))
    # Least and most memory in each twentieth: of the teeth between two trims, their feet and tips.
    least, most = [float("inf")] * _PARTS, [0.0] * _PARTS
    begin_mb = rss_mb(pid)

    async def client() -> None:
        for seed in seeds:
            kind, request = make(seed)
            request = request.replace(_OIP.encode(), f"/v2/models/{model}/infer".encode(), 1)
            if key and seed % 2:
                named = f"Host: x\r\nX-API-Key: {key}\r\n".encode()
                request = request.replace(b"Host: x\r\n", named, 1)
            status = await send(host, port, request, leave=seed % 50 == 0)
            answers[f"{kind} {status}"] += 1
            if status.startswith("5") or status == "silent":
                bad.append(seed)
            if seed % max(1, count // (50 * _PARTS)) == 0:
                part, mb = seed * _PARTS // count, rss_mb(pid)
                least[part], most[part] = min(least[part], mb), max(most[part], mb)

    await asyncio.gather(*(client() for _ in range(concurrency)))
    return {
        "sent": sum(answers.values()),
        "answers": dict(sorted(answers.items())),
        "5xx": sum(n for name, n in answers.items() if name.split()[1].startswith("5")),
        "bad_seeds": sorted(bad)[:20],
        "rss_mb_before": begin_mb,
        "rss_mb": {"least": least, "most": most},
        "second_half": (rise := growth(least[_PARTS // 2 :])),
        "flat": rise["grown_mb"] < _UP_AND_DOWN_MB,
    }


def growth(marks: list[float]) -> dict[str, float]:
    """Megabytes from the first mark to the last by the line of least squares, and how sure."""
    places = range(len(marks))
    slope, _ = statistics.linear_regression(places, marks)
    line = [slope * place for place in places]
    left = [mark - level for mark, level in zip(marks, line, strict=True)]
    spread = statistics.pstdev(places) * len(marks) ** 0.5
    error = (statistics.pvariance(left) * len(marks) / (len(marks) - 2)) ** 0.5 / spread
    last = len(marks) - 1
    return {
        "grown_mb": round(slope * last, 1),
        "plus_minus_mb": round(_T_OF_8 * error * last, 1),
    }


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    return memory_mb([pid])[0]
