"""Files and environment that connect Prometheus, Grafana, Ray's dashboard and a local stack.

The folder is the same at every start: a Prometheus with its ``prometheus.yml`` follows the
stack's ports by a link to Ray's discovery file, a Grafana with its ``grafana/grafana.ini`` has the
data source, our dashboards and Ray's own, whose panels the Ray dashboard shows.
"""

import argparse
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import yaml

_MONITORING = Path(__file__).resolve().parents[2] / "monitoring"
_SCRAPE_S = 5
_LINK = "ray.json"
# The chart's PodMonitor does the same: our own series come through Ray, which puts its prefix
# before them.
UNPREFIX = {
    "source_labels": ["__name__"],
    "regex": "ray_((?:sentiment|kafka)_.+)",
    "target_label": "__name__",
    "replacement": "$1",
}


def lay_out(folder: Path) -> dict[str, str]:
    """Writes configuration and dashboards into ``folder``; returns the environment that makes Ray
    write there as well.

    Args:
        folder: Made when missing; dashboards of an earlier start are replaced.
    """
    # Prometheus watches this one, so it stays when Ray's own folder goes with Ray.
    targets = folder / "targets"
    targets.mkdir(parents=True, exist_ok=True)
    (targets / _LINK).unlink(missing_ok=True)
    dashboards = folder / "dashboards"
    shutil.rmtree(dashboards, ignore_errors=True)
    dashboards.mkdir()
    for file in sorted((_MONITORING / "dashboards").glob("*.json")):
        shutil.copyfile(file, dashboards / file.name)
    config = {
        "global": {"scrape_interval": f"{_SCRAPE_S}s", "evaluation_interval": f"{_SCRAPE_S}s"},
        "rule_files": [str(_MONITORING / "rules.yaml")],
        "scrape_configs": [
            {
                "job_name": "sentigraph",
                "file_sd_configs": [{"files": [f"{targets}/*.json"], "refresh_interval": "5s"}],
                "metric_relabel_configs": [UNPREFIX],
            }
        ],
    }
    text = yaml.safe_dump(config, sort_keys=False)
    (folder / "prometheus.yml").write_text(text, encoding="utf-8")
    return {
        "RAY_METRICS_OUTPUT_ROOT": str(folder),
        "RAY_METRICS_GRAFANA_DASHBOARD_OUTPUT_DIR": str(dashboards),
    }


@contextmanager
def addresses(folder: Path, ray_temp_dir: Path) -> Iterator[None]:
    """While it is open, a Prometheus with the configuration in ``folder`` finds Ray's metrics."""
    link = folder / "targets" / _LINK
    link.symlink_to(ray_temp_dir / "prom_metrics_service_discovery.json")
    try:
        yield
    finally:
        link.unlink(missing_ok=True)


def hook(grafana: str | None, prometheus: str | None) -> dict[str, str]:
    """The environment by which Ray's dashboard finds Grafana and Prometheus; None is left out."""
    found: dict[str, str] = {}
    if grafana:
        # Asked by Ray's server, and by the browser for the panels.
        found |= {"RAY_GRAFANA_HOST": grafana, "RAY_GRAFANA_IFRAME_HOST": grafana}
    if prometheus:
        found["RAY_PROMETHEUS_HOST"] = prometheus
    return found


def address(text: str) -> str:
    """``http://host:port`` from a command line, without the last slash.

    Raises:
        ArgumentTypeError: It is no such address, or carries a password.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is no address such as http://127.0.0.1:3000")
    if parts.password or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError("an address without password, query and fragment")
    return text.rstrip("/")
