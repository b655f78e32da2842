"""Golden texts between the batches of requests: in turns, and encoded once."""

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from deployments.model.engine_threads import EngineThreads
from deployments.model.golden_probe import Golden
from deployments.payloads import IntArray
from deployments.rollout.acceptance import GOLDEN_TEXTS
from deployments.tokenizer.replica import LoadedTokenizer, token_ids
from registry.records import Bundle


class Model:
    """Takes as long as it is told, and knows how often the engine thread came by."""

    def __init__(self, bundle: Bundle, text_s: float) -> None:
        self.bundle = bundle
        self._text_s = text_s
        self.rows: list[int] = []

    def score(self, rows: list[Any]) -> Any:
        time.sleep(self._text_s)
        self.rows.append(len(rows[0]))
        return np.array([[0.25, 0.75]], dtype=np.float32)


class Engine:
    """Counts turns."""

    def __init__(self) -> None:
        self._threads = EngineThreads(1, lambda after: None)
        self.turns = 0

    async def call(self, function: Any) -> Any:
        self.turns += 1
        return await self._threads.call(function)


@pytest.mark.parametrize(("text_s", "turns"), [(0.0, range(1, 4)), (0.03, range(16, 17))])
def test_a_fast_model_takes_few_turns_and_a_slow_one_yields_after_each_text(
    bundled: Bundle, text_s: float, turns: range
) -> None:
    engine = Engine()
    model: Any = Model(bundled, text_s)
    found = asyncio.run(Golden(engine.call, token_ids).probe(model, GOLDEN_TEXTS))
    assert engine.turns in turns
    assert found.scores.shape == (16, 2)
    assert found.text_s >= text_s
    encoded = LoadedTokenizer(bundled)
    assert model.rows == [len(encoded.encode([text]).ids) for text in GOLDEN_TEXTS]


def test_a_tokenizer_is_opened_once_until_the_model_is_let_go(bundled: Bundle) -> None:
    opened: list[str] = []

    def encode(bundle: Bundle, texts: Sequence[str]) -> list[IntArray]:
        assert threading.current_thread() is not threading.main_thread()
        opened.append(bundle.digest)
        return [np.zeros(len(text), np.int32) for text in texts]

    model: Any = Model(bundled, 0.0)

    async def body(probing: Golden) -> None:
        await probing.probe(model, GOLDEN_TEXTS)
        await probing.probe(model, GOLDEN_TEXTS)
        assert len(opened) == 1
        await probing.probe(model, ("Other words.",))
        assert model.rows[-1] == len("Other words.")
        probing.forget(bundled.digest)
        await probing.probe(model, ("Other words.",))
        assert len(opened) == 3

    asyncio.run(body(Golden(Engine().call, encode)))
