"""Figures against values worked out by hand."""

import math

import numpy as np
import pytest

from pipelines.evaluation.metrics import (
    brier_score,
    expected_calibration_error,
    macro_f1,
    negative_log_likelihood,
)
from pipelines.evaluation.temperature import fit_temperature
from pipelines.export.parity import softmax
from registry.catalog.intervals import wilson_interval


def test_wilson_interval_of_eight_in_ten() -> None:
    # (0.8 + 0.19207) / 1.38415 = 0.71674 +/- 1.95996 / 1.38415 * sqrt(0.016 + 0.0096036) = 0.22658
    assert wilson_interval(8, 10) == pytest.approx((0.49016, 0.94332), abs=1e-4)


def test_wilson_interval_stays_inside_and_is_not_empty_at_the_ends() -> None:
    assert wilson_interval(0, 20)[0] == 0.0
    assert wilson_interval(0, 20)[1] == pytest.approx(0.1611, abs=1e-4)
    assert wilson_interval(20, 20)[1] == pytest.approx(1.0)
    with pytest.raises(ValueError, match="at least one"):
        wilson_interval(0, 0)


def test_ece_weighs_bins_by_their_texts() -> None:
    # Four texts at 0.9 of which three are right, one at 0.6 that is right:
    # 4/5 * |0.75 - 0.9| + 1/5 * |1 - 0.6| = 0.12 + 0.08
    probabilities = np.array([[0.1, 0.9]] * 4 + [[0.6, 0.4]])
    truth = np.array([1, 1, 1, 0, 0])
    assert expected_calibration_error(probabilities, truth) == pytest.approx(0.20)


def test_ece_puts_a_bins_upper_edge_inside_it() -> None:
    # With two bins, 0.5 belongs to the lower one; alone there, it is half right.
    probabilities = np.array([[0.5, 0.5], [0.0, 1.0]])
    assert expected_calibration_error(probabilities, np.array([0, 1]), bins=2) == pytest.approx(
        0.25
    )


def test_macro_f1_nll_and_brier() -> None:
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert macro_f1(truth, predicted, 2) == pytest.approx((2 / 3 + 4 / 5) / 2)
    probabilities = np.array([[0.5, 0.5], [0.2, 0.8]])
    expected = -(math.log(0.5) + math.log(0.8)) / 2
    assert negative_log_likelihood(probabilities, np.array([0, 1])) == pytest.approx(expected)
    assert brier_score(probabilities, np.array([0, 1])) == pytest.approx((0.5 + 0.08) / 2)


def test_temperature_brings_confidence_to_accuracy() -> None:
    # Three in four right at logit gap 4: honest is a gap of ln 3, so T = 4 / ln 3.
    logits = np.array([[0.0, 4.0]] * 4_000)
    truth = np.array([1, 1, 1, 0] * 1_000)
    temperature = fit_temperature(logits, truth)
    assert temperature == pytest.approx(4 / math.log(3), rel=1e-3)
    assert softmax(logits, temperature)[0, 1] == pytest.approx(0.75, abs=1e-3)


def test_a_few_texts_that_are_all_right_do_not_make_scores_certain() -> None:
    logits = np.array([[0.0, 4.0]] * 20)
    temperature = fit_temperature(logits, np.ones(20, dtype=np.int64))
    assert softmax(logits, temperature)[0, 1] == pytest.approx(21 / 22, abs=1e-3)
