"""The prediction log of one replica: a queue, a thread that buffers, a thread that stores.

    add ─▶ queue ─▶ write-ahead file ─▶ Parquet
          (memory)   (buffered)         (stored)

``add`` costs a predictor one append and never waits. Where the queue or the disk is full,
rows are dropped and counted: answers come before their record (ADR 0015).
"""

import contextlib
import logging
import threading
import time
import uuid
from collections import deque
from pathlib import Path
from queue import Empty, SimpleQueue

from configs.schema.prediction_log import PredictionLogConfig
from deployments.prediction_log.parquet import ParquetStore
from deployments.prediction_log.rows import LoggedAnswer, RowWriter
from deployments.prediction_log.write_ahead import Segment, orphans, size_bytes
from deployments.telemetry.stream_metrics import PredictionLogMetrics

_log = logging.getLogger("ray.serve")
_GATHER_S = 0.05
_BATCH_ROWS = 1_000
_RETRY_S = 5.0
_ADOPT_S = 60.0


class PredictionLog:
    """Takes rows from any thread of one replica."""

    def __init__(
        self,
        config: PredictionLogConfig,
        rows: RowWriter,
        store: ParquetStore,
        metrics: PredictionLogMetrics,
        *,
        retry_s: float = _RETRY_S,
    ) -> None:
        """Starts the threads; they also store what earlier replicas have buffered.

        Args:
            config: Sizes and times.
            rows: Writes a prediction as a line.
            store: Takes the files.
            metrics: Counts rows and failures.
            retry_s: Pause after a file that could not be written.
        """
        self._config = config
        self._rows = rows
        self._store = store
        self._retry_s = retry_s
        self._kept = metrics.rows.labels("kept")
        self._stored = metrics.rows.labels("stored")
        self._dropped = metrics.rows.labels("dropped")
        self._failures = metrics.failures
        self._buffer_bytes = metrics.buffer_bytes
        self._folder = Path(config.buffer_dir)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._name = uuid.uuid4().hex[:12]
        self._number = 0
        self._queue: deque[LoggedAnswer] = deque()
        self._segment: Segment | None = None
        self._opened_s = 0.0
        self._closed: SimpleQueue[Segment | None] = SimpleQueue()
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._buffer, name="prediction-log", daemon=True),
            threading.Thread(target=self._store_segments, name="prediction-lake", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def add(self, answered: LoggedAnswer) -> None:
        """Queues a prediction; never waits. Drops it when the queue is full."""
        if len(self._queue) < self._config.max_queued_rows:
            self._queue.append(answered)
        else:
            self._dropped.inc()

    def close(self, wait_s: float = 5.0) -> None:
        """Buffers the queue and tries to store it; the next start stores the rest."""
        self._ending.set()
        for thread in self._threads:
            thread.join(wait_s)

    def _buffer(self) -> None:
        while not (self._ending.is_set() and not self._queue):
            lines: list[bytes] = []
            while self._queue and len(lines) < _BATCH_ROWS:
                lines.append(self._rows.line(self._queue.popleft()))
            if lines:
                self._append(lines)
            self._turn_over()
            if len(lines) < _BATCH_ROWS:
                self._ending.wait(_GATHER_S)
        if self._segment is not None:
            self._closed.put(self._segment)
        self._closed.put(None)

    def _append(self, lines: list[bytes]) -> None:
        try:
            buffered = size_bytes(self._folder)
            self._buffer_bytes.set(buffered)
            if buffered > self._config.max_buffer_bytes:
                self._dropped.inc(len(lines))
                return
            if self._segment is None:
                # Names of one replica sort by time, so files are stored in order.
                name = f"{time.time_ns() // 1_000_000}-{self._name}-{self._number:06d}"
                self._segment = Segment.create(self._folder, name)
                self._number += 1
                self._opened_s = time.monotonic()
            self._segment.append(lines)
        except OSError as error:
            self._dropped.inc(len(lines))
            self._failures.inc()
            _log.warning("predictions are not logged: %s", type(error).__name__)
        else:
            self._kept.inc(len(lines))

    def _turn_over(self) -> None:
        segment = self._segment
        if segment is None:
            return
        old = time.monotonic() - self._opened_s >= self._config.flush_s
        if old or segment.rows >= self._config.rows_per_file:
            self._segment = None
            self._closed.put(segment)

    def _store_segments(self) -> None:
        next_adoption_s = 0.0
        while True:
            if time.monotonic() >= next_adoption_s:
                self._adopt()
                next_adoption_s = time.monotonic() + _ADOPT_S
            try:
                segment = self._closed.get(timeout=_ADOPT_S)
            except Empty:
                continue
            if segment is None:
                return
            self._write(segment)

    def _adopt(self) -> None:
        try:
            for orphan in orphans(self._folder):
                self._write(orphan)
        except OSError as error:
            self._failures.inc()
            _log.warning("predictions of other replicas wait: %s", type(error).__name__)

    def _write(self, segment: Segment) -> None:
        """Tries until the file is stored; when the replica ends, the next one stores it."""
        while True:
            try:
                self._store.write(segment.name, segment.read())
            except Exception as error:  # noqa: BLE001  (else the thread would end in silence)
                self._failures.inc()
                _log.warning("predictions wait for their store: %s", type(error).__name__)
                if self._ending.wait(self._retry_s):
                    segment.release()
                    return
            else:
                self._stored.inc(segment.rows)
                with contextlib.suppress(OSError):
                    segment.remove()
                    self._buffer_bytes.set(size_bytes(self._folder))
                return
