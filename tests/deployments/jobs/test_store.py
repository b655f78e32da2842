"""The database of batch jobs: the same on SQLite and on a real PostgreSQL."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select, text

from deployments.clients.database import open_database
from deployments.jobs.input_files import text_parts
from deployments.jobs.leases import Leases
from deployments.jobs.records import ChunkLease, Job, NewJob
from deployments.jobs.scheduler import StrideScheduler
from deployments.jobs.store import JobStore
from deployments.jobs.tables import chunks, metadata


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pgserver = pytest.importorskip("pgserver")
    folder = tmp_path_factory.mktemp("pg")
    folder.chmod(0o755)
    server = pgserver.get_server(folder, cleanup_mode="stop")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg2://", 1)
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db"
    found: str = request.getfixturevalue("postgres")
    engine = open_database(found, metadata)
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE sentigraph_jobs CASCADE"))
    engine.dispose()
    return found


def any_bytes(job_bytes: int, stored_bytes: int, own_bytes: int | None) -> None:
    assert 0 < job_bytes <= stored_bytes
    assert own_bytes is None


class Both:
    """Store and leases of one process."""

    def __init__(self, uri: str) -> None:
        self.engine = open_database(uri, metadata)
        self.store, self.leases = JobStore(self.engine), Leases(self.engine)
        self.turns = StrideScheduler(60)

    def submit(self, job_id: str, texts: int, chunk: int = 2, **more: str) -> Job:
        new = NewJob(job_id, "", "medium", chunk, 1_000.0, 0.0, **more)
        assert self.store.create(new) is not None
        given = [f"{job_id} {i}" for i in range(texts)]
        total = self.store.receive(job_id, text_parts(given, chunk), any_bytes)
        return self.store.start(job_id, total, lambda backlog: None)

    def lease(self, now_s: float, lease_s: float = 10) -> ChunkLease | None:
        return self.leases.lease(lambda jobs: self.turns.pick(jobs, now_s), now_s, lease_s)

    def complete(self, lease: ChunkLease, now_s: float = 1.0) -> bool:
        return self.leases.complete(lease, answers(lease), now_s)

    def job(self, job_id: str) -> Job:
        found = self.store.job(job_id, "")
        assert found is not None
        return found


def answers(lease: ChunkLease) -> list[dict[str, object]]:
    return [
        {"index": lease.first + i, "prediction": {"label": text}, "error": None}
        for i, text in enumerate(lease.texts)
    ]


@pytest.fixture
def both(uri: str) -> Iterator[Both]:
    made = Both(uri)
    yield made
    made.engine.dispose()


def test_texts_keep_their_order_and_the_last_chunk_ends_the_job(both: Both) -> None:
    both.submit("a", 5)
    leases = [both.lease(1.0) for _ in range(4)]
    held = [lease for lease in leases if lease is not None]
    assert [(lease.position, lease.first, len(lease.texts)) for lease in held] == [
        (0, 0, 2),
        (1, 2, 2),
        (2, 4, 1),
    ]
    for lease in reversed(held):
        assert both.job("a").state == "processing"
        ready = both.store.ready_texts(both.job("a"))
        assert ready == 0
        assert both.complete(lease)
    job = both.job("a")
    assert (job.state, job.done_texts, job.retried_texts) == ("completed", 5, 0)
    parts = list(both.store.scored(job, 5))
    assert [t for part in parts for t in part.texts] == [f"a {i}" for i in range(5)]
    assert [r["index"] for part in parts for r in part.results] == list(range(5))
    assert [r for part in both.store.results(job, 0, 5) for r in part] == [
        r for part in parts for r in part.results
    ]


def test_a_lease_that_ran_out_is_given_away_and_its_holder_is_fenced_off(both: Both) -> None:
    both.submit("a", 2)
    first = both.lease(1.0, lease_s=10)
    assert first is not None
    assert both.lease(10.0) is None
    both.leases.renew([first], 15.0)
    assert both.lease(12.0) is None
    second = both.lease(16.0)
    assert second is not None
    assert (second.fence, second.attempts, both.job("a").retried_texts) == (2, 2, 2)
    both.leases.renew([first], 99.0)
    assert not both.complete(first)
    assert both.complete(second)
    assert not both.complete(second)
    assert both.job("a").done_texts == 2


def test_what_ended_takes_no_results(both: Both) -> None:
    both.submit("a", 4)
    lease = both.lease(1.0)
    assert lease is not None
    assert both.store.cancel("a", 2.0)
    assert not both.store.cancel("a", 3.0)
    assert not both.complete(lease)
    assert both.lease(4.0) is None
    assert (both.job("a").state, both.job("a").ended_s) == ("cancelled", 2.0)
    both.submit("b", 2)
    assert both.lease(1_001.0) is None
    assert both.job("b").state == "expired"


def test_every_text_failed_is_a_failed_job(both: Both) -> None:
    both.submit("a", 2)
    lease = both.lease(1.0)
    assert lease is not None
    errors = [{"index": i, "prediction": None, "error": {"error_code": "E1"}} for i in (0, 1)]
    assert both.leases.complete(lease, errors, 2.0)
    assert (both.job("a").state, both.job("a").failed_texts) == ("failed", 2)


def test_what_is_received_is_not_seen_and_a_key_is_taken_once(both: Both) -> None:
    keyed = {"idempotency_key": "k", "digest": "d"}
    both.store.create(NewJob("a", "ann", "low", 2, 9.0, 0.0, **keyed))
    both.store.receive("a", text_parts(["x"], 2), any_bytes)
    assert both.store.job("a", "ann") is None
    assert both.lease(1.0) is None
    assert both.store.create(NewJob("b", "ann", "low", 2, 9.0, 0.0, **keyed)) is None
    found = both.store.by_key("ann", "k")
    assert found is not None
    assert (found.id, found.state) == ("a", "receiving")
    assert both.store.create(NewJob("c", "bob", "low", 2, 9.0, 0.0, **keyed)) is not None
    both.store.discard("a")
    assert both.store.create(NewJob("d", "ann", "low", 2, 9.0, 0.0, **keyed)) is not None


def test_cleaning_takes_the_old_the_surplus_and_the_abandoned(both: Both) -> None:
    for i in range(4):
        both.submit(f"e{i}", 1)
        both.store.cancel(f"e{i}", 10.0 + i)
    both.submit("open", 1)
    both.store.create(NewJob("half", "", "low", 2, 9.0, 0.0))
    gone = both.store.clean(ended_before_s=10.5, received_before_s=1.0, keep=2)
    assert gone == 3
    left = {job for job in ("e0", "e1", "e2", "e3", "open") if both.store.job(job, "")}
    assert left == {"e2", "e3", "open"}
    with both.engine.connect() as connection:
        owners = {row.job_id for row in connection.execute(select(chunks.c.job_id))}
    assert owners == {"e2", "e3", "open"}


def test_messages_are_due_until_they_are_sent_or_given_up(both: Both) -> None:
    both.submit("a", 1, webhook_url="https://x/")
    assert both.store.due_webhooks(99.0, 9) == []
    both.store.cancel("a", 10.0)
    (due,) = both.store.due_webhooks(10.0, 9)
    assert (due.id, due.webhook_attempts) == ("a", 0)
    both.store.sent_webhook("a", 20.0)
    assert both.store.due_webhooks(19.0, 9) == []
    assert both.store.due_webhooks(20.0, 9)[0].webhook_attempts == 1
    both.store.sent_webhook("a", None)
    assert both.store.due_webhooks(1e9, 9) == []


def test_processes_at_once_lease_each_chunk_once(uri: str) -> None:
    first = Both(uri)
    first.submit("a", 40)
    first.submit("b", 40)
    taken: list[tuple[str, int]] = []

    def work() -> None:
        mine = Both(uri)
        while (lease := mine.lease(1.0)) is not None:
            taken.append((lease.job_id, lease.position))
            assert mine.complete(lease)
        mine.engine.dispose()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(taken) == sorted((job, i) for job in "ab" for i in range(20))
    assert first.job("a").state == first.job("b").state == "completed"
    first.engine.dispose()


def test_a_deleted_job_gives_its_space_back(tmp_path: Path) -> None:
    both = Both(f"sqlite:///{tmp_path}/jobs.db")
    new = NewJob("big", "", "medium", 10, 1_000.0, 0.0)
    both.store.create(new)
    both.store.receive("big", text_parts(["x" * 10_000] * 1_000, 10), any_bytes)
    both.store.start("big", 1_000, lambda backlog: None)

    def size() -> int:
        with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return sum(file.stat().st_size for file in tmp_path.iterdir())

    assert size() > 10_000_000
    both.store.cancel("big", 1.0)
    assert both.store.clean(ended_before_s=2.0, received_before_s=0.0, keep=10) == 1
    assert size() < 200_000
    both.engine.dispose()
