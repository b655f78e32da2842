"""Which figure is shown of which version, and with which interval."""

import dataclasses

from registry.catalog.compare import compare_figures, shown_figures, with_interval
from registry.records import Measurement, ModelVersion


def _version(number: int, *aliases: str) -> ModelVersion:
    return ModelVersion("m", number, "d", ("a", "b"), "staging", aliases, "", 0.0)


def _measured(dataset: str, at_s: float, texts: int = 0, **metrics: float) -> list[Measurement]:
    named = {**metrics, **({"texts": float(texts)} if texts else {})}
    return [Measurement(m, value, dataset, dataset * 2, at_s) for m, value in named.items()]


FIRST = [*_measured("holdout", 1, 1000, accuracy=0.92), *_measured("slice", 5, accuracy=0.99)]
SECOND = _measured("holdout", 2, 1000, accuracy=0.91)
BOTH = [(_version(1, "champion"), FIRST), (_version(2), SECOND)]


def test_versions_are_shown_on_one_dataset_with_intervals() -> None:
    shown = shown_figures(BOTH, dataset="holdout")
    assert {number: figure.value for number, figure in shown.items()} == {1: 0.92, 2: 0.91}
    assert shown[1].text() == "0.9200 (0.9015-0.9353)"


def test_without_a_named_one_it_is_one_that_most_versions_have() -> None:
    assert {f.dataset for f in shown_figures(BOTH).values()} == {"holdout"}
    third = (_version(3), _measured("third", 9, accuracy=1.0))
    shown = shown_figures([*BOTH, third])
    assert {f.dataset for f in shown.values()} == {"holdout"}
    assert 3 not in shown
    assert shown_figures(BOTH, dataset="nothing") == {}


def test_a_share_without_a_number_of_texts_has_no_interval() -> None:
    (figure,) = shown_figures([BOTH[0]], dataset="slice").values()
    assert figure.interval is None
    assert figure.text() == "0.99"
    assert with_interval(SECOND[0], SECOND).interval is not None


def test_the_named_dataset_comes_first_in_a_comparison() -> None:
    a = [*_measured("a", 1, 50, accuracy=0.9), *_measured("z", 1, 50, accuracy=0.8)]
    b = [dataclasses.replace(one, value=one.value * 0.5) for one in a if one.metric == "accuracy"]
    figures, without = compare_figures(a, b, "z")
    assert [figure.dataset for figure in figures] == ["z", "a"]
    assert figures[0].interval_a is not None
    assert figures[0].interval_b is None
    assert without == ["texts"]
