"""FastAPI with the batcher that people write for it: a queue, a size, a wait, one engine thread.

One uvicorn worker for each model instance, each with a queue of its own.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import uvicorn
from classifier import Classifier, from_settings, settings
from fastapi import FastAPI
from pydantic import BaseModel

Answer = asyncio.Future[dict[str, object]]


class Request(BaseModel):
    """The body of a request."""

    text: str


class Server(FastAPI):
    """The application with its queue of texts that wait for an answer."""

    queue: asyncio.Queue[tuple[str, Answer]]


async def _run_batches(app: Server, classifier: Classifier) -> None:
    max_batch, wait_s = settings().max_batch, settings().wait_ms / 1_000
    loop = asyncio.get_running_loop()
    engine = ThreadPoolExecutor(1)
    while True:
        batch = [await app.queue.get()]
        until_s = loop.time() + wait_s
        while len(batch) < max_batch:
            try:
                batch.append(app.queue.get_nowait())
                continue
            except asyncio.QueueEmpty:
                left_s = until_s - loop.time()
            if left_s <= 0:
                break
            try:
                batch.append(await asyncio.wait_for(app.queue.get(), left_s))
            except TimeoutError:
                break
        texts = [text for text, _ in batch]
        answers = await loop.run_in_executor(engine, classifier.classify, texts)
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)


@asynccontextmanager
async def _lifespan(app: Server) -> AsyncIterator[None]:
    app.queue = asyncio.Queue()
    batches = asyncio.create_task(_run_batches(app, from_settings()))
    yield
    batches.cancel()


app = Server(lifespan=_lifespan)


@app.post("/classify")
async def classify(request: Request) -> dict[str, object]:
    """Label and score of one text."""
    future: Answer = asyncio.get_running_loop().create_future()
    app.queue.put_nowait((request.text, future))
    return await future


if __name__ == "__main__":
    uvicorn.run(
        "batched:app",
        port=settings().port,
        workers=settings().workers,
        access_log=False,
        log_level="warning",
    )
