"""The three dashboards at which the Ray dashboard's embedded panels point, as Ray makes them."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

from ray.dashboard.modules.metrics import grafana_dashboard_factory as factory

_MADE = {
    "default": factory.generate_default_grafana_dashboard,
    "serve": factory.generate_serve_grafana_dashboard,
    "serve-deployment": factory.generate_serve_deployment_grafana_dashboard,
}


def files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Each file and its text, by the Ray that is installed."""
    for name, make in _MADE.items():
        # Ray leaves the files open that it reads its templates from.
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            made, _ = make()
        # Without blanks, which would add 220 kB: they are not edited here.
        text = json.dumps(json.loads(made), separators=(",", ":"), sort_keys=True)
        yield folder / f"{name}.json", text + "\n"
