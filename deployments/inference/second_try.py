"""Sends a micro-batch a second time when its answer is late, and takes whichever comes first.

A replica that hangs fails no call: without this, its micro-batches wait until their deadline. What
it may cost is bounded as in gRPC's retry throttling: a tenth of all micro-batches, a few at once.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from deployments.payloads import ModelAnswer, RunTexts, TextBatch

# Of the time that is left; with the default deadline the second one goes out after two seconds.
_PATIENCE_RATIO = 0.2
_LEAST_PATIENCE_S = 0.5
_PER_ANSWER, _MOST = 0.1, 8.0


class SecondTry:
    """``RunTexts`` that does not depend on one replica."""

    def __init__(self, run_texts: RunTexts, on_second: Callable[[], None]) -> None:
        """Makes it.

        Args:
            run_texts: The tokenizer stage, of several replicas.
            on_second: Called for each second try.
        """
        self._run_texts = run_texts
        self._on_second = on_second
        self._allowed = _MOST

    async def run(self, batch: TextBatch) -> ModelAnswer:
        """The first answer.

        Raises:
            Exception: That of ``run_texts``, when no try is left.
        """
        began_s = time.monotonic()
        patience_s = max(_LEAST_PATIENCE_S, float(batch.remaining_s.max()) * _PATIENCE_RATIO)
        tries = {asyncio.create_task(self._one(batch))}
        try:
            done, _ = await asyncio.wait(tries, timeout=patience_s)
            if not done and self._allowed >= 1:
                self._allowed -= 1
                self._on_second()
                left_s = batch.remaining_s - (time.monotonic() - began_s)
                tries.add(asyncio.create_task(self._one(replace(batch, remaining_s=left_s))))
            answer = await _first_answer(tries)
        finally:
            for one in tries:
                one.cancel()
        self._allowed = min(_MOST, self._allowed + _PER_ANSWER)
        return answer

    async def _one(self, batch: TextBatch) -> ModelAnswer:
        return await self._run_texts(batch)


async def _first_answer(tries: set[asyncio.Task[ModelAnswer]]) -> ModelAnswer:
    running = set(tries)
    while True:
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        answered = [one for one in done if not (one.cancelled() or one.exception())]
        if answered or not running:
            return (answered or list(done))[0].result()
