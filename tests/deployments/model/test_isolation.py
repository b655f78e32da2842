"""One text that fails fails alone, at a bounded cost; what the engine returns is checked."""

import asyncio
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from poison_model import GOOD, LONG, NAN, NO_ROW, POISON, PoisonStages, write_poison_bundle

from deployments.model.isolation import MAX_EXTRA_RUNS, score_each
from deployments.model.runner import LoadedModel
from deployments.payloads import ModelAnswer, TextBatch
from registry.errors import InvalidBundle
from registry.records import Bundle, Head


class Fake:
    """An engine for rows of one token; fails on ids from 100, NaN from 50 to 99."""

    device = "cpu"

    def __init__(self, fails: Callable[[Sequence[int]], bool] | None = None) -> None:
        self.sizes: list[int] = []
        self._fails = fails or (lambda ids: max(ids) >= 100)

    def run(self, input_ids: Any, attention_mask: Any) -> Any:
        ids = input_ids[:, 0].tolist()
        self.sizes.append(len(ids))
        if self._fails(ids):
            raise RuntimeError("no such id")
        return np.array([[i / 100, np.nan if 50 <= i < 100 else 0] for i in ids], dtype=np.float32)


def scored(
    bundle: Bundle, engine: Fake, ids: Sequence[int], wanted: Callable[[int], bool] = lambda i: True
) -> dict[int, float]:
    """First score of each row; NaN where there is none."""
    rows = [np.array([i] if i >= 0 else [], dtype=np.int32) for i in ids]
    model = LoadedModel(bundle, engine)  # type: ignore[arg-type]
    return {i: float(row[0]) for i, row in score_each(model, rows, wanted).items()}


def failed(scores: dict[int, float]) -> list[int]:
    return sorted(i for i, score in scores.items() if math.isnan(score))


@pytest.mark.parametrize("size", [1, 2, 3, 13, 32, 64])
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_one_guilty_text_fails_alone_within_two_runs_a_halving(
    bundled: Bundle, size: int, place: float
) -> None:
    ids = list(range(1, size + 1))
    ids = [i % 40 for i in ids]
    guilty = round(place * (size - 1))
    ids[guilty] = 100
    engine = Fake()
    scores = scored(bundled, engine, ids)
    assert len(scores) == size
    assert failed(scores) == [guilty]
    # The batch, a plain text, and the halves.
    assert len(engine.sizes) <= 2 + 2 * math.ceil(math.log2(size))


@pytest.mark.parametrize("guilty", [{3, 4}, {0, 31}, {5, 17, 18}, set(range(10, 20)), {7}])
def test_several_guilty_texts_fail_and_no_others(bundled: Bundle, guilty: set[int]) -> None:
    ids = [100 if i in guilty else i for i in range(32)]
    engine = Fake()
    assert failed(scored(bundled, engine, ids)) == sorted(guilty)
    assert len(engine.sizes) <= 2 + 2 * 5 * len(guilty)


def test_a_good_batch_runs_once(bundled: Bundle) -> None:
    engine = Fake()
    assert failed(scored(bundled, engine, range(32))) == []
    assert engine.sizes == [32]


def test_a_batch_of_guilty_texts_is_told_apart_whole(bundled: Bundle) -> None:
    engine = Fake()
    assert failed(scored(bundled, engine, [100] * 32)) == list(range(32))
    assert len(engine.sizes) <= MAX_EXTRA_RUNS + 2


def test_runs_are_bounded_and_what_is_left_fails(bundled: Bundle) -> None:
    ids = [100 if i % 2 else 1 for i in range(512)]
    engine = Fake()
    scores = scored(bundled, engine, ids)
    assert len(scores) == 512
    assert set(range(1, 512, 2)) <= set(failed(scores))
    assert len(engine.sizes) == MAX_EXTRA_RUNS + 2


def test_a_batch_too_large_for_the_engine_is_answered_in_parts(bundled: Bundle) -> None:
    engine = Fake(lambda ids: len(ids) > 8)
    assert failed(scored(bundled, engine, range(32))) == []
    assert engine.sizes[:2] == [32, 1]


def test_a_broken_engine_fails_at_once(bundled: Bundle) -> None:
    engine = Fake(lambda ids: True)
    with pytest.raises(RuntimeError, match="no such id"):
        scored(bundled, engine, range(32))
    assert engine.sizes == [32, 1]


def test_texts_without_callers_or_time_are_left_out_between_runs(bundled: Bundle) -> None:
    engine = Fake()
    # From the third run on nobody waits for the second half.
    scores = scored(bundled, engine, [100, *range(1, 16)], lambda i: i < 8 or len(engine.sizes) < 2)
    assert sorted(scores) == list(range(8))
    assert failed(scores) == [0]


