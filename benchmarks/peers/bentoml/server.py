"""BentoML: one service, a batchable API, one process for each worker.

A batchable API takes a list, so a request carries a list of one text. The batcher learns
the model's pace and sheds with 503 what it thinks will take longer than ``max_latency_ms``;
that stays at BentoML's default of a minute. ``wait_ms`` has no counterpart: its wait is
learned too.
"""

import os
import sys

import bentoml
from classifier import from_settings, settings

WANTED = settings()
BATCHING = {"batchable": True, "max_batch_size": WANTED.max_batch} if WANTED.max_batch > 1 else {}


@bentoml.service(workers=WANTED.workers, traffic={"timeout": 60}, metrics={"enabled": False})
class Clf:
    """Text in, label and score out."""

    def __init__(self) -> None:
        self._classifier = from_settings()

    @bentoml.api(route="/classify", **BATCHING)
    def classify(self, texts: list[str]) -> list[dict]:  # type: ignore[type-arg]
        """Label and score of each text."""
        return self._classifier.classify(texts)


if __name__ == "__main__":
    port = str(WANTED.port)
    options = ["serve", "server:Clf", "--host", "127.0.0.1", "--port", port]
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", *options])
