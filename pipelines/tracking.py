"""A step's MLflow run: its parameters, metrics and files.

Every step that trains or measures opens a run here. The connection is the registry's own: its first
start is safe between processes, it always has an explicit URI, and MLflow is imported on first use,
because that takes seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from configs.load import load_config
from registry.backend.connection import Connection, log_in

# MLflow's own limit is 6000, and it cuts longer values without a word.
PARAM_CHARACTERS = 500


def add_tracking_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares where runs are kept, by default where the served models are, and logs in there.

    Raises:
        ConfigError: The configured registry cannot be read.
    """
    registry = load_config().registry
    log_in(registry.username, registry.password.get_secret_value())
    parser.add_argument("--tracking-uri", default=registry.tracking_uri, help="MLflow tracking URI")
    parser.add_argument(
        "--artifact-root",
        default=registry.artifact_root,
        help="folder or s3:// of the files, where the URI is a database",
    )


class Run:
    """One open MLflow run. Not safe for use from several threads."""

    def __init__(self, client: Any, run_id: str) -> None:
        self._client = client
        self.run_id = run_id

    def params(self, values: Mapping[str, object]) -> None:
        """Records settings, each cut to 500 characters."""
        for key, value in values.items():
            self._client.log_param(self.run_id, key, str(value)[:PARAM_CHARACTERS])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Records measurements at a step."""
        for key, value in values.items():
            self._client.log_metric(self.run_id, key, float(value), step=step)

    def file(self, path: Path) -> None:
        """Keeps a copy of a file with the run."""
        self._client.log_artifact(self.run_id, str(path))

    def folder(self, path: Path, name: str) -> None:
        """Keeps a copy of a folder's files with the run, in a folder of that name."""
        self._client.log_artifacts(self.run_id, str(path), name)


@contextmanager
def open_run(uri: str, artifact_root: str, name: str, tags: Mapping[str, str]) -> Iterator[Run]:
    """Opens a run, and closes it as FINISHED, or as FAILED when the block raises.

    Args:
        uri: MLflow tracking URI.
        artifact_root: Where files go when the URI is a database.
        name: The step's name.
        tags: Facts to search runs by.

    Raises:
        BackendUnavailable: The store cannot be reached, read or written.
    """
    connection = Connection(uri, artifact_root)
    client = connection.client()
    run_id = client.create_run(
        connection.experiment_id(), run_name=name, tags=dict(tags)
    ).info.run_id
    try:
        yield Run(client, run_id)
    except BaseException:
        client.set_terminated(run_id, status="FAILED")
        raise
    client.set_terminated(run_id)
