"""FastAPI as its tutorial shows it: a ``def`` route, run in the framework's thread pool.

One uvicorn worker for each model instance. ``concurrency`` sets the size of the thread
pool; its default is 40 threads for each worker.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
import uvicorn
from classifier import Classifier, from_settings, settings
from fastapi import FastAPI
from pydantic import BaseModel


class Request(BaseModel):
    """The body of a request."""

    text: str


class Server(FastAPI):
    """The application with its model."""

    classifier: Classifier


@asynccontextmanager
async def _lifespan(app: Server) -> AsyncIterator[None]:
    if threads := settings().concurrency:
        anyio.to_thread.current_default_thread_limiter().total_tokens = threads
    app.classifier = from_settings()
    yield


app = Server(lifespan=_lifespan)


@app.post("/classify")
def classify(request: Request) -> dict[str, object]:
    """Label and score of one text."""
    return app.classifier.classify([request.text])[0]


if __name__ == "__main__":
    uvicorn.run(
        "plain:app",
        port=settings().port,
        workers=settings().workers,
        access_log=False,
        log_level="warning",
    )
