"""Whether this node's disks still take what the configuration keeps there."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from configs.schema.app import AppConfig
from registry.backend.sqlite_setup import sqlite_file

# A disk is full with less than this and less than a twentieth of it; `sentigraph doctor` fails
# with as little.
_LEAST_BYTES, _LEAST_SHARE = 256 << 20, 0.05


def full_disk(folders: Mapping[str, Path]) -> str | None:
    """What a person is told of a full disk; None while all have space.

    Args:
        folders: By the setting that names them; those that are not on this node are left out.
    """
    for setting, folder in folders.items():
        try:
            space = shutil.disk_usage(folder)
        except OSError:
            continue
        if space.free < min(_LEAST_BYTES, _LEAST_SHARE * space.total):
            return (
                f"degraded: {space.free >> 20} MiB are left on the disk of {setting}: what is to "
                "be kept there may be refused, predictions go on"
            )
    return None


def kept_folders(config: AppConfig) -> dict[str, Path]:
    """Folders that are written to while the graph serves."""
    databases = {"registry.tracking_uri": config.registry.tracking_uri}
    if config.jobs.enabled:
        databases["jobs.database"] = config.jobs.database.get_secret_value()
    if config.insight:
        databases["drift.database"] = config.drift.database.get_secret_value()
    files = {setting: sqlite_file(uri) for setting, uri in databases.items()}
    found = {setting: file.parent for setting, file in files.items() if file is not None}
    if config.prediction_log.enabled:
        found["prediction_log.buffer_dir"] = Path(config.prediction_log.buffer_dir)
    return found | {"registry.bundle_cache_dir": Path(config.registry.bundle_cache_dir)}
