"""Dashboards: the files are what the code makes, and what they ask for is parsed and exists."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from monitoring.dashboards import BOARDS, FOLDER, files
from monitoring.panels import Board, Panel
from monitoring.promql import PLAIN_VALUES, SCOPE, series_in, without_grafana
from monitoring.reference import render
from monitoring.series import asked_for, declared

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
PANELS = [(board, panel) for board in BOARDS for panel in board.panels()]
UNITS = {"short", "s", "ms", "bytes", "percentunit", "reqps", "cps", "cpm"}
LABEL = re.compile(r"\{\{(\w+)\}\}")
each_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
each_panel = pytest.mark.parametrize(
    ("board", "panel"), PANELS, ids=[f"{board.name}-{panel.title}" for board, panel in PANELS]
)


def test_the_committed_files_are_the_generated_ones() -> None:
    made = dict(files())
    assert {path for path in FOLDER.rglob("*.json")} == set(made)
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, "run `make docs`"


def test_the_committed_table_of_metrics_is_the_generated_one() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == render(), "run `make docs`"


def test_every_declared_metric_is_in_a_rule_or_a_panel() -> None:
    asked = asked_for()
    assert [family for family, names in declared().items() if not asked & set(names)] == []


def test_every_series_of_ours_that_is_asked_for_is_declared() -> None:
    ours = {name for names in declared().values() for name in names}
    assert {name for name in asked_for() if not name.startswith("ray_")} <= ours


def expressions() -> list[str]:
    return [without_grafana(q.expr) for _, panel in PANELS for q in panel.queries]


def check(folder: Path, expressions: list[str]) -> subprocess.CompletedProcess[str]:
    """What Prometheus' own parser says, once for all."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    rules = [{"record": f"panel:{i}", "expr": text} for i, text in enumerate(expressions)]
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    return subprocess.run(
        [program, "check", "rules", str(file)], capture_output=True, text=True, check=False
    )


def test_prometheus_parses_every_expression(tmp_path: Path) -> None:
    result = check(tmp_path, expressions())
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(expressions()) > 100


def test_prometheus_refuses_a_planted_mistake(tmp_path: Path) -> None:
    result = check(tmp_path, [*expressions(), "rate(sum(up{}))"])
    assert result.returncode == 1
    assert "rate" in result.stderr


@each_board
def test_a_dashboard_can_be_read_at_a_glance(board: Board) -> None:
    titles = [panel.title for panel in board.numbers]
    assert 4 <= len(titles) <= 6
    assert len(titles) == len(set(titles))
    for row in board.rows:
        assert len({panel.title for panel in row.panels}) == len(row.panels)
    assert board.description.endswith("?")


@each_panel
def test_a_panel_says_what_it_shows(board: Board, panel: Panel) -> None:
    assert len(panel.description) > 4
    assert panel.description.endswith(".")
    assert panel.unit in UNITS
    assert list(panel.limits) == sorted(panel.limits)
    assert len(panel.limits) <= 2
    for query in panel.queries:
        assert SCOPE in query.expr
        assert series_in(query.expr)
        assert query.expr.count("{") == query.expr.count(SCOPE), "a selector of every namespace"
        left = set(re.findall(r"\$\w+", query.expr)) - set(PLAIN_VALUES) - {"$__range"}
        assert left == set(), "a variable that the dashboard does not have"
        if not panel.is_stat and len(panel.queries) > 1:
            assert query.legend
        for label in LABEL.findall(query.legend):
            assert label == "ip" or re.search(rf"by \([^)]*\b{label}\b", query.expr), label


@each_board
def test_panels_do_not_overlap_and_know_their_source(board: Board) -> None:
    content = json.loads((FOLDER / f"{board.name}.json").read_text(encoding="utf-8"))
    assert content["uid"] == f"sentigraph-{board.name}"
    names = [variable["name"] for variable in content["templating"]["list"]]
    assert names[:2] == ["datasource", "namespace"]
    taken: set[tuple[int, int]] = set()
    ids = set()
    for panel in content["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
        ids.add(panel["id"])
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert len(ids) == len(content["panels"])
    numbers = [panel for panel in content["panels"] if panel["type"] == "stat"]
    assert {panel["gridPos"]["y"] for panel in numbers} == {0}
