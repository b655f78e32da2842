"""Finds the texts of a failed engine batch that failed it, so that the others are answered.

``replica.py`` calls ``score_each`` for every engine batch. A batch that fails is halved until the
guilty texts are alone: at most two runs more for each guilty text and halving. An engine that
fails with a plain text too is broken, and then nothing is halved. A batch that is too large for
the card's memory is halved too, and no text of it is guilty but one that does not fit alone.
"""

import logging
import sys
from collections.abc import Callable, Sequence

import numpy as np

from deployments.model.engines import OutOfMemory
from deployments.model.runner import LoadedModel
from deployments.payloads import FloatArray, IntArray

_log = logging.getLogger("ray.serve")
# Runs after the first one of a batch. All rows of a batch of 32 can be told apart within it; what
# is not told apart by then fails as well, because other texts wait for the engine.
MAX_EXTRA_RUNS = 64


def score_each(
    model: LoadedModel,
    rows: Sequence[IntArray],
    is_wanted: Callable[[int], bool],
    too_large: Callable[[int], None] = lambda cells: None,
) -> dict[int, FloatArray]:
    """Scores the rows of one batch; in the engine thread.

    Args:
        model: Runs them.
        rows: Token ids of each text.
        is_wanted: Whether a row still has a caller and time; asked before each run.
        too_large: Told of each run that did not fit into memory, its rows times padded length.

    Returns:
        For each row that was wanted until it ran ``[labels] float32``, NaN where the model has no
        answer for this text.

    Raises:
        Exception: What the engine raises for any text.
    """
    batch = _Batch(model, rows, is_wanted, too_large)
    # A text without tokens has nothing to compute.
    batch.give_up([i for i, row in enumerate(rows) if not len(row)])
    batch.resolve([i for i, row in enumerate(rows) if len(row)])
    if failed := sum(np.isnan(scores[0]) for scores in batch.scores.values()):
        digest = model.bundle.digest[:12]
        why = str(batch.error).partition("\n")[0][:300] if batch.error else "not finite"
        _log.warning("model %s: %s of %s texts failed: %s", digest, failed, len(rows), why)
    return batch.scores


class _Batch:
    def __init__(
        self,
        model: LoadedModel,
        rows: Sequence[IntArray],
        is_wanted: Callable[[int], bool],
        too_large: Callable[[int], None],
    ) -> None:
        self._model = model
        self._rows = rows
        self._is_wanted = is_wanted
        self._too_large = too_large
        self._runs = 0
        self._no_room = sys.maxsize
        self.scores: dict[int, FloatArray] = {}
        self.error: Exception | None = None

    def give_up(self, group: Sequence[int]) -> None:
        """The model has no answer for these rows."""
        void = np.full(len(self._model.bundle.labels), np.nan, dtype=np.float32)
        self.scores |= dict.fromkeys(group, void)

    def resolve(self, group: Sequence[int], *, fails: bool = False) -> bool:
        """Scores a group, in halves if it fails as a whole; returns whether it did not.

        Args:
            group: Positions of rows.
            fails: The whole is known to fail: it failed, and its other half did not.
        """
        alone = len(group) == 1
        if (alone or not fails) and self._score(group):
            return True
        if alone:
            self.give_up(group)
            return False
        # A group that was too large says nothing of its halves.
        guilt = fails or not isinstance(self.error, OutOfMemory)
        middle = len(group) // 2
        first_answered = self.resolve(group[:middle])
        self.resolve(group[middle:], fails=first_answered and guilt)
        return False

    def _score(self, group: Sequence[int]) -> bool:
        """Whether one run answers a group; rows that nobody wants any more are left out."""
        group = [i for i in group if self._is_wanted(i)]
        if not group:
            return True
        if self._runs > MAX_EXTRA_RUNS:
            self.give_up(group)
            return True
        rows = [self._rows[i] for i in group]
        try:
            scores = self._run(rows)
        except OutOfMemory as error:
            self.error = error
            if len(rows) == 1:
                # The text does not fit, or nothing does.
                self._model.check()
            return False
        except Exception as error:  # noqa: BLE001  (whatever it is, others may be without it)
            self.error = error
            if self._runs == 1:
                self._model.check()
            return False
        if self._model.rows_interact and len(group) > 1 and np.isnan(scores[:, 0]).any():
            # One row's NaN may be another row's doing.
            return False
        self.scores |= dict(zip(group, scores, strict=True))
        return True

    def _run(self, rows: Sequence[IntArray]) -> FloatArray:
        cells = len(rows) * max(map(len, rows))
        if len(rows) > 1 and cells >= self._no_room:
            raise OutOfMemory("as many did not fit")
        self._runs += 1
        try:
            return self._model.score(rows)
        except OutOfMemory:
            self._no_room = min(self._no_room, cells)
            self._too_large(cells)
            raise
