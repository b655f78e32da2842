"""A graph around the Registry deployment that does what it is told and sees nothing."""

import asyncio
from collections.abc import Sequence

import numpy as np

from deployments.payloads import Counts, FeedbackResult, Probe
from deployments.versions import RoutingTable


class NoFleet:
    """A graph whose replicas hold whatever they are told to."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.tables: list[RoutingTable] = []
        self.routed = asyncio.Event()

    async def load(self, digest: str) -> None:
        if digest not in self.loaded:
            self.loaded.append(digest)

    async def probe(self, digest: str, texts: Sequence[str]) -> list[Probe]:
        scores = np.tile(np.array([0.25, 0.75], dtype=np.float32), (len(texts), 1))
        return [Probe(scores, 0.001)]

    async def route(self, routes: RoutingTable) -> list[int]:
        self.tables.append(routes)
        self.routed.set()
        return [routes.epoch]

    async def unload(self, digest: str) -> None:
        self.loaded.remove(digest)


class NoObservers:
    """Nobody asks anything."""

    async def observed(self, digest: str) -> list[Counts]:
        return []

    async def judge(self, prediction_id: str, label: str) -> list[FeedbackResult | None]:
        return [None]
