"""Whatever is wrong with a request: the expected 4xx, one body, and a service unharmed."""

import json
from dataclasses import dataclass, field
from datetime import datetime

import httpx
import pytest

JSON = {"content-type": "application/json"}
FIELDS = {
    "error_code", "error_message", "status_code", "correlation_id", "timestamp", "context",
}  # fmt: skip


@dataclass(frozen=True)
class Bad:
    name: str
    body: bytes
    status: int
    code: str
    path: str = "/predict"
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=lambda: JSON)


def _text(value: object) -> bytes:
    return json.dumps({"text": value}).encode()


TABLE = [
    Bad("no body", b"", 400, "E1001"),
    Bad("not JSON", b"hello", 400, "E1001"),
    Bad("trailing", b'{"text":"hi"} x', 400, "E1001"),
    Bad("invalid UTF-8", b'{"text":"\xff\xfe"}', 400, "E1001"),
    Bad("lone surrogate", b'{"text":"\\ud800"}', 400, "E1001"),
    Bad("deep nesting", b'{"text":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "E1001"),
    Bad("empty", _text(""), 422, "E1003"),
    Bad("blank", _text(" \n\t\u2003 "), 422, "E1003"),
    Bad("too long", _text("a" * 10_001), 422, "E1002"),
    Bad("10 MB", _text("a" * 10_000_000), 413, "E1001"),
    Bad("number", _text(5), 422, "E1001"),
    Bad("null", _text(None), 422, "E1001"),
    Bad("list", _text(["a"]), 422, "E1001"),
    Bad("NaN", b'{"text":NaN}', 422, "E1001"),
    Bad("bare NaN", b"NaN", 422, "E1001"),
    Bad("array", b'["a"]', 422, "E1001"),
    Bad("missing", b"{}", 422, "E1001"),
    Bad("unknown field", b'{"text":"hi","lang":"en"}', 422, "E1001"),
    Bad("GET", b"", 405, "E1001", method="GET"),
    Bad("DELETE", b"", 405, "E1001", method="DELETE"),
    Bad("POST to health", b"{}", 405, "E1001", path="/health/ready"),
    Bad("no such route", b"{}", 404, "E1001", path="/predictt"),
    Bad("form", b"text=hi", 415, "E1001", headers={"content-type": "text/plain"}),
    Bad("deadline word", _text("hi"), 422, "E1001", headers={**JSON, "X-Deadline-Ms": "soon"}),
    Bad("deadline 0", _text("hi"), 422, "E1001", headers={**JSON, "X-Deadline-Ms": "0"}),
    Bad("empty batch", b'{"texts":[]}', 422, "E1006", path="/predict/batch"),
    Bad("number in batch", b'{"texts":["a",3]}', 422, "E1001", path="/predict/batch"),
    Bad(
        "1,001 texts",
        json.dumps({"texts": ["a"] * 1_001}).encode(),
        422,
        "E1005",
        path="/predict/batch",
    ),
]


@pytest.mark.parametrize("bad", TABLE, ids=lambda bad: bad.name)
def test_refused_with_the_one_error_body(client: httpx.Client, bad: Bad) -> None:
    answer = client.request(bad.method, bad.path, content=bad.body, headers=bad.headers)
    body = answer.json()
    assert (answer.status_code, body["error_code"]) == (bad.status, bad.code)
    assert set(body) == FIELDS
    assert body["status_code"] == bad.status
    assert body["correlation_id"] == answer.headers["x-correlation-id"]
    assert datetime.fromisoformat(body["timestamp"]).tzinfo is not None
    if bad.status == 405:
        assert answer.headers["allow"]
    unharmed = client.post("/predict", json={"text": "still a good service"})
    assert unharmed.status_code == 200


def test_the_text_never_comes_back_in_an_error(client: httpx.Client) -> None:
    secret = "my-card-number-4711"
    for body in ({"text": [secret]}, {"texts": secret}, {"text": "hi", secret: 1}):
        answer = client.post("/predict", json=body)
        assert answer.status_code == 422
        if secret not in body:
            assert secret not in answer.text
