"""Two thousand requests at concurrency 64: every one answered, and answered for itself."""

import asyncio
import uuid

import httpx

from operations.local_stack.stack import Stack

REQUESTS = 2_000
CONCURRENCY = 64
PRAISE = "I am very happy with parcel number {} from {}, thank you"
BLAME = "Parcel number {} from {} was broken and nobody answers, terrible"


def test_no_request_is_lost_or_mixed_up(stack: Stack) -> None:
    marker = uuid.uuid4()

    async def body() -> list[tuple[int, int, str]]:
        limits = httpx.Limits(max_connections=CONCURRENCY)
        gate = asyncio.Semaphore(CONCURRENCY)
        async with httpx.AsyncClient(limits=limits, timeout=60) as client:

            async def one(i: int) -> tuple[int, int, str]:
                text = (PRAISE if i % 2 else BLAME).format(i, marker)
                async with gate:
                    answer = await client.post(
                        f"{stack.url}/api/v1/predict",
                        json={"text": text},
                        headers={"X-Deadline-Ms": "60000"},
                    )
                return i, answer.status_code, answer.json().get("label", answer.text)

            return await asyncio.gather(*(one(i) for i in range(REQUESTS)))

    answers = asyncio.run(body())
    assert {status for _, status, _ in answers} == {200}
    wrong = [i for i, _, label in answers if label != ("POSITIVE" if i % 2 else "NEGATIVE")]
    assert not wrong
