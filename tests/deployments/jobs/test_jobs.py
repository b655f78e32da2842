"""Batch jobs over HTTP: the real ingress, relay, routes, database and runner."""

import asyncio
import csv
import io
import json
import random
import sqlite3
from collections.abc import AsyncIterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from front import LocalHandle, Stages, no_stages, with_front
from jobs_front import jobs_config, jobs_front, make_replica, until, until_ended, with_jobs
from sqlalchemy import Pool, event
from sqlalchemy.exc import OperationalError

from configs.schema.api_keys import new_key, write_keys
from deployments.clients.backoff import Backoff
from deployments.errors import NotReady
from deployments.jobs.deployment import Jobs
from deployments.jobs.input_files import text_parts
from deployments.jobs.records import NewJob
from deployments.jobs.replica import JobsReplica
from deployments.payloads import ModelAnswer, TextBatch
from deployments.serve_options import EngineShare


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error_code"]


async def submit(client: httpx.AsyncClient, texts: list[str], **more: Any) -> dict[str, Any]:
    answer = await client.post("/predict", json={"texts": texts, **more})
    assert answer.status_code == 202, answer.text
    accepted: dict[str, Any] = answer.json()
    return accepted


def test_a_job_from_submission_to_its_last_page(tmp_path: Path) -> None:
    texts = [f"text {i}" for i in range(25)]
    texts[3], texts[7] = " ", "x" * 60

    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        accepted = await submit(client, texts, priority="high")
        assert (accepted["total_texts"], accepted["priority"]) == (25, "high")
        status = await until_ended(client, accepted["job_id"])
        assert (status["status"], status["progress_percentage"]) == ("completed", 100.0)
        created, started, ended = (
            datetime.fromisoformat(status[key])
            for key in ("created_at", "started_at", "completed_at")
        )
        assert created.tzinfo is not None
        assert created <= started <= ended
        assert (status["processed_texts"], status["failed_texts"]) == (25, 2)
        assert status["estimated_completion_seconds"] == 0
        found: list[dict[str, Any]] = []
        for page in (1, 2, 3):
            one = await client.get(
                f"/results/{accepted['job_id']}", params={"page": page, "page_size": 11}
            )
            found += one.json()["results"]
            assert one.json()["has_more"] is (page < 3)
        assert [item["index"] for item in found] == list(range(25))
        codes = {i: item["error"]["error_code"] for i, item in enumerate(found) if item["error"]}
        assert codes == {3: "E1003", 7: "E1002"}
        assert found[7]["error"]["error_message"] == "the text has more than 50 characters"
        assert found[0]["model_version"] == 3
        assert [f["prediction"]["text_length"] for f in found[:2]] == [6, 6]
        past = await client.get(f"/results/{accepted['job_id']}", params={"page": 9})
        assert past.json()["results"] == []
        assert past.json()["summary"]["success_rate"] == 23 / 25
        figures = (await client.get("/metrics")).json()
        assert (figures["completed_jobs"], figures["average_batch_size"]) == (1, 25)

    limits = {"max_text_chars": 50}
    with_jobs(jobs_config(tmp_path, jobs={"chunk_texts": 4}, limits=limits), body)


