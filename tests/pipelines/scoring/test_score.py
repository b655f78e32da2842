"""`sentigraph score`: parts, order, errors beside rows, resume; one test on a real Ray."""

import argparse
import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.load import load_config
from configs.schema.app import BatchingConfig, ModelConfig
from pipelines.errors import ScoreError
from pipelines.scoring import plan as plans
from pipelines.scoring import score
from pipelines.scoring.output import Columns, encode, merge
from pipelines.scoring.partitions import Kind, cut
from pipelines.scoring.rows import read_rows
from pipelines.scoring.scorer import Scorer, Task
from pipelines.scoring.source import open_source
from pipelines.scoring.storage import Location
from registry.bundles.bundle import open_bundle

ROOT = Path(__file__).parents[3]
BUNDLE = ROOT / "models" / "sentiment"
FACTS = {"model_name": "m", "model_version": 3}
FIELDS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)


def write(path: Path, kind: Kind, texts: list[Any]) -> None:
    if kind == "csv":
        with path.open("w", newline="", encoding="utf-8") as stream:
            rows = csv.writer(stream)
            rows.writerows([["id", "text"], *enumerate(texts)])
    elif kind == "jsonl":
        lines = [orjson.dumps({"id": i, "text": text}) + b"\n" for i, text in enumerate(texts)]
        path.write_bytes(b"".join(lines))
    else:
        table = pa.table({"id": list(range(len(texts))), "text": pa.array(texts, pa.string())})
        pq.write_table(table, path, row_group_size=7)


def texts_by_part(path: Path, kind: Kind, part_rows: int) -> list[list[str | None]]:
    place = Location(str(path))
    source = open_source(str(path), "text")
    parts = list(cut(place, source.files, kind, part_rows))
    assert [part.number for part in parts] == list(range(len(parts)))
    return [read_rows(place, part, kind, source.schema, "text").texts for part in parts]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@settings(max_examples=40, deadline=None)
@given(texts=st.lists(FIELDS, min_size=1, max_size=40), part_rows=st.integers(1, 9))
def test_parts_are_all_rows_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, kind: Kind, texts: list[str], part_rows: int
) -> None:
    path = tmp_path_factory.mktemp("parts") / f"in.{kind}"
    write(path, kind, texts)
    parts = texts_by_part(path, kind, part_rows)
    assert [text for part in parts for text in part] == texts
    most = 7 if kind == "parquet" else part_rows
    assert all(0 < len(part) <= min(part_rows, most) for part in parts)


def test_cuts_do_not_depend_on_how_the_bytes_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.csv"
    write(path, "csv", ['a "quoted"\nline', "ünï\n\n", "plain", 'x","y'] * 9)
    whole = texts_by_part(path, "csv", 5)
    for size in (1, 2, 3, 17):
        monkeypatch.setattr("pipelines.scoring.partitions._BLOCK_BYTES", size)
        assert texts_by_part(path, "csv", 5) == whole


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (b"text,n\na,1\nb\nc,3,4\nd,4", ["a", None, None, "d"]),
        (b"\xef\xbb\xbftext,n\r\na,1\r\n\xff,2\r\n", ["a", None]),
        (b'"te\nxt",text\n1,a\n', ["a"]),
        (b"text\n", []),
    ],
)
def test_rows_of_csv_that_are_wrong_have_no_text(
    tmp_path: Path, content: bytes, texts: list[str | None]
) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(content)
    assert [text for part in texts_by_part(path, "csv", 2) for text in part] == texts


