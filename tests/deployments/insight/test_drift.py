import numpy as np
import pytest
from planted_traffic import BLOCK, LABELS, Traffic, blocks, draw

from deployments.inference.signals import add, empty
from deployments.insight.drift import MIN_REFERENCE, Drift, FalseAlarms
from deployments.insight.reference import Reference, Tolerances

REFERENCE_TEXTS = 5_000
USUAL = Traffic()


def drift_of(rng: np.random.Generator, texts: int = REFERENCE_TEXTS) -> Drift:
    return Drift(Reference(LABELS, draw(rng, texts, USUAL)), FalseAlarms())


def alarm(
    drift: Drift,
    rng: np.random.Generator,
    traffic: Traffic,
    texts: int,
    sizes: tuple[int, ...] = (BLOCK,),
) -> tuple[int, set[str]] | None:
    """After how many texts something drifted, and which signals; None if nothing has."""
    for total, block in blocks(rng, texts, traffic, sizes):
        drift.add(block)
        drifted = {name for name, level in drift.levels().items() if level == "drifted"}
        if drifted:
            return total, drifted
    return None


def check_no_false_alarm(runs: int, texts: int) -> None:
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        drift = drift_of(rng)
        assert alarm(drift, rng, USUAL, texts) is None
        assert set(drift.levels().values()) == {"none"}


def check_mix_of_60_to_40(runs: int) -> None:
    delays = []
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        drift = drift_of(rng)
        assert alarm(drift, rng, USUAL, 2_000) is None
        found = alarm(drift, rng, Traffic(positive=0.6), 10_000)
        assert found is not None
        assert found[1] == {"label"}
        delays.append(found[0])
    assert np.median(delays) <= 4_000


def test_usual_traffic_is_no_drift() -> None:
    check_no_false_alarm(runs=2, texts=15_000)


@pytest.mark.slow
def test_usual_traffic_is_no_drift_in_a_million_texts() -> None:
    check_no_false_alarm(runs=10, texts=100_000)


def test_a_mix_of_60_to_40_is_found_within_10_000_texts() -> None:
    check_mix_of_60_to_40(runs=4)


@pytest.mark.slow
def test_a_mix_of_60_to_40_is_found_in_every_run() -> None:
    check_mix_of_60_to_40(runs=25)


@pytest.mark.slow
def test_a_mix_of_51_to_49_is_within_the_tolerance() -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        assert alarm(drift_of(rng), rng, Traffic(positive=0.51), 100_000) is None


@pytest.mark.parametrize("sizes", [(BLOCK,), (130, 40), (17, 150)])
def test_a_collapse_to_one_label_is_found_within_200_texts(sizes: tuple[int, ...]) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        drift = drift_of(rng)
        found = alarm(drift, rng, Traffic(positive=1.0), 200, sizes)
        assert found is not None
        assert found[0] <= 200


@pytest.mark.parametrize(
    ("traffic", "signal", "texts"),
    [
        (Traffic(cyrillic=0.2), "script", 500),
        (Traffic(repeated=0.5), "repeated", 500),
        (Traffic(length=48), "length", 1_000),
        (Traffic(sureness=2), "confidence", 1_500),
    ],
)
def test_each_kind_of_change_is_found_by_its_signal(
    traffic: Traffic, signal: str, texts: int
) -> None:
    rng = np.random.default_rng(3)
    assert alarm(drift_of(rng), rng, traffic, texts) == (pytest.approx(texts, abs=texts), {signal})


def test_a_month_of_calm_costs_no_power() -> None:
    rng = np.random.default_rng(5)
    drift = drift_of(rng)
    fresh = alarm(drift_of(rng), np.random.default_rng(6), Traffic(positive=0.65), 5_000)
    for _, block in blocks(rng, 40_000, USUAL):
        drift.add(block)
    late = alarm(drift, np.random.default_rng(6), Traffic(positive=0.65), 5_000)
    assert fresh is not None
    assert late is not None
    assert late[0] <= fresh[0] + 2 * BLOCK


def test_values_beyond_all_bins_of_the_reference_count() -> None:
    rng = np.random.default_rng(1)
    drift = drift_of(rng)
    block = empty(LABELS)
    block["length"][-1] = block["chars_per_token"][0] = 50
    drift.add(block)
    found = {name for name, level in drift.levels().items() if level == "drifted"}
    assert found == {"length", "chars_per_token"}


def test_evidence_goes_on_after_a_restart_bit_for_bit() -> None:
    rng = np.random.default_rng(2)
    drift = drift_of(rng)
    some = [block for _, block in blocks(rng, 2_000, Traffic(positive=0.55))]
    for block in some[:10]:
        drift.add(block)
    again = Drift(drift.reference, FalseAlarms(), drift.log_sums.tobytes())
    for block in some[10:]:
        drift.add(block)
        again.add(block)
    assert again.log_sums.tobytes() == drift.log_sums.tobytes()


def test_a_small_reference_never_says_drifted() -> None:
    rng = np.random.default_rng(4)
    drift = drift_of(rng, MIN_REFERENCE // 2)
    assert alarm(drift, rng, Traffic(positive=1.0), 500) is None
    assert drift.levels()["label"] == "changed"


def test_a_signal_that_is_forgotten_begins_anew() -> None:
    rng = np.random.default_rng(4)
    drift = drift_of(rng)
    assert alarm(drift, rng, Traffic(positive=1.0, repeated=0.5), 500)
    drift.forget("label")
    levels = drift.levels()
    assert (levels["label"], levels["repeated"]) == ("none", "drifted")


def test_the_threshold_is_the_promised_rate() -> None:
    rate = FalseAlarms(alpha=0.01, horizon_days=1, block_s=60)
    assert np.exp(rate.threshold(32)) == pytest.approx(32 * 1_440 / 0.01)


def test_a_wider_tolerance_waits_longer() -> None:
    rng = np.random.default_rng(8)
    counts = draw(rng, REFERENCE_TEXTS, USUAL)
    some = [block for _, block in blocks(rng, 20_000, Traffic(positive=0.58))]
    found = []
    for share in (0.03, 0.2):
        drift = Drift(Reference(LABELS, counts, Tolerances(share=share)), FalseAlarms())
        for block in some:
            drift.add(block)
        found.append(drift.levels()["label"])
    assert found == ["drifted", "changed"]


def test_a_reference_of_many_labels_has_a_share_for_each() -> None:
    labels = tuple("abc")
    counts = empty(labels)
    add(counts, {"label": [10, 20, 70]})
    measures = Reference(labels, counts).measures
    shares = {m.name: m.mean for m in measures if m.signal.name == "label"}
    assert shares == {"a": 0.1, "b": 0.2, "c": 0.7}
