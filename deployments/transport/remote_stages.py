"""Tokenizer and Model deployments as ``Stages``: over sockets, and by Ray's handles where none is.

Engine batches are planned here, over all texts that this replica has waiting; each connection to a
Model replica is worth two of them in flight, so that several callers share the engines evenly. What
waits at a replica is planned once more, with what other callers sent. A
batch whose replica dies is sent to another one, and one that is late as well: the first answer
counts.
"""

import asyncio
import time
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Protocol

from configs.schema.app import AppConfig
from deployments.batching.encoded_text import EncodedText, deliver, fail
from deployments.batching.planner import PlanFacts
from deployments.batching.scheduler import Expired, Scheduler
from deployments.clients.backoff import Backoff
from deployments.payloads import Contexts, EncodingBatch, Encodings, ScoreBatch
from deployments.telemetry.metrics import Metrics
from deployments.transport.connection import ConnectionLost, NotSent
from deployments.transport.engine_batches import hops_of, payload, with_hops
from deployments.transport.links import Discover, Link, Links
from deployments.transport.remote_tokenizer import RemoteTokenizer, TokenizerHandle
from deployments.transport.wire import pack_encodings_asked, read_scores

# One runs, the next is there when it ends.
_CREDITS = 2
_MAX_TRIES = 8
_MAX_FACTS = 64
_FACTS_S, _LONGEST_FACTS_S = 0.5, 10.0
_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS = 50, 2_000
# Of the time that is left, after which a batch is sent a second time.
_PATIENCE_RATIO, _LEAST_PATIENCE_S = 0.2, 0.5
# Second tries: a tenth of all batches, a few at once.
_PER_ANSWER, _MOST = 0.1, 8.0


class Handles(TokenizerHandle, Protocol):
    """The Tokenizer and Model deployments through Ray."""

    async def run(self, batch: EncodingBatch) -> ScoreBatch:
        """Scores of token ids."""
        ...

    async def facts(self, digest: str) -> PlanFacts:
        """What a model's batches cost, and how large they may be; loads it if it must."""
        ...


@dataclass(slots=True)
class _HandleLink:
    """Stands for connections while there are none."""

    free: int
    lost: bool = False


