"""The card as Markdown, with every part that it can have."""

import re

from pipelines.evaluation.model_card import _CARD, _PROBE


def test_headings_stand_apart_and_no_line_ends_with_a_space() -> None:
    text = _CARD.safe_substitute(probe=_PROBE.template, note="")
    assert "### Plain sentences" in text
    assert not re.search(r"[^\n]\n#", text)
    assert not re.search(r" \n", text)
