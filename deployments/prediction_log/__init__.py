"""Opens the prediction log of a replica; ``log.py`` is the log itself."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from configs.schema.app import AppConfig
from deployments.prediction_log.rows import RowWriter
from deployments.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from deployments.prediction_log.log import PredictionLog


def open_log(config: AppConfig, metrics: Metrics) -> PredictionLog | None:
    """The log of this replica, or None where it is off."""
    if not config.prediction_log.enabled:
        return None
    # 0.2 s of imports that replicas without a log do not need.
    from deployments.prediction_log.log import PredictionLog  # noqa: PLC0415
    from deployments.prediction_log.parquet import ParquetStore  # noqa: PLC0415

    rows = RowWriter(config.prediction_log, version("sentigraph"), config.profile)
    store = ParquetStore(config.prediction_log)
    return PredictionLog(config.prediction_log, rows, store, metrics.prediction_log)
