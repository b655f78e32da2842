"""Files and environment by which Prometheus, Grafana and Ray's dashboard find each other."""

import argparse
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from cli.serve import add_arguments
from operations.local_stack.monitoring import address, addresses, hook, lay_out
from operations.local_stack.stack import ROOT


def test_prometheus_accepts_what_is_written(tmp_path: Path) -> None:
    environment = lay_out(tmp_path / "monitoring")
    file = tmp_path / "monitoring" / "prometheus.yml"
    config = yaml.safe_load(file.read_text())
    assert config["rule_files"] == [str(ROOT / "monitoring" / "rules.yaml")]
    discovery = config["scrape_configs"][0]["file_sd_configs"][0]["files"]
    assert discovery == [str(tmp_path / "monitoring" / "targets" / "*.json")]
    assert environment["RAY_METRICS_OUTPUT_ROOT"] == str(tmp_path / "monitoring")
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    result = subprocess.run(
        [program, "check", "config", str(file)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_what_prometheus_watches_stays_when_rays_folder_goes(tmp_path: Path) -> None:
    rays = tmp_path / "ray" / "prom_metrics_service_discovery.json"
    rays.parent.mkdir()
    rays.write_text("[]")
    lay_out(tmp_path / "monitoring")
    config = yaml.safe_load((tmp_path / "monitoring" / "prometheus.yml").read_text())
    pattern = Path(config["scrape_configs"][0]["file_sd_configs"][0]["files"][0])
    with addresses(tmp_path / "monitoring", rays.parent):
        assert [file.resolve() for file in pattern.parent.glob(pattern.name)] == [rays]
    shutil.rmtree(rays.parent)
    assert pattern.parent.is_dir()
    assert not list(pattern.parent.glob(pattern.name))


def test_dashboards_are_ours_and_nothing_of_an_earlier_start(tmp_path: Path) -> None:
    stale = tmp_path / "dashboards" / "gone.json"
    stale.parent.mkdir()
    stale.write_text("{}")
    environment = lay_out(tmp_path)
    found = {
        path.name
        for path in Path(environment["RAY_METRICS_GRAFANA_DASHBOARD_OUTPUT_DIR"]).iterdir()
    }
    # Ray writes its own beside them.
    assert found == {path.name for path in (ROOT / "monitoring" / "dashboards").glob("*.json")}
    assert len(found) >= 7


def test_ray_is_told_what_the_user_names_and_nothing_else() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    given = parser.parse_args(
        ["--grafana", "http://127.0.0.1:3000/", "--prometheus", "https://metrics.example.com"]
    )
    assert hook(given.grafana, given.prometheus) == {
        "RAY_GRAFANA_HOST": "http://127.0.0.1:3000",
        "RAY_GRAFANA_IFRAME_HOST": "http://127.0.0.1:3000",
        "RAY_PROMETHEUS_HOST": "https://metrics.example.com",
    }
    given = parser.parse_args([])
    assert hook(given.grafana, given.prometheus) == {}


@pytest.mark.parametrize(
    "text", ["localhost:3000", "ftp://host", "http://", "http://me:secret@host", "http://h/?a=1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        address(text)
    assert "secret" not in str(refused.value)
