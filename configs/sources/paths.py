"""Relative paths → absolute ones, for processes whose working directory is unknown."""

import re
from pathlib import Path

from pydantic import SecretStr

from configs.schema.app import AppConfig
from configs.sources.shipped_files import checkout, shipped_file

# sqlite:///relative.db, but not sqlite:////absolute.db nor sqlite:///:memory:
_RELATIVE_SQLITE = re.compile(r"^(sqlite(?:\+\w+)?:///)(?![/:])")
_URI = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.\-]*:")


def absolute_paths(config: AppConfig, home: Path) -> AppConfig:
    """The same configuration with the paths of files and sqlite databases absolute.

    Relative ones start from ``home``. URIs other than relative sqlite ones stay as they are.
    Nothing is created. Without a checkout the bundled model is the wheel's, unless ``home`` has it.
    """
    registry = config.registry
    paths = {
        "tracking_uri": absolute_uri(registry.tracking_uri, home),
        "artifact_root": absolute_path(registry.artifact_root, home),
        "bundle_cache_dir": absolute_path(registry.bundle_cache_dir, home),
        "bundled_model_dir": _bundled_model(registry.bundled_model_dir, home),
    }
    log = config.prediction_log
    folders = {
        "uri": absolute_path(log.uri, home),
        "buffer_dir": absolute_path(log.buffer_dir, home),
    }
    jobs, drift = (
        {"database": SecretStr(absolute_uri(section.database.get_secret_value(), home))}
        for section in (config.jobs, config.drift)
    )
    return config.model_copy(
        update={
            "registry": registry.model_copy(update=paths),
            "prediction_log": log.model_copy(update=folders),
            "jobs": config.jobs.model_copy(update=jobs),
            "drift": config.drift.model_copy(update=drift),
        }
    )


def absolute_uri(uri: str, home: Path) -> str:
    """A relative sqlite URI as an absolute one; any other as it is."""
    return _RELATIVE_SQLITE.sub(lambda match: f"{match[1]}{home.as_posix()}/", uri)


def absolute_path(path: str, home: Path) -> str:
    """A relative path under ``home``; an absolute path or a URI as it is."""
    return path if _URI.match(path) else str(home / path)


def _bundled_model(path: str, home: Path) -> str:
    own = absolute_path(path, home)
    return own if checkout() or Path(own).exists() else str(shipped_file(path))
