import numpy as np
import pytest

from deployments.inference.signals import (
    MAX_LABELS,
    SCRIPTS,
    add,
    count,
    empty,
    kinds_of,
    seen,
    signals_of,
)
from deployments.predictions import Prediction
from registry.records import Head

LABELS = ("negative", "positive")


def counted(
    text: str,
    scores: tuple[float, ...] = (0.1, 0.9),
    labels: tuple[str, ...] = LABELS,
    n_tokens: int = 4,
    *,
    truncated: bool = False,
    repeated: bool = False,
) -> dict[str, int]:
    """The bin of each signal that a text is counted in."""
    counts = empty(labels)
    prediction = Prediction(np.asarray(scores, np.float32), n_tokens, truncated)
    count(counts, text, prediction, repeated=repeated)
    assert all(sum(row) <= 1 for row in counts.values())
    return {name: row.index(1) for name, row in counts.items() if any(row)}


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("A fine day, 3 stars", "latin"),
        ("très chère façade", "latin"),
        ("12:30!", "none"),
        ("👍👍", "none"),
        ("Хорошо сделано", "cyrillic"),
        ("非常に良い", "east_asian"),
        ("정말 좋아요", "east_asian"),
        ("ممتاز", "arabic"),
        ("बहुत अच्छा", "indic"),
        ("Πολύ καλό", "other"),
        ("очень good очень", "cyrillic"),
    ],
)
def test_the_script_is_what_most_letters_are_written_in(text: str, script: str) -> None:
    assert SCRIPTS[counted(text)["script"]] == script


def test_a_repeated_text_counts_for_nothing_else() -> None:
    assert counted("again", repeated=True) == {"repeated": 1}


def test_a_truncated_text_has_no_density() -> None:
    assert "chars_per_token" not in counted("x" * 9_000, truncated=True)


def test_the_label_is_the_likeliest() -> None:
    assert counted("good")["label"] == 1
    assert counted("bad", (0.9, 0.1))["label"] == 0


def test_labels_beyond_the_limit_are_one_kind() -> None:
    labels = tuple(map(str, range(30)))
    kinds = signals_of(labels)[0].kinds
    assert len(kinds) == MAX_LABELS
    scores = np.zeros(30)
    scores[27] = 1
    assert kinds[counted("text", tuple(scores), labels)["label"]] == "(others)"


def test_every_number_has_a_bin() -> None:
    for confidence in (0.0, 0.5, 1.0):
        for n_tokens in (0, 1, 512, 10**9):
            assert counted("text", (confidence, 0.0), n_tokens=n_tokens).keys() >= {"length"}


def test_edges_grow_and_longer_texts_are_in_later_bins() -> None:
    for signal in signals_of(LABELS):
        assert list(signal.edges) == sorted(set(signal.edges))
    bins = [counted("text", n_tokens=n)["length"] for n in (1, 2, 16, 18, 30, 500)]
    assert bins == sorted(set(bins))


def test_counts_add_up() -> None:
    total = empty(LABELS)
    for repeated in (False, True):
        part = empty(LABELS)
        count(part, "text", Prediction(np.ones(2, np.float32), 4, False), repeated=repeated)
        add(total, part)
    assert seen(total) == 2
    assert sum(total["label"]) == 1


def test_a_multi_label_answer_counts_by_its_highest_label_or_as_none() -> None:
    head = Head("multi_label", "sigmoid", (0.5, 0.9))
    kinds = kinds_of(("a", "b"), head)
    counts = empty(kinds)
    for scores in ((0.6, 0.8), (0.4, 0.8), (0.1, 0.95)):
        count(counts, "x", Prediction(np.array(scores), 4, False), head, repeated=False)
    assert dict(zip(kinds, counts["label"], strict=True)) == {"(none)": 1, "a": 0, "b": 2}


def test_values_keep_their_order_in_the_bins() -> None:
    head = Head("regression", "none")
    places = []
    for value in (-1e6, -1.0, 0.0, 1.0, 4.0, 1e6):
        counts = empty(kinds_of(("stars",), head))
        count(counts, "x", Prediction(np.array([value]), 4, False), head, repeated=False)
        places.append(counts["confidence"].index(1))
    assert places == sorted(places)
    assert len(set(places)) == 6
