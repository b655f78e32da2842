"""docs/settings.md is what the schema says."""

from pathlib import Path

from configs.reference import render
from configs.schema.app import AppConfig
from configs.schema.fields import settings
from configs.sources.environment_names import VARIABLES
from configs.sources.unsupported_names import ABSENT

DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_committed_document_is_the_generated_one() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == render(), "run `make docs`"


def test_every_name_is_in_it() -> None:
    text = render()
    names = [setting.variable for setting in settings(AppConfig).values()]
    names += [variable.name for variable in VARIABLES]
    names += [name for group in ABSENT for name in group.all_names]
    assert [name for name in names if f"`{name}`" not in text] == []
