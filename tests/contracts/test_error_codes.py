"""One table of error codes: every code that is sent is in it, and the document is current."""

from pathlib import Path

from monitoring.error_codes import CODES, render, sent

ROOT = Path(__file__).parents[2]


def test_the_document_is_current() -> None:
    assert (ROOT / "docs" / "errors.md").read_text(encoding="utf-8") == render()


def test_every_code_that_is_sent_is_in_the_table() -> None:
    kinds = list(sent())
    assert len(kinds) > 15
    assert {kind.code for kind in kinds} <= set(CODES)
    assert len(CODES) == len(set(CODES.values())) == 51
