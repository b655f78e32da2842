"""Poisson arrivals against a running stack, whether or not earlier requests were answered."""

import asyncio
import random
import threading
import time

import httpx


class OpenLoop:
    """Sends requests at random times, whether or not earlier ones were answered."""

    def __init__(self, url: str, texts: list[str], rate: float) -> None:
        self._url, self._texts, self._rate = url, texts, rate
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.statuses: dict[str, int] = {}
        self.identities: dict[tuple[int, str], int] = {}
        self.latencies_s: list[float] = []

    def __enter__(self) -> "OpenLoop":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(60)

    async def _run(self) -> None:
        chance, running = random.Random(1), set()
        limits = httpx.Limits(max_connections=256, max_keepalive_connections=256)
        async with httpx.AsyncClient(timeout=30, limits=limits) as client:
            due = time.monotonic()
            count = 0
            while not self._stopped.is_set():
                due += chance.expovariate(self._rate)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                text = f"{self._texts[count % len(self._texts)]} {count}"
                count += 1
                task = asyncio.create_task(self._send(client, text))
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.gather(*running)

    async def _send(self, client: httpx.AsyncClient, text: str) -> None:
        started_s = time.monotonic()
        try:
            answer = await client.post(f"{self._url}/api/v1/predict", json={"text": text})
            status = str(answer.status_code)
        except httpx.HTTPError as error:
            status = type(error).__name__
        else:
            if answer.is_success:
                body = answer.json()
                identity = (body["model_version"], body["model_digest"])
                self.identities[identity] = self.identities.get(identity, 0) + 1
        self.latencies_s.append(time.monotonic() - started_s)
        self.statuses[status] = self.statuses.get(status, 0) + 1
