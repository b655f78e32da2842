"""Scores golden texts in a replica's engine thread, between the batches of requests.

``rollout/controller.py`` asks for it through ``replica.py``; ``rollout/acceptance.py`` judges it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import numpy as np

from deployments.model.runner import LoadedModel
from deployments.payloads import FloatArray, IntArray, Probe
from registry.records import Bundle

Encode = Callable[[Bundle, Sequence[str]], list[IntArray]]
"""Token ids of each text by the bundle's tokenizer; opening one takes a tenth of a second."""

Scored = tuple[FloatArray, float]
"""Scores and seconds of one text."""

InEngineThread = Callable[[Callable[[], list[Scored]]], Awaitable[list[Scored]]]

# Longest that golden texts hold the engine at a time; a single text may take longer.
_TURN_S = 0.02


class Golden:
    """Probes the models of one replica. For one event loop.

    Args:
        in_engine_thread: Runs a turn of golden texts between two batches.
        encode: Tokenizes the golden texts.
    """

    def __init__(self, in_engine_thread: InEngineThread, encode: Encode) -> None:
        self._in_engine_thread = in_engine_thread
        self._encode = encode
        # Kept, because each probe scores the champion as well.
        self._encoded: dict[str, tuple[tuple[str, ...], list[IntArray]]] = {}

    async def probe(self, loaded: LoadedModel, texts: Sequence[str]) -> Probe:
        """Scores texts one by one; requests wait for one turn at a time."""
        rows = await self._token_ids(loaded.bundle, tuple(texts))
        scored: list[Scored] = []
        while len(scored) < len(rows):
            left = rows[len(scored) :]
            scored += await self._in_engine_thread(partial(_turn, loaded, left))
        text_s = float(np.median([seconds for _, seconds in scored]))
        return Probe(np.concatenate([scores for scores, _ in scored]), text_s)

    def forget(self, digest: str) -> None:
        """Drops what is kept of a model."""
        self._encoded.pop(digest, None)

    async def _token_ids(self, bundle: Bundle, texts: tuple[str, ...]) -> list[IntArray]:
        known, rows = self._encoded.get(bundle.digest, ((), []))
        if known != texts:
            rows = await asyncio.to_thread(self._encode, bundle, texts)
            self._encoded[bundle.digest] = texts, rows
        return rows


def _turn(loaded: LoadedModel, rows: Sequence[IntArray]) -> list[Scored]:
    """Scores and seconds of the first of ``rows``, as many as a turn has time for."""
    began_s = time.perf_counter()
    scored = []
    for row in rows:
        started_s = time.perf_counter()
        scored.append((loaded.score([row]), time.perf_counter() - started_s))
        if time.perf_counter() - began_s >= _TURN_S:
            break
    return scored
