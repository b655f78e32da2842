"""Opens the prediction log where it is asked for; what it is lies in ``lake/``."""

from importlib.metadata import version
from typing import Protocol

from configs.schema.app import AppConfig
from deployments.prediction_log.rows import LoggedAnswer, RowWriter
from deployments.telemetry.metrics import Metrics


class Log(Protocol):
    """What predictors tell of their predictions."""

    def add(self, answered: LoggedAnswer) -> None:
        """Notes a prediction; never waits."""
        ...

    def close(self) -> None:
        """Finishes what was noted, as far as it can be done soon."""
        ...


def open_log(config: AppConfig, metrics: Metrics) -> Log | None:
    """The log of this replica, or None where it is off."""
    if not config.prediction_log.enabled:
        return None
    # 0.2 s of imports that replicas without a log do not need.
    from deployments.prediction_log.log import PredictionLog  # noqa: PLC0415
    from deployments.prediction_log.parquet import ParquetStore  # noqa: PLC0415

    rows = RowWriter(config.prediction_log, version("sentigraph"), config.profile)
    store = ParquetStore(config.prediction_log)
    return PredictionLog(config.prediction_log, rows, store, metrics.prediction_log)