def test_unknown_jobs_and_wrong_bodies(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        for path in ("/status/nope", "/results/nope", "/results/nope/file"):
            assert code(await client.get(path)) == (404, "E7001")
        assert code(await client.delete("/jobs/nope")) == (404, "E7001")
        for wrong in ({"texts": []}, {"texts": ["a"], "priority": "urgent"}, {"texts": [1]}, []):
            assert code(await client.post("/predict", json=wrong)) == (422, "E1001")
        many = {"texts": ["a"] * 6}
        assert code(await client.post("/predict", json=many)) == (422, "E1005")
        half = await client.post("/predict", content=rb'{"texts": ["\ud800x"]}')
        assert code(half) == (422, "E1001")
        late = {"texts": ["a"], "timeout_seconds": 21}
        assert code(await client.post("/predict", json=late)) == (422, "E1001")
        hook = {"texts": ["a"], "webhook_url": "https://elsewhere.example/"}
        assert code(await client.post("/predict", json=hook)) == (422, "E7003")
        assert (await client.get("/queue/status")).json()["queues"]["total"] == 0

    settings = {"max_texts": 5, "default_timeout_s": 15, "max_timeout_s": 20}
    with_jobs(jobs_config(tmp_path, jobs=settings), body)


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    def grow_no_more(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")

    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        await submit(client, ["a"])
        event.listen(Pool, "checkout", grow_no_more)
        try:
            full = await client.post("/predict", json={"texts": [random.randbytes(50_000).hex()]})
        finally:
            event.remove(Pool, "checkout", grow_no_more)
        assert code(full) == (503, "E2001")
        assert full.json()["error_message"] == "the disk of the jobs' database is full"

    with_jobs(jobs_config(tmp_path, limits={"max_text_chars": 200_000}), body)


def test_jobs_that_are_off_say_so(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        assert code(await client.get("/api/v1/batch/queue/status")) == (503, "E4006")

    with_front(jobs_config(tmp_path, jobs={"enabled": False}), body)


@pytest.mark.parametrize(
    "limit", [{"max_jobs": 2}, {"max_low": 2}, {"max_medium": 2}, {"max_queued_texts": 3}]
)
def test_a_full_queue_refuses_and_keeps_what_it_has(tmp_path: Path, limit: dict[str, int]) -> None:
    priority = "low" if "max_low" in limit else "medium"

    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        for _i in range(2):
            await submit(client, ["a"], priority=priority)
        asked = {"texts": ["a", "b"], "priority": priority}
        full = await client.post("/predict", json=asked)
        assert code(full) == (429, "E4005")
        assert int(full.headers["retry-after"]) > 0
        queues = (await client.get("/queue/status")).json()["queues"]
        assert (queues["total"], queues[f"{priority}_priority_texts"]) == (2, 2)
        other = {"texts": ["a"], "priority": "high"}
        if "max_jobs" not in limit:
            assert (await client.post("/predict", json=other)).status_code == 202

    with_jobs(jobs_config(tmp_path, jobs=limit), body, start=False)


def test_high_has_a_limit_of_its_own(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        await submit(client, ["a"], priority="high")
        more = {"texts": ["a"], "priority": "high"}
        assert code(await client.post("/predict", json=more)) == (429, "E4005")

    with_jobs(jobs_config(tmp_path, jobs={"max_high": 1}), body, start=False)


def test_the_same_key_is_the_same_job(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        key = {"Idempotency-Key": "k-1"}
        first = await client.post("/predict", json={"texts": ["a"]}, headers=key)
        again = await client.post("/predict", json={"texts": ["a"]}, headers=key)
        assert (first.status_code, again.status_code) == (202, 200)
        assert first.json()["job_id"] == again.json()["job_id"]
        other = await client.post("/predict", json={"texts": ["b"]}, headers=key)
        assert code(other) == (422, "E7003")
        at_once = [
            client.post("/predict", json={"texts": ["c"]}, headers={"Idempotency-Key": "k-2"})
            for _ in range(5)
        ]
        answers = [answer for answer in await asyncio.gather(*at_once) if answer.is_success]
        assert len({answer.json()["job_id"] for answer in answers}) == 1
        assert (await client.get("/metrics")).json()["total_jobs"] == 2

    with_jobs(jobs_config(tmp_path), body, start=False)


def test_a_running_job_is_cancelled_and_keeps_what_it_has(tmp_path: Path) -> None:
    stages = Stages(delay_s=0.05)

    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        job_id = (await submit(client, [f"{i}" for i in range(400)]))["job_id"]
        assert code(await client.get(f"/results/{job_id}/file")) == (409, "E7004")

        async def some_are_there() -> bool:
            return (await client.get(f"/results/{job_id}")).status_code == 200

        await until(some_are_there)
        assert (await client.delete(f"/jobs/{job_id}")).json()["status"] == "cancelled"
        assert code(await client.delete(f"/jobs/{job_id}")) == (409, "E7002")
        await asyncio.sleep(0.1)
        asked = sum(stages.sizes)
        await asyncio.sleep(0.3)
        assert sum(stages.sizes) == asked < 400
        status = (await client.get(f"/status/{job_id}")).json()
        assert status["status"] == "cancelled"
        page = (await client.get(f"/results/{job_id}", params={"page_size": 1000})).json()
        assert 0 < page["total_results"] == len(page["results"]) < 400

    with_jobs(jobs_config(tmp_path, jobs={"chunk_texts": 10}), body, stages)


def test_a_job_expires_only_while_work_is_left(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, replica: JobsReplica) -> None:
        quick = (await submit(client, ["quick"], priority="high"))["job_id"]
        await until_ended(client, quick)
        slow = (await submit(client, ["slow"]))["job_id"]
        patient = (await submit(client, ["slow too"], timeout_seconds=100))["job_id"]
        late = replica._worker._clock() + 21
        replica._worker._clock = lambda: late  # type: ignore[method-assign]
        replica._worker.wake()
        status = await until_ended(client, slow)
        assert (status["status"], status["error"]) == ("expired", "the job's time was over")
        left = (await client.get(f"/status/{patient}")).json()["status"]
        assert left in ("pending", "processing")
        assert (await client.get(f"/status/{quick}")).json()["status"] == "completed"

    stages = Stages()

    async def slow(batch: TextBatch) -> ModelAnswer:
        await asyncio.sleep(60 if "slow" in batch.texts[0] else 0)
        return await Stages.classify(stages, batch)

    stages.classify = slow  # type: ignore[method-assign]
    settings = {"chunks_in_flight": 3, "default_timeout_s": 20}
    with_jobs(jobs_config(tmp_path, jobs=settings), body, stages)


@pytest.mark.parametrize("count", [1, 3])
def test_no_more_chunks_are_under_way_than_allowed(tmp_path: Path, count: int) -> None:
    async def body(client: httpx.AsyncClient, replica: JobsReplica) -> None:
        await submit(client, list("abcdefgh"))

        async def holds() -> bool:
            return len(replica._worker._held) == count

        await until(holds)
        await asyncio.sleep(0.2)
        assert await holds()

    settings = {"chunks_in_flight": count, "chunk_texts": 2}
    with_jobs(jobs_config(tmp_path, jobs=settings), body, Stages(delay_s=30))


async def until_gone(client: httpx.AsyncClient, job_id: str) -> None:
    async def gone() -> bool:
        return (await client.get(f"/status/{job_id}")).status_code == 404

    await until(gone)


def test_ended_jobs_are_deleted_when_their_time_is_over(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        job_id = (await submit(client, ["a"]))["job_id"]
        assert (await until_ended(client, job_id))["status"] == "completed"
        await until_gone(client, job_id)

    settings = {"cleanup_interval_s": 0.1, "result_ttl_s": 1}
    with_jobs(jobs_config(tmp_path, jobs=settings), body)


def test_ended_jobs_are_deleted_when_there_are_too_many(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        jobs = [(await submit(client, [text]))["job_id"] for text in "ab"]
        # The first may be deleted as soon as the second has ended.
        await until_ended(client, jobs[1])
        await until_gone(client, jobs[0])
        assert (await client.get(f"/status/{jobs[1]}")).status_code == 200

    settings = {"cleanup_interval_s": 0.1, "max_ended": 1, "chunks_in_flight": 1}
    with_jobs(jobs_config(tmp_path, jobs=settings), body)


def test_a_killed_replica_is_taken_over_and_its_late_result_is_refused(tmp_path: Path) -> None:
    config = jobs_config(tmp_path, jobs={"chunk_texts": 5, "lease_s": 0.5})
    texts = [f"text {i}" for i in range(20)]

    async def run() -> None:
        hangs = Stages(delay_s=30)
        dead = make_replica(config, hangs)
        async with jobs_front(config, start=False) as (client, alive):
            job_id = (await submit(client, texts))["job_id"]
            dead.start()

            async def holds_two() -> bool:
                return len(dead._worker._held) == 2

            await until(holds_two)
            held = list(dead._worker._held.values())
            await dead.stop()
            alive.start()
            status = await until_ended(client, job_id)
            assert (status["status"], status["processed_texts"]) == ("completed", 20)
            assert status["retried_texts"] == 10
            item = {"index": 0, "prediction": None, "error": None}
            assert not dead._worker._leases.complete(held[0], [item] * 5, 0.0)
            page = (await client.get(f"/results/{job_id}")).json()
            assert [item["index"] for item in page["results"]] == list(range(20))
            assert all(item["prediction"] for item in page["results"])

    asyncio.run(asyncio.wait_for(run(), 20))


def test_what_the_model_cannot_answer_is_tried_again_and_then_gets_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.jobs.worker._MODEL_BACKOFF", Backoff(10, 10))
    stages = Stages()
    tries = 0

    async def classify(batch: TextBatch) -> ModelAnswer:
        nonlocal tries
        tries += 1
        if tries < 3 or "poison" in batch.texts:
            raise RuntimeError("the engine failed")
        return await Stages.classify(stages, batch)

    stages.classify = classify  # type: ignore[method-assign]

    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        good = (await submit(client, ["good"]))["job_id"]
        assert (await until_ended(client, good))["status"] == "completed"
        bad = (await submit(client, ["poison"]))["job_id"]
        status = await until_ended(client, bad)
        assert (status["status"], status["failed_texts"]) == ("failed", 1)
        (item,) = (await client.get(f"/results/{bad}")).json()["results"]
        assert item["error"]["error_code"] == "E2002"
        assert tries == 3 + 4

    with_jobs(jobs_config(tmp_path, jobs={"max_attempts": 4}), body, stages)


def test_a_database_that_is_away_for_a_moment_costs_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.jobs.worker._STORE_BACKOFF", Backoff(10, 10))

    async def body(client: httpx.AsyncClient, replica: JobsReplica) -> None:
        leases = replica._worker._leases
        complete, calls = leases.complete, iter([True, True, False])

        def away(*given: Any) -> bool:
            if next(calls):
                raise OperationalError("", {}, Exception())
            return complete(*given)

        monkeypatch.setattr(leases, "complete", away)
        status = await until_ended(client, (await submit(client, ["a"]))["job_id"])
        assert (status["status"], status["retried_texts"]) == ("completed", 0)

    stages = Stages()
    with_jobs(jobs_config(tmp_path), body, stages)
    assert stages.sizes == [1]


def test_a_database_that_is_away_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(client: httpx.AsyncClient, replica: JobsReplica) -> None:
        job_id = (await submit(client, ["a"]))["job_id"]

        def away(*_: Any) -> Any:
            raise OperationalError("", {}, Exception())

        key = {"Idempotency-Key": "k"}
        submission = partial(client.post, "/predict", json={"texts": ["b"]}, headers=key)
        for name, asks in {
            "job": [
                partial(client.get, f"/status/{job_id}"),
                partial(client.delete, f"/jobs/{job_id}"),
            ],
            "backlog": [submission],
            "counts": [partial(client.get, "/metrics")],
            "receive": [submission],
        }.items():
            with monkeypatch.context() as patch:
                patch.setattr(replica._store, name, away)
                for ask in asks:
                    answer = await ask()
                    assert code(answer) == (503, "E2001")
                    assert answer.headers["retry-after"] == "2"
        assert (await submission()).status_code == 202

    with_jobs(jobs_config(tmp_path), body, start=False)


def test_a_key_whose_job_was_never_whole_is_free_again(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, replica: JobsReplica) -> None:
        # What a process leaves that is killed between two transactions.
        new = NewJob("a" * 32, "", "low", 2, 1e12, 0.0, idempotency_key="k", digest="d")
        replica._store.create(new)
        replica._store.receive(new.id, text_parts(["half"], 2), lambda *_: None)
        key = {"Idempotency-Key": "k"}
        answer = await client.post("/predict", json={"texts": ["half", "whole"]}, headers=key)
        assert (answer.status_code, answer.json()["total_texts"]) == (202, 2)
        assert (await client.get("/metrics")).json()["total_jobs"] == 1

    with_jobs(jobs_config(tmp_path), body, start=False)


def test_a_known_key_is_answered_where_there_is_no_room(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        key = {"Idempotency-Key": "k"}
        first = await client.post("/predict", json={"texts": ["a"]}, headers=key)
        again = await client.post("/predict", json={"texts": ["a"]}, headers=key)
        assert (again.status_code, again.json()["job_id"]) == (200, first.json()["job_id"])
        assert code(await client.post("/predict", json={"texts": ["b"]})) == (429, "E4005")

    with_jobs(jobs_config(tmp_path, jobs={"max_jobs": 1}), body, start=False)


def test_a_chunk_whose_process_always_dies_is_given_up(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, replica: JobsReplica) -> None:
        job_id = (await submit(client, ["a", "b"]))["job_id"]
        leases = replica._worker._leases
        for _ in range(2):
            assert leases.lease(lambda jobs: jobs[0], replica._worker._clock(), -1.0)
        replica.start()
        status = await until_ended(client, job_id)
        assert (status["status"], status["retried_texts"]) == ("failed", 4)
        items = (await client.get(f"/results/{job_id}")).json()["results"]
        assert [item["error"]["error_code"] for item in items] == ["E2002", "E2002"]

    with_jobs(jobs_config(tmp_path, jobs={"max_attempts": 2}), body, start=False)


FILE_TEXTS = ["plain", 'quoted "x", with\nnewline', "=1+1", "ünïcode", ""]


def files() -> dict[str, bytes]:
    lines = io.StringIO()
    csv.writer(lines).writerows([["id", "text"], *enumerate(FILE_TEXTS)])
    table = pa.table({"id": list(range(5)), "text": FILE_TEXTS})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    rows = [json.dumps({"id": i, "text": text}) for i, text in enumerate(FILE_TEXTS)]
    return {
        "a.csv": lines.getvalue().encode(),
        "a.jsonl": "\n".join([*rows, "{broken"]).encode(),
        "a.parquet": sink.getvalue(),
    }


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_file_goes_in_and_comes_out(tmp_path: Path, name: str) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        content = files()[name]
        form = {"priority": "low", "timeout_seconds": "60"}
        answer = await client.post("/files", files={"file": (name, content)}, data=form)
        assert answer.status_code == 202, answer.text
        job_id = answer.json()["job_id"]
        await until_ended(client, job_id)
        rows = {}
        for kind in ("csv", "jsonl", "parquet"):
            out = await client.get(f"/results/{job_id}/file", params={"format": kind})
            assert out.headers["content-disposition"] == f"attachment; filename={job_id}.{kind}"
            rows[kind] = read(kind, out.content)
            assert [row.get("text") or "" for row in rows[kind]][:5] == FILE_TEXTS
            assert [row["label"] for row in rows[kind]][:4] == ["POS"] * 4
            assert rows[kind][4]["error_code"] == "E1003"
        if name == "a.jsonl":
            assert rows["jsonl"][5]["error_code"] == "E1001"

    with_jobs(jobs_config(tmp_path, jobs={"chunk_texts": 2}), body)


def test_formulas_are_guarded_where_that_is_asked_for(tmp_path: Path) -> None:
    texts = ["=1+1", "@sum", "-2", "\u002b3", "\tx", "good = bad", "\uff1dx"]

    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        job_id = (await submit(client, texts))["job_id"]
        await until_ended(client, job_id)
        for kind, guarded, marked in [("csv", True, 6), ("csv", False, 0), ("jsonl", True, 0)]:
            asked = {"format": kind, "guarded": guarded}
            out = await client.get(f"/results/{job_id}/file", params=asked)
            found = [row["text"] for row in read(kind, out.content)]
            assert [text.removeprefix("'") for text in found] == texts
            assert sum(text.startswith("'") for text in found) == marked

    with_jobs(jobs_config(tmp_path), body)


def read(kind: str, content: bytes) -> list[dict[str, Any]]:
    if kind == "csv":
        return list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    if kind == "jsonl":
        return [json.loads(line) for line in content.splitlines()]
    found: list[dict[str, Any]] = pq.read_table(io.BytesIO(content)).to_pylist()
    return found


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("a.doc", b"text\nx", 422),
        ("a.csv", b"other\nx", 422),
        ("a.csv", b'text\n"never closed', 422),
        ("a.csv", b"text\n\xff\xfe", 422),
        ("a.csv", b"text\n", 422),
        ("a.parquet", b"PAR1 no parquet PAR1", 422),
        ("a.jsonl", b"x" * 200_000, 422),
        ("a.csv", b"text\n" + b"x" * 400_000, 413),
    ],
)
def test_files_that_are_refused_leave_nothing(
    tmp_path: Path, name: str, content: bytes, status: int
) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        answer = await client.post("/files", files={"file": (name, content)})
        assert answer.status_code == status, answer.text
        assert (await client.get("/metrics")).json()["total_jobs"] == 0

    with_jobs(jobs_config(tmp_path, jobs={"max_upload_bytes": 300_000}), body, start=False)


def test_a_column_with_a_nul_is_refused(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        form = {"text_column": "te\0xt"}
        answer = await client.post("/files", files={"file": ("a.parquet", b"x")}, data=form)
        assert code(answer) == (422, "E1001")

    with_jobs(jobs_config(tmp_path), body, start=False)


def test_an_unforeseen_error_is_answered_once_and_ends_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(client: httpx.AsyncClient, replica: JobsReplica) -> None:
        def broken(*_: Any) -> Any:
            raise ZeroDivisionError("a secret")

        monkeypatch.setattr(replica._store, "counts", broken)
        ended: list[int] = []
        serve = replica.call

        async def call(call: Any) -> AsyncIterator[Any]:
            async for part in serve(call):
                yield part
            ended.append(1)  # not reached where the application raises past its answer

        monkeypatch.setattr(replica, "call", call)
        answer = await client.get("/metrics")
        assert code(answer) == (500, "E4001")
        assert "secret" not in answer.text
        assert ended == [1]
        assert "ZeroDivisionError" in caplog.text

    with_jobs(jobs_config(tmp_path), body, start=False)


def varint(value: int, size: int = 0) -> bytes:
    """A number as Thrift writes it, with as many bytes as are wanted."""
    left, found = value << 1, bytearray()
    while left >= 0x80 or len(found) + 1 < size:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*found, left])


def parquet(texts: list[str], says: int | None = None, **options: Any) -> bytes:
    """A file without a dictionary; its footer says that a row group unpacks to ``says`` bytes."""
    sink = io.BytesIO()
    pq.write_table(
        pa.table({"text": texts}), sink, use_dictionary=False, compression="zstd", **options
    )
    content = sink.getvalue()
    if says is None:
        return content
    group = pq.read_metadata(io.BytesIO(content)).row_group(0)
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    told = content[footer:]
    for size in (group.total_byte_size, group.column(0).total_uncompressed_size):
        told = told.replace(varint(size), varint(says, len(varint(size))))
    return content[:footer] + told


@pytest.mark.parametrize("kind", ["lies", "repeats", "endless footer"])
def test_a_parquet_file_that_unpacks_to_anything_kills_its_reader_alone(
    tmp_path: Path, kind: str
) -> None:
    if kind == "repeats":
        # What is the same in the text before takes a few bytes, and says so.
        texts = ["x" * 100_000 + str(i) for i in range(1_000)]
        content = parquet(texts, column_encoding="DELTA_BYTE_ARRAY")
    else:
        content = parquet(["x" * 100_000_000], says=1_000)
    if kind == "endless footer":
        content = content[:-8] + b"\xff\xff\xff\x7fPAR1"
    assert len(content) < 300_000

    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        answer = await client.post("/files", files={"file": ("a.parquet", content)})
        assert code(answer) == (422, "E7003")
        told = "no Parquet" if kind == "endless footer" else "memory and time"
        assert told in answer.json()["error_message"]
        assert (await client.get("/metrics")).json()["total_jobs"] == 0

    with_jobs(jobs_config(tmp_path, jobs={"max_upload_bytes": 300_000}), body, start=False)


def test_a_small_file_of_many_large_texts_is_refused_by_their_bytes(tmp_path: Path) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["x" * 9_000] * 90_000}), sink)
    assert len(sink.getvalue()) < 10_000  # one dictionary entry

    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        files = {"file": ("a.parquet", sink.getvalue())}
        refused = await client.post("/files", files=files)
        assert code(refused) == (422, "E1005")
        assert refused.json()["context"] == {"max_job_bytes": 1_000_000}
        assert (await client.get("/metrics")).json()["total_jobs"] == 0

    settings = {"max_job_bytes": 1_000_000}
    with_jobs(jobs_config(tmp_path, jobs=settings), body, start=False)


def test_the_bytes_of_all_jobs_are_bounded(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        job_id = (await submit(client, ["x" * 600]))["job_id"]
        full = await client.post("/predict", json={"texts": ["y" * 600]})
        assert code(full) == (429, "E4005")
        await client.delete(f"/jobs/{job_id}")
        await until_gone(client, job_id)
        await submit(client, ["y" * 600])

    settings = {"max_job_bytes": 1_024, "max_stored_bytes": 1_024}
    ends = {"cleanup_interval_s": 0.1, "result_ttl_s": 1}
    with_jobs(jobs_config(tmp_path, jobs={**settings, **ends}), body, Stages(delay_s=30))


def test_space_that_is_used_up_is_free_when_a_result_has_had_its_time(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        await until_ended(client, (await submit(client, ["x" * 600]))["job_id"])
        full = await client.post("/predict", json={"texts": ["y" * 600]})
        assert code(full) == (429, "E4005")
        assert 500 < int(full.headers["retry-after"]) <= 601
        assert f"try again in {full.headers['retry-after']} s" in full.json()["error_message"]

    settings = {"max_job_bytes": 1_024, "max_stored_bytes": 1_024}
    ends = {"cleanup_interval_s": 1, "result_ttl_s": 600}
    with_jobs(jobs_config(tmp_path, jobs={**settings, **ends}), body)


def test_callers_see_their_own_jobs(tmp_path: Path) -> None:
    keys = {who: new_key(who, ["predict"]) for who in ("ann", "bob")}
    access = {"required": True, "api_keys": write_keys([kept for _, kept in keys.values()])}

    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        ann, bob = ({"X-API-Key": key} for key, _ in keys.values())
        assert code(await client.post("/predict", json={"texts": ["a"]})) == (401, "E3002")
        made = await client.post("/predict", json={"texts": ["a"]}, headers=ann)
        path = f"/status/{made.json()['job_id']}"
        assert (await client.get(path, headers=ann)).status_code == 200
        assert code(await client.get(path, headers=bob | {"X-Actor": "ann"})) == (404, "E7001")

    with_jobs(jobs_config(tmp_path, access=access), body, start=False)


@pytest.mark.parametrize(("share", "taken"), [(0.5, 2), (0.75, 3)])
@pytest.mark.parametrize(
    ("jobs", "texts"),
    [
        ({"max_jobs": 4}, ["a"]),
        ({"max_medium": 4}, ["a"]),
        ({"max_queued_texts": 8}, ["a", "b"]),
        ({"max_job_bytes": 1_024, "max_stored_bytes": 4_096}, ["x" * 900]),
    ],
)
def test_one_caller_cannot_take_all_the_room(
    jobs: dict[str, int], texts: list[str], share: float, taken: int, tmp_path: Path
) -> None:
    keys = {who: new_key(who, ["predict"]) for who in ("ann", "bob")}
    access = {"required": True, "api_keys": write_keys([kept for _, kept in keys.values()])}

    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        async def asks(who: str, times: int) -> list[int]:
            header, made = {"X-API-Key": keys[who][0]}, {"texts": texts}
            asked = [client.post("/predict", json=made, headers=header) for _ in range(times)]
            return [(await each).status_code for each in asked]

        # Of four that fit.
        assert await asks("ann", 4) == [202] * taken + [429] * (4 - taken)
        left = 4 - taken
        assert await asks("bob", 2) == [202] * left + [429] * (2 - left)

    settings = {**jobs, "max_caller_share": share}
    with_jobs(jobs_config(tmp_path, access=access, jobs=settings), body, start=False)


def test_the_deployment_ends_its_work_when_serve_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        replica = Jobs.__new__(Jobs)
        assert replica.__del__() is None  # one that was never made
        handle: Any = LocalHandle(Stages())
        await replica.__init__(  # type: ignore[misc]
            jobs_config(tmp_path), EngineShare(1, 1.0), tokenizer=handle, registry=handle
        )
        await replica.check_health()
        stopping = replica.__del__()
        assert stopping is not None
        await stopping
        assert replica.__del__() is None
        with pytest.raises(NotReady):
            await replica.check_health()

    # There are no sockets to open here.
    monkeypatch.setattr("deployments.jobs.deployment.open_stages", no_stages)
    asyncio.run(body())
