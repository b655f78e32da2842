"""What is said of a model that does not give every label, or whose training ended early."""

import numpy as np
import pytest

from pipelines.evaluation.figures import measure
from pipelines.evaluation.shortcomings import shortcomings

LABELS = ("bug", "praise", "question")
TRUTH = np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("predicted", "said"),
    [
        ([0, 1, 2, 0, 1, 1], []),
        (
            [1] * 6,
            [
                "the model knows one label only: it gives praise to each of the 6 test texts, and "
                "never bug, question; it has learnt nothing that tells texts apart"
            ],
        ),
        ([0, 1, 1, 0, 1, 0], ["the model gives none of the 6 test texts the label question"]),
    ],
)
def test_labels_that_are_never_given_are_named(predicted: list[int], said: list[str]) -> None:
    figures = measure(TRUTH, np.array(predicted), LABELS)
    assert shortcomings(figures, {}) == said
    early = "training stopped early, after epoch 2 of 6"
    assert shortcomings(figures, {"stopped_early": early}) == [*said, early]
