"""Steady traffic on the running graph, with every status noted."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from operations.local_stack.stack import Stack


class Traffic(threading.Thread):
    """Uncached single predictions, one after another, with every status noted."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = f"{url}/api/v1/predict"
        self._stopped = threading.Event()
        self.statuses: list[int | str] = []

    def run(self) -> None:
        with httpx.Client(timeout=30) as client:
            while not self._stopped.is_set():
                text = f"A really good parcel {uuid.uuid4()}"
                try:
                    answer = client.post(
                        self._url, json={"text": text}, headers={"X-Deadline-Ms": "20000"}
                    )
                    self.statuses.append(answer.status_code)
                except httpx.HTTPError as error:
                    self.statuses.append(repr(error))

    def stop(self) -> list[int | str]:
        self._stopped.set()
        self.join(60)
        return self.statuses


@contextmanager
def traffic(stack: Stack, clients: int) -> Iterator[list[Traffic]]:
    threads = [Traffic(stack.url) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        for thread in threads:
            thread.stop()
