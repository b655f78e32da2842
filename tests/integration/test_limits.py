"""Deadlines, overload and clients that leave."""

import asyncio
import socket
import time
import uuid
from urllib.parse import urlsplit

import httpx
import orjson

from configs.sources.front_key import FRONT_HEADER
from operations.local_stack.stack import Stack


def texts(count: int) -> list[str]:
    marker = uuid.uuid4()
    return [f"The {i}th parcel of {marker} came late and the box was open" for i in range(count)]


def metric(client: httpx.Client, name: str) -> float:
    """Sum of a metric's samples on the page; ``name`` may carry a label selection."""
    page = client.get("/metrics").text
    return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(name))


def test_a_deadline_that_cannot_be_kept_is_a_504(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"text": texts(1)[0]}, headers={"X-Deadline-Ms": "1"})
    assert (answer.status_code, answer.json()["error_code"]) == (504, "E2003")


def test_a_batch_past_its_deadline_returns_what_it_has(ingress: httpx.Client) -> None:
    known = texts(1)
    assert ingress.post("/predict", json={"text": known[0]}).status_code == 200
    body = ingress.post(
        "/predict/batch",
        json={"texts": known + texts(900)},
        headers={"X-Deadline-Ms": "300"},
    ).json()
    assert body["results"][0]["prediction"]["cached"] is True
    late = [r["error"]["error_code"] for r in body["results"] if r["error"]]
    assert late
    assert set(late) == {"E2003"}
    assert body["failed"] == len(late)


def test_overload_is_refused_early_with_retry_after_and_passes(stack: Stack) -> None:
    async def flood() -> list[httpx.Response]:
        url = f"{stack.url}/api/v1"
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            return await asyncio.gather(
                *(
                    client.post(
                        "/predict/batch",
                        json={"texts": texts(1_000)},
                        headers={"X-Deadline-Ms": "2000"},
                    )
                    for _ in range(6)
                )
            )

    answers = asyncio.run(flood())
    statuses = sorted(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error_code"] == "E4005"
    assert int(refused.headers["retry-after"]) >= 1
    assert httpx.post(f"{stack.url}/api/v1/predict", json={"text": texts(1)[0]}).status_code == 200


def test_a_client_that_leaves_costs_no_compute(ingress: httpx.Client) -> None:
    before = metric(ingress, 'sentiment_dropped_texts_total{reason="cancelled"}')
    address = urlsplit(str(ingress.base_url))
    body = orjson.dumps({"texts": texts(1_000)})
    request = (
        f"POST /api/v1/predict/batch HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"{FRONT_HEADER}: {ingress.headers[FRONT_HEADER]}\r\n\r\n"
    ).encode() + body
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(request)
        time.sleep(0.3)
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        dropped = metric(ingress, 'sentiment_dropped_texts_total{reason="cancelled"}') - before
        if dropped > 100:
            break
        time.sleep(0.2)
    assert dropped > 100