class RemoteStages:
    """``Stages`` in other deployments. For one event loop."""

    def __init__(
        self,
        config: AppConfig,
        handles: Handles,
        metrics: Metrics,
        *,
        deployment: str,
        node: str,
        models: Discover,
        tokenizers: Discover,
        calls: int,
    ) -> None:
        """Connects to nothing yet; ``start`` it.

        Args:
            config: Sizes.
            handles: The way through Ray.
            metrics: Where roads are counted.
            deployment: Of this replica, for spans.
            node: Of this replica.
            models: Asks Model replicas where they are.
            tokenizers: Asks Tokenizer replicas where they are.
            calls: RPCs in flight while there are no connections.
        """
        self._handles = handles
        self._deployment = deployment
        self._max_texts = config.batching.max_hop_texts
        self._facts: dict[str, PlanFacts] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._allowed = _MOST
        self._backoff = Backoff(_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS)
        self._retries = metrics.retries
        self._sent = {
            road: metrics.stage_messages.labels("score", road) for road in ("socket", "handle")
        }
        self._calls = calls
        self._by_handle = _HandleLink(calls)
        self._scheduler = Scheduler[EncodedText](
            self._start_slot,
            slots=calls,
            max_items=config.batching.max_batch_texts,
            plan=self._plan,
            bulk_ratio=config.batching.bulk_ratio,
        )
        self._models = Links(
            models, node, credits_=_CREDITS, on_link=self._linked, on_lost=self._unlinked
        )
        self._tokenizers = RemoteTokenizer(handles, metrics, node, tokenizers)
        self._tasks: set[asyncio.Task[None]] = set()
        self.queued = self._queued
        self.purge = self._scheduler.purge

    async def start(self) -> None:
        """Connects to what is there; what is not is asked by Ray's handles meanwhile."""
        await asyncio.gather(self._models.start(), self._tokenizers.start())

    def close(self) -> None:
        """Ends all connections."""
        self._models.close()
        self._tokenizers.close()

    def silent(self) -> list[str]:
        """A sentence for each replica that does not answer now."""
        links = (("Tokenizer", self._tokenizers), ("Model", self._models))
        return [
            f"{deployment} replica {replica} has not answered for {wait_s:.0f} s"
            for deployment, found in links
            for replica, wait_s in found.silent().items()
        ]

    def _queued(self, *, bulk: bool) -> int:
        return self._scheduler.queued(bulk=bulk)

    async def load(self, digest: str) -> None:
        """See ``Stages.load``; the replicas load by themselves."""
        if digest not in self._facts:
            asking = self._asking.get(digest)
            if asking is None:
                asking = asyncio.get_running_loop().create_task(self._ask(digest))
                self._asking[digest] = asking
                # Without them the replicas plan; nobody waits for one that hangs.
                await asyncio.wait({asking}, timeout=_FACTS_S)

    async def _ask(self, digest: str) -> None:
        try:
            facts = await asyncio.wait_for(self._handles.facts(digest), _LONGEST_FACTS_S)
        except Exception:  # noqa: BLE001  (whatever it is, they are asked for again)
            return
        finally:
            del self._asking[digest]
        # Versions come and go; what was forgotten is asked for again.
        if len(self._facts) >= _MAX_FACTS:
            del self._facts[next(iter(self._facts))]
        self._facts[digest] = facts

    def encode_now(self, digest: str, texts: Sequence[str]) -> Encodings | None:
        """See ``Stages.encode_now``; it is another process that encodes."""
        return None

    async def encode(
        self, digest: str, texts: Sequence[str], contexts: Contexts, deadline_s: float
    ) -> Encodings:
        """See ``Stages.encode``."""
        return await self._tokenizers.encode(digest, texts, contexts, deadline_s)

    def submit(self, texts: Sequence[EncodedText]) -> None:
        """See ``Stages.submit``."""
        self._scheduler.submit(texts)

    def _plan(self, texts: Sequence[EncodedText]) -> list[list[int]]:
        groups: dict[str, list[int]] = {}
        for position, text in enumerate(texts):
            groups.setdefault(text.digest, []).append(position)
        batches: list[list[int]] = []
        for digest, positions in groups.items():
            facts = self._facts.get(digest)
            if not self._models.all or facts is None:
                # A call through Ray costs more than padding; the replica plans it again.
                step = self._max_texts
                batches += [positions[i : i + step] for i in range(0, len(positions), step)]
                continue
            for part in facts.plan([len(texts[i].ids) for i in positions]):
                batches.append([positions[i] for i in part.indices])
        return batches

    def _linked(self, link: Link) -> None:
        if not self._by_handle.lost:
            # Connections have taken over.
            self._by_handle.lost = True
            self._scheduler.remove_idle(self._by_handle.free)
            self._by_handle.free = 0
        for _ in range(_CREDITS):
            self._scheduler.add_slot()

    def _unlinked(self, link: Link) -> None:
        self._scheduler.remove_idle(link.free)
        link.free = 0
        if not self._models.all:
            self._by_handle = _HandleLink(self._calls)
            for _ in range(self._calls):
                self._scheduler.add_slot()

    def _start_slot(self) -> None:
        links: list[Link | _HandleLink] = [*self._models.all] or [self._by_handle]
        link = max(links, key=lambda one: one.free)
        link.free -= 1
        # Not in the context of a request, see ``MicroBatches``.
        task = asyncio.get_running_loop().create_task(self._work(link), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, link: Link | _HandleLink) -> None:
        after: bool | None = None
        while True:
            texts, expired = self._scheduler.take(after)
            if expired:
                fail(expired, Expired())
            if not texts:
                link.free += 1
                return
            after = texts[0].bulk
            await self._run(link, texts)
            if link.lost:
                self._scheduler.drop_slot(after)
                return

    async def _run(self, link: Link | _HandleLink, texts: list[EncodedText]) -> None:
        started_s = time.monotonic()
        try:
            hops = hops_of(texts)
            batch = payload(texts, hops)
            if isinstance(link, Link):
                answer = await self._by_socket(link, texts, batch)
            else:
                self._sent["handle"].inc()
                answer = await self._handles.run(batch)
            self._allowed = min(_MOST, self._allowed + _PER_ANSWER)
            if hops:
                answer = with_hops(answer, texts, hops, self._deployment, started_s)
            deliver(texts, answer)
        except Exception as error:  # noqa: BLE001  (a batch must fail its own texts, not its slot)
            if isinstance(error, ConnectionLost) or self._handles.is_lost(error):
                if not isinstance(link, Link):
                    await asyncio.sleep(
                        self._backoff.pause_s(max(text.tries for text in texts) + 1)
                    )
                self._again(texts, error, tried=not isinstance(error, NotSent))
            else:
                fail(texts, error)

    async def _by_socket(
        self, link: Link, texts: list[EncodedText], batch: EncodingBatch
    ) -> ScoreBatch:
        self._sent["socket"].inc()
        asked = link.connection.ask("score", *pack_encodings_asked(batch))
        patience_s = max(_LEAST_PATIENCE_S, float(batch.remaining_s.max()) * _PATIENCE_RATIO)
        late = asyncio.get_running_loop().call_later(patience_s, self._late, texts)
        try:
            return read_scores(*await asked)
        finally:
            late.cancel()

    def _late(self, texts: list[EncodedText]) -> None:
        if self._allowed >= 1 and len(self._models.all) > 1:
            self._allowed -= 1
            self._again(texts, TimeoutError("no replica answers"))

    def _again(self, texts: Sequence[EncodedText], error: Exception, *, tried: bool = True) -> None:
        """Sends texts that are not done to another replica; ``tried`` says that one had them."""
        left = [text for text in texts if not text.done]
        lost = [text for text in left if text.tries >= _MAX_TRIES]
        if lost:
            # It may be their doing.
            fail(lost, error)
        again = [text for text in left if text.tries < _MAX_TRIES]
        if again:
            self._retries.inc()
            for text in again:
                text.tries += tried
                text.started_s = None
            self._scheduler.submit(again)
