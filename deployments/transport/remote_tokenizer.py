"""The Tokenizer deployment: over sockets, and by Ray's handle where there is none."""

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from deployments.clients.backoff import Backoff
from deployments.payloads import Contexts, Encodings, TextBatch
from deployments.telemetry.metrics import Metrics
from deployments.transport.connection import ConnectionLost
from deployments.transport.links import Discover, Link, Links
from deployments.transport.wire import pack_texts_asked, read_encodings

_MAX_TRIES = 8
_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS = 50, 2_000
# Of the time that is left, after which another replica is asked.
_PATIENCE_RATIO, _LEAST_PATIENCE_S = 0.2, 0.5


class TokenizerHandle(Protocol):
    """The deployment through Ray."""

    async def tokenize(self, batch: TextBatch) -> Encodings:
        """Token ids of texts."""
        ...

    def is_lost(self, error: Exception) -> bool:
        """Whether a replica died under a call."""
        ...


class RemoteTokenizer:
    """Asks another replica when one dies or is late. For one event loop."""

    def __init__(
        self, handle: TokenizerHandle, metrics: Metrics, node: str, discover: Discover
    ) -> None:
        self._handle = handle
        self._links = Links(discover, node, credits_=0)
        self.start, self.close = self._links.start, self._links.close
        self.silent = self._links.silent
        self._by_socket = metrics.stage_messages.labels("tokenize", "socket")
        self._by_handle = metrics.stage_messages.labels("tokenize", "handle")
        self._retries = metrics.retries
        self._backoff = Backoff(_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS)
        self._turn = 0

    async def encode(
        self, digest: str, texts: Sequence[str], contexts: Contexts, deadline_s: float
    ) -> Encodings:
        """See ``Stages.encode``."""
        tried: list[Link] = []
        header = pack_texts_asked(digest, texts, contexts)
        while links := [link for link in self._links.all if link not in tried]:
            self._turn += 1
            link = links[self._turn % len(links)]
            tried.append(link)
            self._by_socket.inc()
            left_s = deadline_s - time.monotonic()
            patience_s = max(_LEAST_PATIENCE_S, left_s * _PATIENCE_RATIO)
            try:
                answer = await asyncio.wait_for(link.connection.ask("tokenize", header), patience_s)
                return read_encodings(*answer)
            except (ConnectionLost, TimeoutError):
                self._retries.inc()
        left = np.full(len(texts), deadline_s - time.monotonic(), dtype=np.float32)
        batch = TextBatch(digest, list(texts), left, np.zeros(len(texts), np.bool_), contexts)
        tries = 0
        while True:
            tries += 1
            self._by_handle.inc()
            try:
                return await self._handle.tokenize(batch)
            except Exception as error:
                pause_s = self._backoff.pause_s(tries)
                late = time.monotonic() + pause_s >= deadline_s or tries >= _MAX_TRIES
                if late or not self._handle.is_lost(error):
                    raise
                self._retries.inc()
                await asyncio.sleep(pause_s)
