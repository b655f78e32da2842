"""What a server keeps on this machine, and what elsewhere."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from configs.load import find_home
from configs.schema.app import AppConfig
from operations.local_stack.serve_config import ServeConfig

REGISTRY, ARTIFACTS, JOBS, DRIFT = "mlflow.db", "artifacts", "jobs.db", "insight.db"


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are.

    Attributes:
        state: The state folder, which a running server claims.
        databases: SQLite files by their name in a backup; they need not be there.
        artifacts: The registry's folder of files; None where it is elsewhere.
        elsewhere: What is kept by other servers, in words.
        config: The server's configuration.
    """

    state: Path
    databases: dict[str, Path]
    artifacts: Path | None
    elsewhere: tuple[str, ...]
    config: AppConfig


def find_places(config_file: Path, state_dir: Path | None) -> Places:
    """As ``sentigraph serve`` with the same options has them.

    Raises:
        StackError: The file or the configuration is refused.
    """
    home = find_home(os.environ)
    _, config = ServeConfig.read(config_file).app_config(os.environ, home, state_dir)
    uris = {
        REGISTRY: config.registry.tracking_uri,
        JOBS: config.jobs.database.get_secret_value(),
        DRIFT: config.drift.database.get_secret_value(),
    }
    databases = {name: path for name, uri in uris.items() if (path := _sqlite_path(uri))}
    on = {JOBS: config.jobs.enabled, DRIFT: config.drift.enabled or config.feedback.enabled}
    elsewhere = [
        f"{name.removesuffix('.db')}: {_server(uri)}"
        for name, uri in uris.items()
        if name not in databases and on.get(name, True)
    ]
    root = config.registry.artifact_root
    local = REGISTRY in databases and "://" not in root
    if not local:
        elsewhere.append("artifacts: where the registry keeps them")
    if config.prediction_log.enabled:
        elsewhere.append(f"prediction log: {config.prediction_log.uri} (files are written once)")
    return Places(
        state=(state_dir or home / ".sentigraph").absolute(),
        databases=databases,
        artifacts=Path(root).absolute() if local else None,
        elsewhere=tuple(elsewhere),
        config=config,
    )


def _sqlite_path(uri: str) -> Path | None:
    scheme, found, path = uri.partition(":///")
    return Path(path).absolute() if found and scheme.partition("+")[0] == "sqlite" else None


def _server(uri: str) -> str:
    """Scheme and host, without the login."""
    parts = urlsplit(uri)
    return f"{parts.scheme} at {parts.hostname}"
