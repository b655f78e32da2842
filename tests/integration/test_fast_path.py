"""Both ways to the predict routes on the running graph; ingresses come and go under load."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from http_corpus import corpus
from http_server import read_answer, without_ids_and_times
from ingresses import pages
from load import traffic
from test_cluster import deploy, deployed_config, with_args

from benchmarks.harness.processes import replicas_of
from operations.local_stack.stack import Stack

# Requests that HAProxy answers itself, or changes.
_OF_HAPROXY = (
    "no HTTP",
    "HTTP/1.0",
    "two lengths",
    "bad length",
    "lower-case",
    "length above the limit",
)
# Ray Serve looks at it, so such requests are left to it.
_GENERAL = b"X-Request-Disconnect-Disabled: ?0\r\n"


def ways(stack: Stack) -> dict[str, float]:
    """Requests to the predict routes by way, of all ingresses."""
    counted = Counter[str]()
    for page in pages(stack):
        for line in page.splitlines():
            if line.startswith("sentiment_predict_requests_total"):
                counted[line.split('"')[1]] += float(line.rsplit(" ", 1)[1])
    return counted


def plain() -> Iterator[tuple[str, bytes]]:
    """The part of the corpus that HAProxy hands on."""
    for name, sent in corpus():
        if not name.startswith(_OF_HAPROXY):
            yield name, sent


def test_both_ways_answer_the_same_bytes_through_haproxy(stack: Stack) -> None:
    address = urlsplit(stack.url)

    async def ask(sent: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(sent)
        try:
            return await read_answer(reader, head_only=sent.startswith(b"HEAD"))
        finally:
            writer.close()

    async def ask_all() -> dict[str, list[bytes]]:
        answers: dict[str, list[bytes]] = {}
        for name, sent in plain():
            head, blank, body = sent.partition(b"\r\n\r\n")
            general = head + b"\r\n" + _GENERAL + b"\r\n" + body if blank else sent
            await ask(sent)  # a text is cached for both that follow
            answers[name] = [without_ids_and_times(await ask(each)) for each in (sent, general)]
        return answers

    before = ways(stack)
    answers = asyncio.run(asyncio.wait_for(ask_all(), 120))
    after = ways(stack)
    for name, (fast, general) in answers.items():
        assert fast == general, name
    assert after["fast"] - before["fast"] > 100
    assert after["general"] - before["general"] > 50


def test_ingresses_are_taken_away_replaced_and_added_under_load(
    stack: Stack, tmp_path: Path
) -> None:
    original = deployed_config(stack)
    one = with_args(original, {"replicas": {"ingress": {"num_replicas": 1}}})
    first = set(replicas_of(stack, "Ingress"))
    with traffic(stack, clients=8) as threads:
        deploy(stack, one, tmp_path)
        alone = set(replicas_of(stack, "Ingress"))
        deploy(stack, original, tmp_path)
        statuses = [code for thread in threads for code in thread.stop()]
    last = set(replicas_of(stack, "Ingress"))
    assert len(alone) == 1
    assert len(last) == len(first)
    assert not last & first
    assert set(statuses) == {200}, [code for code in statuses if code != 200]
    assert len(statuses) > 100
    assert ways(stack)["fast"] > 0


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_requests_of_an_ordinary_client_go_the_fast_way(
    stack: Stack, client: httpx.Client, path: str
) -> None:
    body = {"text": "a fine day"} if path == "/predict" else {"texts": ["a fine day", "a bad one"]}
    before = ways(stack)
    for _ in range(20):
        assert client.post(path, json=body).status_code == 200
    # The first of each ingress goes through Ray Serve.
    assert ways(stack)["fast"] - before["fast"] >= 18
