"""Prometheus rules and Alertmanager routes, by Prometheus' own tools, against our own metrics."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from monitoring import series

NAMES = r"\b(?:sentiment|ray|sentigraph|kafka)[\w:]*(?=[\[{) ]|$)"

ROOT = Path(__file__).parents[2]
RULES = ROOT / "monitoring" / "rules.yaml"
TESTS = sorted((ROOT / "monitoring" / "tests").glob("*.yaml"))
ALERTMANAGER = ROOT / "monitoring" / "alertmanager.yaml"
# Of Ray; seen in a scrape of the running stack.
OF_RAY = {
    "ray_serve_autoscaling_target_replicas",
    "ray_serve_health_check_failures_total",
    "ray_serve_replica_shutdown_duration_ms_count",
}

GROUPS = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
RECORDED = {rule["record"] for group in GROUPS for rule in group["rules"] if "record" in rule}


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed: apt-get install prometheus prometheus-alertmanager")
    return path


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_promtool_accepts_the_rules() -> None:
    result = run(tool("promtool"), "check", "rules", str(RULES))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("file", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_and_stay_silent(file: Path) -> None:
    result = run(tool("promtool"), "test", "rules", str(file))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
def test_a_wrong_threshold_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    text = RULES.read_text(encoding="utf-8")
    broken = text.replace('concurrency_limit"}) > 0', 'concurrency_limit"}) > 2')
    assert broken != text
    (tmp_path / "rules.yaml").write_text(broken, encoding="utf-8")
    suite = yaml.safe_load((ROOT / "monitoring" / "tests" / "alerts.yaml").read_text())
    suite["tests"] = [test for test in suite["tests"] if test["name"].startswith("RedisDown")]
    (tmp_path / "tests" / "alerts.yaml").write_text(yaml.safe_dump(suite), encoding="utf-8")
    result = run(tool("promtool"), "test", "rules", str(tmp_path / "tests" / "alerts.yaml"))
    assert result.returncode == 1, result.stdout + result.stderr


def test_every_alert_has_both_tests_and_says_what_to_do() -> None:
    named = [test["name"] for file in TESTS for test in yaml.safe_load(file.read_text())["tests"]]
    for rule in ALERTS:
        assert f"{rule['alert']} fires" in named
        assert rule["alert"] == "Watchdog" or f"{rule['alert']} stays silent" in named
        assert rule["labels"]["severity"] in ("page", "ticket", "info", "none")
        assert len(rule["annotations"]["summary"]) > 20
        assert rule["annotations"]["description"]


def test_every_series_in_a_rule_exists() -> None:
    declared = {name for names in series.declared().values() for name in names}
    used = {
        name
        for group in GROUPS
        for rule in group["rules"]
        for name in re.findall(
            r"\b(?:sentiment|ray|sentigraph|kafka)[\w:]*(?=[\[{) ]|$)", rule["expr"]
        )
    }
    assert len(used) > 30
    assert used - declared - RECORDED - OF_RAY == set()


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["severity=page", "alertname=RedisDown"], "on-call"),
        (["severity=ticket", "alertname=TextsDropped"], "tickets"),
        (["severity=info", "alertname=PaddingHigh"], "nobody"),
        (["severity=none", "alertname=Watchdog"], "dead-mans-switch"),
    ],
)
def test_an_alert_reaches_whom_it_should(labels: list[str], receiver: str) -> None:
    arguments = ["config", "routes", "test", f"--config.file={ALERTMANAGER}", *labels]
    result = run(tool("amtool"), *arguments)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == receiver


def test_no_address_or_key_is_written_out() -> None:
    text = ALERTMANAGER.read_text(encoding="utf-8")
    assert "hooks.slack.com" not in text
    assert not re.search(r"routing_key:|api_url:|password:", text)
    assert run(tool("amtool"), "check-config", str(ALERTMANAGER)).returncode == 0
