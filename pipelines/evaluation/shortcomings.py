"""What a reader of a model's figures should know before the figures, from what the steps left.

Said by `evaluate` after its tables, and the first lines of the card's limits.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.evaluation.figures import Figures


def shortcomings(figures: Figures, facts: Mapping[str, str]) -> list[str]:
    """One clause for each: labels that the model never gives, training that ended early.

    Args:
        figures: Of the model on the test split.
        facts: The bundle's provenance.
    """
    return [one for one in (_labels_given(figures), facts.get("stopped_early", "")) if one]


def _labels_given(figures: Figures) -> str:
    given = [one.label for one in figures.labels if one.predicted]
    never = [one.label for one in figures.labels if not one.predicted]
    if not never:
        return ""
    texts = f"the {figures.accuracy.texts:,} test texts"
    if len(given) == 1:
        return (
            f"the model knows one label only: it gives {given[0]} to each of {texts}, and never "
            f"{', '.join(never[:20])}; it has learnt nothing that tells texts apart"
        )
    return f"the model gives none of {texts} the label {', '.join(never[:20])}"
