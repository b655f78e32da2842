"""A broker with the stream's topics; what is sent to them, and what comes back."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from benchmarks.harness.servers import KafkaServer
from benchmarks.harness.stream_messages import Ledger, Sent
from configs.schema.stream import StreamConfig

TOPICS = StreamConfig()
_SETTLE_S = 900.0


@contextmanager
def broker(folder: Path, partitions: int) -> Iterator[KafkaServer]:
    """A broker with the three topics."""
    with KafkaServer(folder) as server:
        admin = KafkaAdminClient(bootstrap_servers=server.address)
        names = (TOPICS.requests_topic, TOPICS.responses_topic, TOPICS.dlq_topic)
        admin.create_topics([NewTopic(n, partitions, 1) for n in names])
        admin.close()
        yield server


def produce(address: str, sent: Iterable[Sent]) -> None:
    """Puts all messages into the requests topic."""
    producer = KafkaProducer(bootstrap_servers=address, linger_ms=20, compression_type="lz4")
    for message in sent:
        producer.send(TOPICS.requests_topic, key=message.key, value=message.value)
    producer.flush()
    producer.close()


class Collector:
    """Reads results and dead letters as they come, and notes when."""

    def __init__(self, address: str, prefix: bytes = b"") -> None:
        """Starts to read; ``prefix`` leaves out what others sent over the same broker."""
        self._prefix = prefix
        self.ledger = Ledger()
        self.times: list[tuple[float, int]] = []
        self.arrived: dict[str, float] = {}
        self._consumer = KafkaConsumer(
            TOPICS.responses_topic,
            TOPICS.dlq_topic,
            bootstrap_servers=address,
            auto_offset_reset="earliest",
            group_id=None,
            fetch_max_wait_ms=10,
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            for partition, records in self._consumer.poll(timeout_ms=200).items():
                now = time.monotonic()
                for record in records:
                    if not (record.key or b"").startswith(self._prefix):
                        continue
                    if partition.topic == TOPICS.responses_topic:
                        self.ledger.result(record.key, record.value)
                        self.arrived.setdefault(record.key.decode(), now)
                    else:
                        self.ledger.letter(record.key)
                self.times.append((now, self.ledger.settled))

    def wait(self, settled: int, wait_s: float = _SETTLE_S) -> None:
        """Returns when so many messages are settled."""
        until_s = time.monotonic() + wait_s
        while self.ledger.settled < settled:
            assert time.monotonic() < until_s, f"{self.ledger.settled} of {settled} settled"
            time.sleep(0.05)

    def close(self) -> None:
        """Ends the thread."""
        self._ended.set()
        self._thread.join()
        self._consumer.close()
