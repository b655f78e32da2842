import numpy as np
import pytest
from planted_traffic import LABELS, Traffic, draw

from configs.schema.drift import DriftConfig
from deployments.insight.watched import Watched, absorb, new_watched

MOST = 80


def watched(config: DriftConfig) -> Watched:
    """A version with a reference."""
    rng = np.random.default_rng(1)
    found = new_watched("ab" * 32, "m", 3, LABELS)
    while found.learning:
        found, _ = absorb(found, draw(rng, 500, Traffic()), 0.0, config)
    return found


def blocks_until_drifted(signal: str, traffic: Traffic, **settings: float) -> int:
    """``MOST`` if that is not reached."""
    config = DriftConfig.model_validate(settings)
    found, rng = watched(config), np.random.default_rng(2)
    for block in range(MOST):
        found, _ = absorb(found, draw(rng, 100, traffic), 0.0, config)
        if found.level_of(signal) == "drifted":
            return block
    return MOST


@pytest.mark.parametrize(
    ("signal", "traffic", "settings"),
    [
        ("label", Traffic(positive=0.62), {"label_tolerance": 0.1}),
        ("label", Traffic(positive=0.62), {"alpha": 0.0001}),
        ("label", Traffic(positive=0.62), {"horizon_days": 366}),
        ("label", Traffic(positive=0.62), {"report_interval_s": 0.1}),
        ("label", Traffic(positive=0.62), {"baseline_texts": 1_000}),
        ("length", Traffic(length=32), {"tolerance": 0.1}),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_each_setting_changes_when_it_alarms(
    signal: str, traffic: Traffic, settings: dict[str, float]
) -> None:
    usual = blocks_until_drifted(signal, traffic)
    assert usual < MOST
    assert blocks_until_drifted(signal, traffic, **settings) > usual


def test_the_reference_has_as_many_texts_as_asked_for() -> None:
    for texts in (1_000, 3_000):
        found = watched(DriftConfig(baseline_texts=texts))
        assert texts <= sum(found.reference["label"]) < texts + 500


def test_an_alarm_is_told_once() -> None:
    config = DriftConfig()
    found, rng = watched(config), np.random.default_rng(2)
    told = []
    for _ in range(5):
        found, events = absorb(found, draw(rng, 200, Traffic(positive=1.0)), 7.0, config)
        told += [(event.signal, event.level, event.at_s) for event in events]
    assert told == [("label", "drifted", 7.0)]
