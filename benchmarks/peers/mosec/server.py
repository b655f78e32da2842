"""mosec: its Rust front end and one stage of ``workers`` processes that tokenize and run the model.

One stage, not two: a tokenizer process of its own would be one process more than there are cores.
"""

import sys

from classifier import from_settings, settings
from mosec import Server, Worker

WANTED = settings()


class Batched(Worker):
    """Takes up to ``max_batch`` requests at a time."""

    def __init__(self) -> None:
        self._classifier = from_settings()

    def forward(self, data: list[dict[str, str]]) -> list[dict[str, object]]:
        """Runs one batch."""
        return self._classifier.classify([item["text"] for item in data])


class Single(Worker):
    """Takes one request at a time, as mosec calls a worker whose batch size is 1."""

    def __init__(self) -> None:
        self._classifier = from_settings()

    def forward(self, data: dict[str, str]) -> dict[str, object]:
        """Runs one text."""
        return self._classifier.classify([data["text"]])[0]


if __name__ == "__main__":
    # mosec reads its own options from the command line.
    sys.argv += ["--address", "127.0.0.1", "--port", str(WANTED.port), "--log-level", "warning"]
    server = Server()
    if WANTED.max_batch > 1:
        server.append_worker(
            Batched,
            num=WANTED.workers,
            max_batch_size=WANTED.max_batch,
            # 0 means its default of 10 ms, and 1 ms is the least.
            max_wait_time=max(1, round(WANTED.wait_ms)),
            route="/classify",
        )
    else:
        server.append_worker(Single, num=WANTED.workers, route="/classify")
    server.run()
