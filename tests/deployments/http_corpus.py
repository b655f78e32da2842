"""Good and bad requests to the predict routes, as they go over the wire."""

import json
from collections.abc import Iterable

ONE, BATCH = "/api/v1/predict", "/api/v1/predict/batch"
_GZIP = bytes.fromhex("1f8b0800000000000003")


def request(
    body: bytes | object,
    *headers: str,
    path: str = ONE,
    method: str = "POST",
    version: str = "1.1",
    length: int | None = -1,
    content_type: str | None = "application/json",
) -> bytes:
    """One request; ``length`` is what it announces, by default that of its body."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    announced = len(content) if length == -1 else length
    lines = [f"{method} {path} HTTP/{version}", "Host: sentigraph"]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    if announced is not None:
        lines.append(f"Content-Length: {announced}")
    return "\r\n".join([*lines, *headers, "", ""]).encode("latin-1") + content


def _text(text: str, *headers: str) -> bytes:
    return request({"text": text}, *headers)


_TEXTS = {
    "plain": "good parcel",
    "the same once more": "good parcel",
    "white space around": "  \n good parcel\t ",
    "umlauts": "schöne Größe",
    "emoji": "😀 wonderful 🎉",
    "right to left": "שלום עולם",
    "chinese": "这个产品非常好",
    "nul": "a\0b",
    "one character": "x",
    "longest": "ab " * 33,
    "too long": "a" * 101,
    "empty": "",
    "blank": " \t\n ",
}
_BODIES: dict[str, bytes] = {
    "no body": b"",
    "not JSON": b"{",
    "not UTF-8": b'{"text": "\xff\xfe"}',
    "lone surrogate": rb'{"text": "\ud83d"}',
    "escaped pair": rb'{"text": "\ud83d\ude00"}',
    "NaN": b'{"text": NaN}',
    "number": b'{"text": 3}',
    "null": b'{"text": null}',
    "list": b'["good"]',
    "string": b'"good"',
    "no field": b"{}",
    "one more field": b'{"text": "good", "lang": "en"}',
    "twice the field": b'{"text": "good", "text": "bad"}',
    "deep": b'{"text": ' + b"[" * 300 + b"]" * 300 + b"}",
    "rest behind": b'{"text": "good"} x',
    "byte order mark": b'\xef\xbb\xbf{"text": "good"}',
    "above the limit of bodies": b'{"text": "' + b"a" * 70_000 + b'"}',
    "above what the fast path takes": b'{"text": "x"' + b" " * 65_600 + b"}",
}
_HEADERS: dict[str, tuple[str, ...]] = {
    "correlation id": ("X-Correlation-ID: order-17.a:b",),
    "bad correlation id": ("X-Correlation-ID: a b\tc",),
    "long correlation id": ("X-Correlation-ID: " + "a" * 200,),
    "request id": ("X-Request-ID: f81d4fae-7dec",),
    "two request ids": ("X-Request-ID: first", "X-Request-ID: second"),
    "empty request id": ("X-Request-ID:",),
    "deadline": ("X-Deadline-Ms: 5000",),
    "deadline above the limit": ("X-Deadline-Ms: 999999999999999999",),
    "deadline 0": ("X-Deadline-Ms: 0",),
    "deadline no number": ("X-Deadline-Ms: soon",),
    "negative deadline": ("X-Deadline-Ms: -5",),
    "bulk": ("X-Priority: bulk",),
    "unknown priority": ("X-Priority: vip",),
    "routing key": ("X-Routing-Key: user 17",),
    "gzip": ("Content-Encoding: gzip",),
    "identity": ("Content-Encoding: identity",),
    "traced": ("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",),
    "not traced": ("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",),
    "bad trace": ("traceparent: 00-xyz",),
    "connection close": ("Connection: close",),
    "keep-alive": ("Connection: keep-alive",),
    "HTTP/2 offered": ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"),
    "expect": ("Expect: 100-continue",),
    "origin": ("Origin: https://shop.example",),
    "forwarded": ("X-Forwarded-For: 10.1.2.3", "X-Forwarded-Proto: https"),
    "timeout of Serve": ("X-Request-Timeout-Seconds: 30",),
    "no watch for disconnects": ("X-Request-Disconnect-Disabled: ?1",),
    "unknown": ("X-Whatever: 1", "X-Empty:"),
    "latin-1": ("X-Routing-Key: Stra\xdfe",),
    "many": tuple(f"X-{i}: {i}" for i in range(60)),
    "key": ("X-API-Key: writer-key-0123456789",),
    "wrong key": ("X-API-Key: wrong",),
    "key without the role": ("X-API-Key: reader-key-0123456789",),
    "no bearer": ("Authorization: Bearer x.y.z",),
}
_TYPES = {
    "charset": "application/json; charset=utf-8",
    "capitals": "Application/JSON",
    "text": "text/plain",
    "form": "multipart/form-data; boundary=x",
    "empty": "",
    "long": "x" * 300,
}
_BATCHES: dict[str, object] = {
    "two": ["good", "bad parcel"],
    "cached and new": ["good", "another new one"],
    "one bad": ["good", " ", "a" * 101],
    "all bad": ["", " "],
    "same twice": ["again", "again"],
    "none": [],
    "too many": ["x"] * 9,
    "numbers": [1, 2],
    "string": "good",
}


def corpus() -> Iterable[tuple[str, bytes]]:
    """Name and bytes of each request, in the order in which they are sent."""
    for name, text in _TEXTS.items():
        yield f"text: {name}", _text(text)
    for name, body in _BODIES.items():
        yield f"body: {name}", request(body)
    for name, headers in _HEADERS.items():
        yield f"header: {name}", _text("good parcel", *headers)
    for name, content_type in _TYPES.items():
        yield f"type: {name}", request({"text": "good"}, content_type=content_type)
    yield "type: none", request({"text": "good"}, content_type=None)
    for name, texts in _BATCHES.items():
        yield f"batch: {name}", request({"texts": texts}, path=BATCH)
        yield (
            f"batch, interactive: {name}",
            request({"texts": texts}, "X-Priority: interactive", path=BATCH),
        )
    for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"):
        yield f"method: {method}", request({"text": "good"}, method=method)
    for path in (
        f"{ONE}/",
        f"/{ONE}",
        f"{ONE}?q=1",
        f"{ONE}#x",
        "/api/v1/%70redict",
        "/api/v1/Predict",
        f"http://sentigraph{ONE}",
        "/predict",
        "/api/v1/health",
    ):
        yield f"path: {path}", request({"text": "good"}, path=path)
    yield "HTTP/1.0", request({"text": "good"}, version="1.0")
    yield (
        "HTTP/1.0, keep-alive",
        request({"text": "good"}, "Connection: keep-alive", version="1.0"),
    )
    yield "no length", request(b"", length=None)
    chunks = b'8\r\n{"text":\r\n8\r\n "good"}\r\n0\r\n\r\n'
    yield "chunks", request(chunks, "Transfer-Encoding: chunked", length=None)
    yield "gzip", request(_GZIP, "Content-Encoding: gzip")
    yield "length above the limit", request(b"", length=5_000_000)
    yield "no HTTP", b"nonsense\r\n\r\n"
    yield "lower-case method", request({"text": "good"}, method="post")
    yield "two lengths", request({"text": "good"}, "Content-Length: 3")
    yield "bad length", request({"text": "good"}, "Content-Length: x", length=None)