def test_lines_that_are_no_json_objects_have_no_text(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"text": "a"}\n\n[1]\n{"text": 3}\nbroken\n{"text": "b"}')
    parts = texts_by_part(path, "jsonl", 2)
    assert [text for part in parts for text in part] == ["a", None, None, None, "b"]


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", b'text\n"a'), ("a.csv", b""), ("a.parquet", b"x")]
)
def test_files_that_cannot_be_read_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    kind: Kind = "parquet" if name.endswith("parquet") else "csv"
    with pytest.raises(ScoreError, match=name):
        texts_by_part(path, kind, 2)


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    """The actor's class in this process, with the bundled model."""
    made = Scorer.__new__(Scorer)
    folder = tmp_path_factory.mktemp("scorer")
    source = folder / "in.csv"
    write(source, "csv", ["good", "", "x" * 60, "bad"])
    bundle = open_bundle(BUNDLE)
    task = Task(
        source=str(source),
        kind="csv",
        schema=pa.schema([("id", pa.string()), ("text", pa.string())]),
        column="text",
        parts=str(folder / "parts"),
        written="csv",
        heads=False,
        prefix="p_",
        facts=FACTS,
        max_text_chars=50,
        batching=BatchingConfig(),
        model=ModelConfig(surface_budget_ms=0),
    )
    Location(task.parts).make_folder()
    kept, ray.get = ray.get, lambda content: content
    try:
        files = {n: (BUNDLE / n).read_bytes() for n in (*bundle.files, "bundle.json")}
        made.__init__(task, bundle.digest, files)  # type: ignore[misc]
    finally:
        ray.get = kept
    return made


def test_errors_stand_beside_their_rows(scorer: Scorer) -> None:
    found = scorer.score(["a wonderful day", None, " ", "x" * 51, "an awful mess"])
    assert [row.get("label") for row in found] == ["POSITIVE", None, None, None, "NEGATIVE"]
    assert [row.get("error_code") for row in found] == [None, "E1001", "E1003", "E1002", None]
    assert found[0]["score"] == found[0]["score_POSITIVE"]
    assert scorer.score([]) == []


def test_an_actor_writes_a_part_that_says_what_is_in_it(scorer: Scorer) -> None:
    task = scorer._task
    place = Location(task.source)
    (part,) = cut(place, place.files(), "csv", 9)
    batch = {
        name: pa.array([getattr(part, name)]).to_numpy(zero_copy_only=False)
        for name in part.__dataclass_fields__
    }
    assert scorer(batch)["rows"].tolist() == [4]
    done = plans.finished(Location(task.parts))
    assert done == {0: ("part-000000-4-2.csv", 4, 2)}
    lines = (Path(task.parts) / done[0][0]).read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["0", "1", "2", "3"]


PREDICTIONS: list[dict[str, object]] = [
    {
        "label": "A",
        "score": 0.75,
        "score_A": 0.75,
        "score_B": 0.25,
        "n_tokens": 3,
        "truncated": False,
    },
    {"error_code": "E1003", "error_message": "empty"},
]


