"""Columns of a file of results: what is added to each row, and which own names are refused."""

from collections.abc import Iterable, Sequence
from typing import Any

ADDED = (
    "index",
    "label",
    "score",
    "labels",
    "n_tokens",
    "truncated",
    "model_version",
    "error_code",
    "error_message",
)
_SCORE = "score_"


def added_names(labels: Sequence[str]) -> list[str]:
    """Names of what is added to a row, in order: a score for each of the labels among them."""
    at = ADDED.index("labels") + 1
    return [*ADDED[:at], *(_SCORE + label for label in labels), *ADDED[at:]]


def added_values(result: dict[str, object], labels: Sequence[str]) -> list[Any]:
    """A result's values, in the order of ``added_names``; None for what it does not have."""
    prediction: Any = result["prediction"] or {}
    error: Any = result["error"] or {}
    found = {**result, **prediction, **error}
    scores = prediction.get("scores") or {}
    found |= {_SCORE + label: scores.get(label) for label in labels}
    return [found.get(name) for name in added_names(labels)]


def taken_names(own: Iterable[str], prefix: str) -> list[str]:
    """Which own names an added one has or may have; labels are those of whichever model is live."""
    added = {prefix + name for name in ADDED}
    return [name for name in own if name in added or name.startswith(prefix + _SCORE)]
