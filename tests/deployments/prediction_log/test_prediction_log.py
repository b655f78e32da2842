"""The prediction log: what is promised survives a kill, what is written can be read."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from front import LIVE, with_front
from jobs_front import jobs_config, until_ended, with_jobs

from configs.schema.app import AppConfig
from configs.schema.prediction_log import PredictionLogConfig
from deployments.prediction_log.log import PredictionLog
from deployments.prediction_log.parquet import SCHEMA, ParquetStore
from deployments.prediction_log.rows import LoggedAnswer, RowWriter, redacted, text_policy
from deployments.prediction_log.write_ahead import Segment, orphans
from deployments.predictions import Outcome, Prediction
from deployments.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[3]

WRITER = Path(__file__).with_name("log_writer.py")
NOON_NS = 1_795_435_200_123_456_000  # 2026-11-23 12:00:00.123456 UTC
OUTCOME = Outcome(
    Prediction(np.array([0.25, 0.75], dtype=np.float32), 5, False),
    cached=False,
    stages_s={"infer": 0.004},
)


class Away(ParquetStore):
    """A bucket that does not answer."""

    def __init__(self) -> None:
        self.tries = 0
        self.back = False
        self.files: dict[str, bytes] = {}

    def write(self, name: str, lines: bytes) -> list[str]:
        self.tries += 1
        if not self.back:
            kinds = (pa.ArrowInvalid("no such scheme"), TypeError("not foreseen"))
            raise kinds[self.tries - 1] if self.tries <= 2 else ConnectionError("away")
        self.files[name] = lines
        return [name]


def answered(prediction_id: str, text: str = "fine", at_ns: int = NOON_NS) -> LoggedAnswer:
    scores = {"NEG": 0.25, "POS": 0.75}
    return LoggedAnswer(at_ns, prediction_id, "http", text, LIVE, OUTCOME, "POS", scores)


def open_test_log(
    folder: Path, store: ParquetStore | None = None, **more: object
) -> tuple[PredictionLog, Metrics]:
    given = {"buffer_dir": str(folder / "buffer"), "uri": str(folder / "lake"), "flush_s": 0.1}
    config = PredictionLogConfig.model_validate(given | more)
    metrics = Metrics()
    rows = RowWriter(config, "1.2.3", "local")
    store = store or ParquetStore(config)
    return PredictionLog(config, rows, store, metrics.prediction_log, retry_s=0.02), metrics


def rows(metrics: Metrics, result: str) -> float:
    return metrics.prediction_log.rows.labels(result)._value.get()  # type: ignore[no-any-return]


def until(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.01)


def table(folder: Path) -> pa.Table:
    return ds.dataset(folder / "lake", format="parquet", partitioning="hive").to_table()


def test_rows_are_read_back_with_the_stable_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, metrics = open_test_log(tmp_path)
    day_ns = 86_400 * 10**9
    log.add(answered("a", "first"))
    log.add(answered("b", "second", NOON_NS + day_ns))
    until(lambda: rows(metrics, "stored") == 2)
    log.close()
    read = table(tmp_path)
    assert [(f.name, f.type) for f in read.schema if f.name in SCHEMA.names] == [
        (f.name, f.type) for f in SCHEMA
    ]
    by_id = {row["prediction_id"]: row for row in read.to_pylist()}
    first = by_id["a"]
    assert first["timestamp"].isoformat() == "2026-11-23T12:00:00.123456+00:00"
    assert (first["date"], first["model"]) == ("2026-11-23", "m")
    assert by_id["b"]["date"] == "2026-11-24"
    (tmp_path / "predictions").symlink_to(tmp_path / "lake")
    monkeypatch.chdir(tmp_path)
    guide = (ROOT / "docs" / "guides" / "prediction-log.md").read_text(encoding="utf-8")
    code = guide.partition("```python\n")[2].partition("```")[0].replace("NEGATIVE", "POS")
    found: dict[str, Any] = {}
    exec(code, found)
    chosen = [row["prediction_id"] for row in found["rows"].to_pylist()]
    assert sorted(chosen) == [name for name, row in by_id.items() if row["label"] == "POS"]
    assert dict(zip(first["labels"], first["scores"], strict=True)) == {"NEG": 0.25, "POS": 0.75}
    assert (first["label"], first["score"], first["inference_time_ms"]) == ("POS", 0.75, 4.0)
    assert (first["model_version"], first["app_version"], first["environment"]) == (
        3,
        "1.2.3",
        "local",
    )
    assert first["text_policy"] == "hash"
    assert "first" not in json.dumps(first["text"])
    assert list((tmp_path / "buffer").iterdir()) == []


def test_the_schema_is_what_it_was() -> None:
    # Columns may be added at the end; none of these may change.
    assert ", ".join(f"{f.name}: {f.type}" for f in SCHEMA) == (
        "timestamp: timestamp[us, tz=UTC], prediction_id: string, source: string, text: string, "
        "text_policy: string, text_length: int32, n_tokens: int32, truncated: bool, "
        "label: string, score: double, labels: list<item: string>, "
        "scores: list<item: double>, inference_time_ms: double, model_name: string, "
        "model_version: int64, model_digest: string, backend: string, cached: bool, "
        "app_version: string, environment: string"
    )


@pytest.mark.parametrize("hour", [False, True])
def test_folders_follow_date_and_model(tmp_path: Path, hour: bool) -> None:
    by = "hour" if hour else "date"
    config = PredictionLogConfig(uri=str(tmp_path), partition_by=by, compression="zstd")
    (path,) = ParquetStore(config).write(
        "part", RowWriter(config, "1", "local").line(answered("a"))
    )
    middle = "date=2026-11-23/hour=12" if hour else "date=2026-11-23"
    assert path == f"{tmp_path}/{middle}/model=m/part.parquet"
    metadata = pa.parquet.read_metadata(path)
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert metadata.num_rows == 1


def test_a_uri_of_another_file_system_is_taken(tmp_path: Path) -> None:
    config = PredictionLogConfig(uri=f"file://{tmp_path}")
    ParquetStore(config).write("part", RowWriter(config, "1", "local").line(answered("a")))
    assert len(list(tmp_path.rglob("part.parquet"))) == 1


def test_a_kill_loses_nothing_that_was_promised_and_repeats_nothing(tmp_path: Path) -> None:
    paths = os.pathsep.join((str(WRITER.parents[3]), str(WRITER.parents[1]), str(WRITER.parent)))
    writer = subprocess.Popen(
        [sys.executable, str(WRITER), str(tmp_path), "200"],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"kept\n"
    held = sorted((tmp_path / "buffer").iterdir())
    # While it lives its files are its own.
    assert list(orphans(tmp_path / "buffer")) == []
    writer.kill()
    writer.wait()
    writer.stdout.close()
    # One was delivered before it was removed, and the last line of another was cut off.
    ParquetStore(PredictionLogConfig(uri=str(tmp_path / "lake"))).write(
        held[0].stem, held[0].read_bytes()
    )
    with held[-1].open("ab") as file:
        file.write(b'{"prediction_id": "torn')
    log, metrics = open_test_log(tmp_path)
    until(lambda: rows(metrics, "stored") == 200)
    log.close()
    assert sorted(table(tmp_path)["prediction_id"].to_pylist()) == sorted(
        f"p-{n}" for n in range(200)
    )
    assert list((tmp_path / "buffer").iterdir()) == []


def test_a_store_that_is_away_is_waited_for(tmp_path: Path) -> None:
    store = Away()
    log, metrics = open_test_log(tmp_path, store)
    for number in range(10):
        log.add(answered(f"p-{number}"))
    until(lambda: store.tries >= 3)
    assert (rows(metrics, "kept"), rows(metrics, "stored")) == (10, 0)
    store.back = True
    until(lambda: rows(metrics, "stored") == 10)
    log.close()
    assert metrics.totals()["sentiment_prediction_log_failures_total"] >= 3


def test_what_is_not_delivered_at_the_end_is_left_to_the_next_start(tmp_path: Path) -> None:
    log, metrics = open_test_log(tmp_path, Away())
    log.add(answered("p"))
    until(lambda: rows(metrics, "kept") == 1)
    log.close()
    after, metrics = open_test_log(tmp_path)
    until(lambda: rows(metrics, "stored") == 1)
    after.close()


def test_a_full_folder_is_waited_for(tmp_path: Path) -> None:
    config = PredictionLogConfig(uri=str(tmp_path / "lake"), max_stored_bytes=65_536)
    line = RowWriter(config, "1", "local").line(answered("a"))
    (old := tmp_path / "lake" / "old.parquet").parent.mkdir()
    store = ParquetStore(config)
    store.write("first", line)
    old.write_bytes(b"x" * 70_000)
    ParquetStore(config.model_copy(update={"max_stored_bytes": 1 << 20})).write("second", line)
    with pytest.raises(OSError, match="max_stored_bytes"):
        ParquetStore(config).write("third", line)
    old.unlink()
    assert store.write("third", line)


def test_a_full_queue_drops_and_counts_and_never_waits(tmp_path: Path) -> None:
    log, metrics = open_test_log(tmp_path, Away(), max_queued_rows=5)
    log.close()  # nobody empties the queue now
    started_s = time.perf_counter()
    for number in range(1_000):
        log.add(answered(f"p-{number}"))
    assert time.perf_counter() - started_s < 0.5
    assert rows(metrics, "dropped") == 995


def test_a_full_disk_budget_drops_and_counts(tmp_path: Path) -> None:
    log, metrics = open_test_log(
        tmp_path, Away(), max_buffer_bytes=65_536, rows_per_file=10, text="plain"
    )
    for number in range(40):
        log.add(answered(f"p-{number}", "x" * 5_000))
        time.sleep(0.005)
    until(lambda: rows(metrics, "kept") + rows(metrics, "dropped") == 40)
    log.close()
    assert rows(metrics, "dropped") > 0
    assert metrics.totals()["sentiment_prediction_log_buffer_bytes"] > 65_536


def test_a_file_is_written_at_its_rows_or_its_age(tmp_path: Path) -> None:
    store = Away()
    store.back = True
    log, _ = open_test_log(tmp_path, store, rows_per_file=3, flush_s=3_600)
    for number in range(3):
        log.add(answered(f"p-{number}"))
    until(lambda: len(store.files) == 1)
    log.add(answered("late"))
    time.sleep(0.15)
    assert len(store.files) == 1
    log.close()
    assert len(store.files) == 2


def test_a_segment_belongs_to_whoever_holds_its_lock(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path, "s")
    segment.append([b"{}\n", b"{}\n"])
    assert Segment.adopt(segment.path) is None
    segment.release()
    adopted = Segment.adopt(segment.path)
    assert adopted is not None
    assert adopted.rows == 2
    adopted.remove()
    assert Segment.adopt(segment.path) is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("write to jane.doe+x@example.co.uk now", "write to <email> now"),
        ("see https://shop.example/o/123456?k=1 please", "see <url> please"),
        ("thanks @jane_99!", "thanks <user>!"),
        ("call +44 20 7946-0958 today", "call <number> today"),
        ("card 4111 1111 1111 1111.", "card <number>."),
        ("10 of 10, 2 years, $1,299", "10 of 10, 2 years, $1,299"),
    ],
)
def test_redaction(text: str, kept: str) -> None:
    assert redacted(text) == kept


def test_text_policies() -> None:
    def policy(**given: Any) -> str | None:
        return text_policy(PredictionLogConfig(**given))("call 0123456789")

    assert policy(text="none") is None
    assert policy(text="plain") == "call 0123456789"
    assert policy(text="redacted") == "call <number>"
    digests = {policy(text="hash"), policy(text="hash", hash_key="k"), policy(hash_key="k" * 99)}
    assert len(digests) == 3
    assert all(digest is not None and len(digest) == 64 for digest in digests)


def test_every_prediction_over_http_is_a_row(tmp_path: Path) -> None:
    settings = {
        "enabled": True,
        "uri": str(tmp_path / "lake"),
        "buffer_dir": str(tmp_path / "buffer"),
        "text": "plain",
    }
    config = AppConfig.model_validate({"cache": {"l2": "none"}, "prediction_log": settings})
    ids = []

    async def body(client: Any) -> None:
        one = await client.post("/api/v1/predict", json={"text": " alone "})
        two = await client.post("/api/v1/predict/batch", json={"texts": ["x", "", "y"]})
        ids.append(one.json()["prediction_id"])
        ids.extend(
            r["prediction"]["prediction_id"] for r in two.json()["results"] if r["prediction"]
        )

    with_front(config, body)
    read = table(tmp_path)
    assert sorted(read["prediction_id"].to_pylist()) == sorted(ids)
    assert sorted(read["text"].to_pylist()) == ["alone", "x", "y"]
    assert set(read["environment"].to_pylist()) == {"local"}


def test_every_prediction_of_a_job_is_a_row(tmp_path: Path) -> None:
    settings = {
        "enabled": True,
        "uri": str(tmp_path / "lake"),
        "buffer_dir": str(tmp_path / "buffer"),
        "text": "plain",
    }
    ids = []

    async def body(client: Any, _: Any) -> None:
        job = (await client.post("/predict", json={"texts": ["x", " ", "y"]})).json()["job_id"]
        await until_ended(client, job)
        results = (await client.get(f"/results/{job}")).json()["results"]
        ids.extend(r["prediction"]["prediction_id"] for r in results if r["prediction"])

    with_jobs(jobs_config(tmp_path, prediction_log=settings), body)
    read = table(tmp_path)
    assert sorted(read["prediction_id"].to_pylist()) == sorted(ids)
    assert sorted(read["text"].to_pylist()) == ["x", "y"]
    assert set(read["source"].to_pylist()) == {"job"}