@pytest.mark.parametrize("written", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_input_comes_out_as_every_output(tmp_path: Path, kind: Kind, written: Kind) -> None:
    source, target = tmp_path / f"in.{kind}", Location(str(tmp_path / f"out.{written}"))
    write(source, kind, ['a, "b"\nc', "ü"] * 2)
    place = Location(str(source))
    schema = open_source(str(source), "text").schema
    columns = Columns("p_", ("A", "B"))
    parts = []
    for part in cut(place, place.files(), kind, 2):
        carried = read_rows(place, part, kind, schema, "text").carried
        table = columns.table(PREDICTIONS[: len(carried)])
        parts.append(Location(str(tmp_path / f"part{part.number}")))
        parts[-1].write(encode(carried, table, written, FACTS, heads=False))
    merge(parts, target, written, columns.schema(schema), FACTS)
    rows = read_back(Path(target.path), written)
    assert [row["p_label"] or None for row in rows] == ["A", None] * 2
    assert [row["p_error_code"] or None for row in rows] == [None, "E1003"] * 2
    if kind == "jsonl" and written != "jsonl":
        rows = [json.loads(row["row"]) for row in rows]
    assert [row["text"] for row in rows] == ['a, "b"\nc', "ü"] * 2
    assert [int(row["id"]) for row in rows] == [0, 1, 2, 3]
    if written == "parquet":
        assert json.loads(pq.read_schema(target.path).metadata[b"sentigraph"]) == FACTS


def read_back(path: Path, kind: Kind) -> list[dict[str, Any]]:
    if kind == "csv":
        return list(csv.DictReader(io.StringIO(path.read_text(), newline="")))
    if kind == "jsonl":
        return [json.loads(line) for line in path.read_bytes().splitlines()]
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def arguments(*given: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    score.add_arguments(parser)
    return parser.parse_args([str(item) for item in given])


@pytest.mark.parametrize(
    ("target", "more", "why"),
    [
        ("out.txt", (), "must end in"),
        ("out.csv", ("--format", "jsonl"), "--format"),
        ("out.csv", ("--text-column", "words"), "words"),
        ("there.csv", (), "is there already"),
        ("full/", (), "is there already"),
        ("out.csv", ("--part-rows", 0), "--part-rows"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(
    tmp_path: Path, target: str, more: tuple[object, ...], why: str
) -> None:
    write(tmp_path / "in.csv", "csv", ["a"])
    (tmp_path / "there.csv").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    out = f"{tmp_path}/{target}"
    with pytest.raises(ScoreError, match=why):
        score.main(arguments(tmp_path / "in.csv", out, "--bundle", BUNDLE, *more))


def test_columns_that_are_there_already_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text,label\na,b\n")
    with pytest.raises(ScoreError, match="--prefix"):
        score.main(arguments(tmp_path / "in.csv", tmp_path / "o.csv", "--bundle", BUNDLE))
    # Nothing is left that would refuse the corrected command.
    assert not (tmp_path / "o.csv.parts").exists()


def test_a_plan_that_cannot_be_read_is_forgotten_when_asked(tmp_path: Path) -> None:
    write(tmp_path / "in.csv", "csv", ["a"])
    parts = tmp_path / "out.csv.parts"
    parts.mkdir()
    (parts / "_plan.json").write_text('{"source": "of an older release"}')
    given = (tmp_path / "in.csv", tmp_path / "out.csv", "--bundle", BUNDLE)
    with pytest.raises(ScoreError, match="--restart begins anew"):
        score.main(arguments(*given))
    with pytest.raises(ScoreError, match="--part-rows"):
        score.main(arguments(*given, "--part-rows", 0, "--restart"))
    assert not parts.exists()


def test_another_run_is_not_mixed_in(tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    write(source, "csv", ["a", "b"])
    parts = Location(f"{target}.parts")
    args = arguments(source, target, "--bundle", BUNDLE)
    with pytest.raises(ScoreError, match="is not there"):
        score.main(arguments(tmp_path / "nothing.csv", target, "--bundle", BUNDLE))
    found = open_source(str(source), "text")
    pinned = score.Pinned(str(BUNDLE), "sentiment", 0, open_bundle(BUNDLE))
    plan = score._plan(args, load_config({}), found, "csv", pinned)
    plans.keep(parts, plan)
    assert plans.recall(parts) == plan
    write(source, "csv", ["a", "other"])
    with pytest.raises(ScoreError, match="files"):
        score.main(args)


def test_a_cluster_that_is_away_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "in.csv", "csv", ["a"])

    def away(**_: object) -> None:
        raise ConnectionError("as Ray says it, after its own retries")

    monkeypatch.setattr(ray, "init", away)
    given = ("--bundle", BUNDLE, "--address", "10.0.0.1:6379")
    with pytest.raises(ScoreError, match=r"10\.0\.0\.1:6379 does not let us in"):
        score.main(arguments(tmp_path / "in.csv", tmp_path / "out.csv", *given))


@pytest.mark.slow
def test_a_killed_run_goes_on_and_no_finished_part_is_scored_again(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.csv"
    texts = [f"the {'good' if i % 3 else 'bad'} film number {i}" for i in range(1_200)]
    texts[5] = ""
    write(source, "jsonl", texts)
    # An address that pyarrow does not know and fsspec does.
    command = [sys.executable, "-m", "cli", "score", f"local://{source}", str(target)]
    command += ["--bundle", str(BUNDLE), "--part-rows", "50"]
    parts = Path(f"{target}.parts")
    first = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    deadline = time.monotonic() + 90
    while len(list(parts.glob("part-*.csv"))) < 5 and time.monotonic() < deadline:
        assert first.poll() is None
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    kept = len(list(parts.glob("part-*.csv")))
    assert 5 <= kept < 24
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    summary = json.loads(done.stdout)
    assert (summary["rows"], summary["failed_rows"]) == (1_200, 1)
    assert summary["rows_scored_by_an_earlier_run"] >= 50 * kept
    rows = read_back(target, "csv")
    assert [json.loads(row["row"])["text"] for row in rows] == texts
    assert rows[5]["error_code"] == "E1003"
    assert sum(row["label"] == "" for row in rows) == 1
    assert not parts.exists()
    assert json.loads(Path(f"{target}.meta.json").read_text())["rows"] == 1_200
