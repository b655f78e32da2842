"""Makes sure that the registry has a version to serve, in a process of its own.

MLflow takes 200 MB that would stay for as long as ``sentigraph serve`` runs.
"""

import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from configs.schema.app import AppConfig
from operations.errors import StackError
from registry.backend.connection import log_in
from registry.model_registry import ModelRegistry
from registry.records import ModelVersion


def first_version(config: AppConfig) -> ModelVersion:
    """The version that is served; the bundled model when the registry has none.

    Raises:
        RegistryError: The registry or the bundle cannot be used.
        StackError: The process was killed.
    """
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, context, _leave_signals_to_parent) as pool:
            return pool.submit(_ensure, config).result()
    except BrokenProcessPool as error:
        raise StackError("the process that prepares the registry was killed") from error


def _leave_signals_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _ensure(config: AppConfig) -> ModelVersion:
    log_in(config.registry.username, config.registry.password.get_secret_value())
    registry = ModelRegistry(config.registry.tracking_uri, config.registry.artifact_root)
    return registry.ensure_bundled(
        config.model.name, Path(config.registry.bundled_model_dir), config.model.alias
    )
