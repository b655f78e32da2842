"""Every error that is sent and every check of the doctor has an entry; what it names is there."""

import re
from pathlib import Path

from configs.reference import render as settings_page
from monitoring.error_codes import sent

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
CLI = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_every_code_that_is_sent_has_an_entry() -> None:
    assert [kind.code for kind in sent() if kind.code not in PAGE] == []


def test_every_check_of_the_doctor_has_an_entry() -> None:
    checks = {
        name
        for path in (ROOT / "operations" / "doctor").glob("*.py")
        for name in re.findall(r'\b(?:ok|warn|fail|graded)\("([\w ]+)"', path.read_text())
    }
    assert len(checks) > 15
    assert sorted(name for name in checks if f"`{name}`" not in PAGE) == []


def test_settings_and_commands_that_it_names_exist() -> None:
    settings = set(re.findall(r"`((?:limits|jobs|replicas|model|stream|access)\.[\w.*]+)`", PAGE))
    known = settings_page()
    assert [name for name in settings if "*" not in name and f"`{name}`" not in known] == []
    for verb in re.findall(r"`sentigraph ([a-z ]*[a-z])", PAGE):
        assert f"`sentigraph {verb}" in CLI, verb
