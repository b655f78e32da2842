"""Results and dead letters → Kafka, in a thread: kafka-python blocks where a broker is slow.

A batch is answered when every message of it is acknowledged by all brokers in sync, or has
failed; nothing is tried again here.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Sequence
from functools import partial
from queue import SimpleQueue

from kafka import KafkaProducer
from kafka.errors import KafkaConfigurationError, KafkaError

from configs.schema.stream import StreamConfig
from deployments.stream import client_options
from deployments.stream.client_patches import SaslLogin, make
from deployments.stream.messages import Outgoing

_log = logging.getLogger("ray.serve")
Answers = list[Exception | None]


class _Batch:
    """Messages that are answered together."""

    def __init__(self, records: Sequence[Outgoing], answer: "asyncio.Future[Answers]") -> None:
        self.records = records
        self._answers: Answers = [None] * len(records)
        self._open = len(records)
        self._answer = answer
        self._loop = answer.get_loop()
        self._lock = threading.Lock()

    def settle(self, index: int, error: Exception | None) -> None:
        """Notes one acknowledgement or failure; from any thread."""
        with self._lock:
            self._answers[index] = error
            self._open -= 1
            done = not self._open
        if done:
            # Nothing waits on a loop that is closed.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self._answer.done():
            self._answer.set_result(self._answers)


class Producer:
    """One idempotent producer in its own thread."""

    def __init__(self, config: StreamConfig, login: SaslLogin) -> None:
        self._config = config
        self._login = login
        self._close_s = config.delivery_timeout_ms / 1_000
        self._queue: SimpleQueue[_Batch | None] = SimpleQueue()
        self._producer: KafkaProducer | None = None
        self._thread = threading.Thread(target=self._run, name="kafka-writer", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    async def send(self, records: Sequence[Outgoing]) -> Answers:
        """None for each message that all brokers in sync have, else why it is not sure."""
        if not records:
            return []
        answer: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
        self._queue.put(_Batch(records, answer))
        return await answer

    def close(self) -> None:
        """Sends what is queued and ends the thread."""
        self._queue.put(None)
        self._thread.join(self._close_s)

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            for index, record in enumerate(batch.records):
                self._send(record, partial(batch.settle, index))
        if self._producer is not None:
            self._producer.close(timeout=self._close_s)

    def _send(self, record: Outgoing, settle: "partial[None]") -> None:
        try:
            if self._producer is None:
                client_options.reach(self._config)
                self._producer = make(
                    KafkaProducer, client_options.producer(self._config), self._login
                )
            future = self._producer.send(
                record.topic, value=record.value, key=record.key, headers=list(record.headers)
            )
        except KafkaConfigurationError:
            raise  # trying again cures nothing: the thread ends, and with it the replica
        except (KafkaError, OSError) as error:
            settle(error)
        else:
            future.add_callback(lambda _: settle(None))
            future.add_errback(settle)