def test_values_that_are_not_finite_fail_their_row_alone_without_another_run(
    bundled: Bundle,
) -> None:
    engine = Fake()
    assert failed(scored(bundled, engine, [1, 60, 2, -1])) == [1, 3]
    assert engine.sizes == [3]


def test_rows_that_share_a_scale_are_told_apart(bundled: Bundle) -> None:
    class Shared(Fake):
        def run(self, input_ids: Any, attention_mask: Any) -> Any:
            logits = super().run(input_ids, attention_mask)
            return logits if np.isfinite(logits).all() else np.full_like(logits, np.nan)

    hints = SimpleNamespace(pad_id=0, batch_invariant=False)
    bundle: Any = SimpleNamespace(
        engine=hints, temperature=1.0, labels=("a", "b"), digest="ab" * 32, head=Head()
    )
    assert failed(scored(bundle, Shared(), [1, 60, 2, 3, 4])) == [1]


@pytest.mark.parametrize(
    "logits",
    [np.zeros((1, 1)), np.zeros((1, 3)), np.zeros(2), np.zeros((2, 2)), np.zeros((1, 2, 1))],
)
def test_outputs_that_are_not_the_labels_refuse_the_version(bundled: Bundle, logits: Any) -> None:
    class Odd:
        device = "cpu"

        def run(self, input_ids: Any, attention_mask: Any) -> Any:
            return logits.astype(np.float32)

    with pytest.raises(InvalidBundle, match="2 labels"):
        LoadedModel(bundled, Odd()).check()  # type: ignore[arg-type]


def test_infinite_logits_are_no_answer(bundled: Bundle) -> None:
    class Infinite:
        device = "cpu"

        def run(self, input_ids: Any, attention_mask: Any) -> Any:
            return np.array([[np.inf, 0], [0, -np.inf], [3, 1]], dtype=np.float32)

    model = LoadedModel(bundled, Infinite())  # type: ignore[arg-type]
    scores = model.score([np.array([1], dtype=np.int32)] * 3)
    assert np.isnan(scores[:2]).all()
    assert abs(scores[2].sum() - 1) < 1e-6


def test_one_logit_for_two_labels_is_refused_where_it_is_loaded(tmp_path: Path) -> None:
    stages = PoisonStages(tmp_path)
    stages.bundle = write_poison_bundle(tmp_path / "one", outputs=1)
    with pytest.raises(InvalidBundle, match=r"shape \(1, 1\)"):
        asyncio.run(stages.model.load(stages.bundle.digest))


def classified(stages: PoisonStages, texts: Sequence[str]) -> ModelAnswer:
    n = len(texts)
    batch = TextBatch("", list(texts), np.full(n, 60, dtype=np.float32), np.zeros(n, dtype=bool))
    return asyncio.run(stages.classify(batch))


@pytest.mark.parametrize("poison", POISON)
def test_a_real_engine_answers_all_but_the_guilty_text(tmp_path: Path, poison: str) -> None:
    answer = classified(PoisonStages(tmp_path), [*GOOD[:5], poison, *GOOD[5:]])
    alone = classified(PoisonStages(tmp_path), GOOD)
    assert answer.scores.failed.tolist() == [i == 5 for i in range(13)]
    assert np.isnan(answer.scores.scores[5]).all()
    kept = np.delete(answer.scores.scores, 5, axis=0)
    assert np.abs(kept - alone.scores.scores).max() < 1e-6
    # A batch that ran in parts says nothing of what a batch costs.
    assert not len(answer.scores.batches)
    assert len(alone.scores.batches) == 1


def test_all_kinds_at_once(tmp_path: Path) -> None:
    texts = [GOOD[0], NAN, LONG, GOOD[1], NO_ROW, NO_ROW, GOOD[2]]
    answer = classified(PoisonStages(tmp_path), texts)
    assert answer.scores.failed.tolist() == [text not in GOOD for text in texts]


def test_one_poison_in_a_hundred_costs_little(tmp_path: Path) -> None:
    stages = PoisonStages(tmp_path)

    async def stream(texts: Sequence[str]) -> None:
        for start in range(0, len(texts), 32):
            part = list(texts[start : start + 32])
            far, bulk = np.full(len(part), 60, dtype=np.float32), np.zeros(len(part), dtype=bool)
            await stages.classify(TextBatch("", part, far, bulk))

    clean = [GOOD[i % len(GOOD)] for i in range(3_200)]
    dirty = [NO_ROW if i % 100 == 37 else text for i, text in enumerate(clean)]
    asyncio.run(stream(clean))
    assert (stages.computed_rows, stages.runs) == (3_200, 100)
    asyncio.run(stream(dirty))
    # Rows that were computed to the end; an id without a row fails in the first step of a run.
    assert 3_200 / (stages.computed_rows - 3_200) >= 0.8
    assert stages.runs - 100 <= 100 + 32 * (1 + 2 * 5)
