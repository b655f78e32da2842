"""Ray Serve as its batching guide shows it: one deployment, ``@serve.batch``, default settings.

Default proxy (Python), default options; a cluster of its own on free ports and in a temporary
folder. ``concurrency`` sets ``max_ongoing_requests``, whose default of 5 keeps batches small.
"""

import signal
import tempfile

import ray
from classifier import from_settings, settings
from ray import serve
from starlette.requests import Request

WANTED = settings()
OPTIONS = {"max_ongoing_requests": WANTED.concurrency} if WANTED.concurrency else {}


@serve.deployment(num_replicas=WANTED.workers, **OPTIONS)
class Clf:
    """Text in, label and score out."""

    def __init__(self) -> None:
        self._classifier = from_settings()

    @serve.batch(max_batch_size=WANTED.max_batch, batch_wait_timeout_s=WANTED.wait_ms / 1_000)
    async def classify(self, texts: list[str]) -> list[dict[str, object]]:
        """Runs one batch."""
        return self._classifier.classify(texts)

    async def __call__(self, request: Request) -> dict[str, object]:
        """Label and score of one text."""
        answer: dict[str, object] = await self.classify((await request.json())["text"])
        return answer


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        ray.init(address="local", _temp_dir=folder, object_store_memory=256 << 20)
        serve.start(http_options={"host": "127.0.0.1", "port": WANTED.port})
        serve.run(Clf.bind(), route_prefix="/classify")
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
        ray.shutdown()
