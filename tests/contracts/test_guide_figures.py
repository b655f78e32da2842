"""Figures in the guide of models are those of the kept results; each names its command."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "models.md").read_text(encoding="utf-8")


def result(name: str) -> dict[str, Any]:
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    # The result names the command as it was when it ran; the module has the same name since.
    assert found["command"].split()[2].rpartition(".")[2] == name
    commands = [f"python -m {folder}.{name}`" for folder in ("benchmarks.scaling", "tests.system")]
    assert any(command in GUIDE for command in commands) or name == "registry_races"
    return found


def rows() -> list[list[str]]:
    lines = [line for line in GUIDE.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("how", ["released", "moved"])
def test_what_bad_versions_met(how: str) -> None:
    found = result("bad_models")
    shown = {row[0]: row for row in rows() if row[1:2] == [how]}
    assert set(shown) == set(found[how])
    for name, end in found[how].items():
        assert end["answered_by_it"] == 0
        assert shown[name][2] == f"{end['end']}, {end['after_s']} s"
    assert f"{found['requests']:,} requests" in GUIDE
    assert found["statuses"] == {"200": found["requests"]}


def test_simulated_releases() -> None:
    found = result("releases")
    cells = {row[0]: row[1:] for row in rows()}
    for name, key in {
        "as good as the champion": "healthy",
        "as good, `min_feedback` 4000": "healthy_min_feedback_4000",
        "3 points less accurate, `min_feedback` 4000": "three_points_less_min_feedback_4000",
        "3 points less accurate, default": "three_points_less_without_min_feedback",
        "exactly on every limit": "exactly_on_every_limit",
    }.items():
        counts = [str(found[key][end]) for end in ("promote", "roll_back", "hold")]
        assert cells[name][:3] == counts, name
    judged = found["three_points_less_min_feedback_4000"]["judged_until_rollback"]
    assert f"{judged['median']:g} ({judged['most']})" in GUIDE


def test_alias_moves() -> None:
    found = result("alias_moves")
    live = found["live_on_every_replica_after_s"]
    assert f"after {live['median']} s (median), {live['longest']} s at most" in GUIDE
    assert f"{found['failed']} of {found['requests']:,} requests" in GUIDE
    assert (found["failed"], found["mixed"]) == (0, 0)


def test_races() -> None:
    found = result("registry_races")
    for store in ("sqlite", "http"):
        assert found[store]["races_with_one_winner"] == found[store]["races"] == 50
        assert found[store]["kills"] == 30
