"""`sentigraph score` from file to file, in this process: what a row had comes out as it was, or the
command refuses before it begins; one row that fails, fails alone.
"""

import argparse
import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import zstandard
from head_models import KINDS, TEXTS, bundle_of, expected

from configs.schema.app import ModelConfig
from deployments.jobs.json_lines import extend, parse_object, taken_names
from deployments.model.runner import LoadedModel
from deployments.payloads import FloatArray, IntArray
from pipelines.errors import ScoreError
from pipelines.scoring import score
from pipelines.scoring.partitions import Partition
from pipelines.scoring.scorer import Scorer, Task
from registry.records import Bundle

BUNDLE = Path(__file__).parents[3] / "models" / "sentiment"
BOM = b"\xef\xbb\xbf"
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """The command without a Ray cluster; returns its summary."""

    def here(
        task: Task,
        parts: Sequence[Partition],
        finished: set[int],
        bundle: Bundle,
        args: argparse.Namespace,
    ) -> None:
        monkeypatch.setattr(ray, "get", lambda content: content)
        names = (*bundle.files, "bundle.json")
        files = {name: (bundle.directory / name).read_bytes() for name in names}
        scorer = Scorer(replace(task, model=ModelConfig(surface_budget_ms=0)), bundle.digest, files)
        for part in parts:
            if part.number not in finished:
                scorer._score_part(part)

    monkeypatch.setattr(score, "_run", here)

    def command(source: object, target: object, *more: object) -> dict[str, Any]:
        parser = argparse.ArgumentParser()
        score.add_arguments(parser)
        given = [source, target, "--bundle", BUNDLE, *more]
        assert score.main(parser.parse_args([str(item) for item in given])) == 0
        summary: dict[str, Any] = json.loads(capsys.readouterr().out)
        return summary

    yield command


def never(*_: object) -> None:
    raise AssertionError("scoring began")


# Types of Parquet columns.


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [
        (pa.array([None, None]), pa.array([1.5, None]), pa.float64()),
        (pa.array([1, 2]), pa.array([0.5, np.nan]), pa.float64()),
        (pa.array([1, None], pa.int16()), pa.array([2**40, 3]), pa.int64()),
        (pa.array([1, 2], pa.uint8()), pa.array([-1, 3], pa.int64()), pa.int64()),
        (pa.array(["a", "b"]), pa.array(["c", None], pa.large_string()), pa.large_string()),
        (pa.array(["a", "b"]), pa.array(["c", "c"]).dictionary_encode(), pa.string()),
        (pa.array([0.5, 1], pa.float32()), pa.array([0.1, 2.0]), pa.float64()),
        (pa.array([None, None]), pa.array([[1], []]), pa.list_(pa.int64())),
        (pa.array([b"a", None]), pa.array([b"b", b""], pa.large_binary()), pa.large_binary()),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_types_of_a_column_are_unified(
    tmp_path: Path, run: Run, first: pa.Array, second: pa.Array, common: pa.DataType, turned: bool
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    arrays = [second, first] if turned else [first, second]
    for number, extra in enumerate(arrays):
        table = pa.table({"text": ["good", "bad"], "extra": extra})
        pq.write_table(table, folder / f"{number}.parquet")
    assert run(folder, tmp_path / "out.parquet")["rows"] == 4
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.schema.field("extra").type == common
    given = pa.array([value for array in arrays for value in array.to_pylist()], common)
    assert str(found.column("extra").to_pylist()) == str(given.to_pylist())
    assert found.column("label").to_pylist() == ["POSITIVE", "NEGATIVE"] * 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pa.array([1]), pa.array(["a"])),
        (pa.array([2**53 + 1]), pa.array([0.5])),
        (pa.array([2**64 - 1], pa.uint64()), pa.array([-1])),
        (pa.array([True]), pa.array([1])),
        (pa.array([datetime(2026, 1, 1, tzinfo=UTC)]), pa.array(["2026"])),
        (pa.array([Decimal("1.10")]), pa.array([1.1])),
    ],
)
def test_types_without_a_common_one_are_refused_before_scoring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run, first: pa.Array, second: pa.Array
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number, extra in enumerate((first, second)):
        pq.write_table(pa.table({"text": ["a"], "extra": extra}), folder / f"{number}.parquet")
    monkeypatch.setattr(score, "_run", never)
    with pytest.raises(ScoreError, match=r"column 'extra' is .* and no type keeps the values"):
        run(folder, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet.parts").exists()


def test_files_of_pandas_are_read_back_by_pandas(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    frames = [
        pd.DataFrame({"text": ["good"], "stars": [5]}),
        pd.DataFrame({"text": ["bad", "sad"], "stars": [None, 2.0]}),
        pd.DataFrame({"text": pd.Categorical(["fine"]), "stars": [None]}),
    ]
    for number, frame in enumerate(frames):
        frame.to_parquet(folder / f"{number}.parquet", index=False)
    run(folder, tmp_path / "out.parquet")
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert found["stars"].tolist()[0] == 5.0
    assert found["text"].tolist() == ["good", "bad", "sad", "fine"]
    # A folder of parts has one schema too.
    run(folder, tmp_path / "parts/", "--format", "parquet")
    assert pd.read_parquet(tmp_path / "parts")["text"].tolist() == found["text"].tolist()


# Names.


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("in.csv", b"text,label\ngood,gold\n"),
        ("in.jsonl", b'{"text": "good"}\n{"text": "bad", "label": "gold"}\n'),
        ("in.jsonl", BOM + b'{"truncated": 1, "text": "good"}\n'),
        ("in.jsonl", b'{"text": "good", "scor\\u0065": 1}'),
        ("in.jsonl.gz", gzip.compress(b'{"text": "good", "n_tokens": 1}\n', mtime=0)),
    ],
)
def test_own_columns_of_an_added_name_are_refused_alike(
    tmp_path: Path, run: Run, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    target = tmp_path / ("out.csv" if name == "in.csv" else "out.jsonl")
    with pytest.raises(ScoreError, match="--prefix gives the added ones other names"):
        run(tmp_path / name, target)
    assert not target.exists()
    assert run(tmp_path / name, target, "--prefix", "p_")["failed_rows"] == 0
    assert ("gold" in target.read_text()) == (b"gold" in content)


def test_a_name_inside_a_field_or_a_value_is_no_column(tmp_path: Path, run: Run) -> None:
    lines = ['{"text": "good \\"label\\"", "meta": {"label": 1}, "x": "score"}', "[1]", ""]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    assert run(tmp_path / "in.jsonl", tmp_path / "out.jsonl")["failed_rows"] == 1
    assert taken_names([b'{"label": {"score": 1}}'], ["label", "score"]) == {"label"}


@pytest.mark.parametrize("header", ["id,text,id", "text,text", "a,a,text,b,b"])
def test_columns_of_one_name_are_refused(tmp_path: Path, run: Run, header: str) -> None:
    (tmp_path / "in.csv").write_text(header + "\n" + ",".join("x" * len(header.split(","))) + "\n")
    with pytest.raises(ScoreError, match="more than one column named"):
        run(tmp_path / "in.csv", tmp_path / "out.csv")
    names = header.split(",")
    table = pa.table([pa.array(["x"])] * len(names), names=names)
    pq.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(ScoreError, match="more than one column named"):
        run(tmp_path / "in.parquet", tmp_path / "out.parquet")


# Values.


LINES = (
    b'{"id": 123456789012345678901234567890, "text": "good"}',
    b'{"id":18446744073709551616,"text":"bad" }',
    b'{"x": 1e400, "text": "fine", "y": 0.10000000000000000555, "z": -0, "w": 1.50}',
    b'{"text": "good", "text2": "\\ud83d", "d": 1, "d": 2}',
    b'  {"nested": {"a": [1, 2, {"b": null}]}, "text": "caf\xc3\xa9 \\u00e9 \xf0\x9f\x98\x80"}\r',
    b'{"text": "' + b"9" * 50 + b'", "n": ' + b"9" * 5000 + b"}",
)


def test_lines_of_json_are_copied_with_their_digits(tmp_path: Path, run: Run) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(LINES) + b"\n")
    summary = run(tmp_path / "in.jsonl", tmp_path / "out.jsonl", "--part-rows", "2")
    assert (summary["rows"], summary["failed_rows"]) == (6, 0)
    written = (tmp_path / "out.jsonl").read_bytes().splitlines()
    for given, found in zip(LINES, written, strict=True):
        own = given.strip().removesuffix(b"}").rstrip()
        assert found.startswith(own)
        row = parse_object(found)
        assert row is not None
        assert row["label"] in ("POSITIVE", "NEGATIVE")


def test_lines_that_are_no_object_keep_their_text(tmp_path: Path, run: Run) -> None:
    lines = [b"{}", b"[1]", b"broken", b'{"text": NaN}', b'{"text": "\\ud83d"}', b"[" * 5000]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    assert run(tmp_path / "in.jsonl", tmp_path / "out.jsonl")["failed_rows"] == 6
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {row["error_code"] for row in rows} == {"E1001"}
    assert [row.get("row") for row in rows] == [
        None,
        "[1]",
        "broken",
        '{"text": NaN}',
        None,
        "[" * 5000,
    ]
    assert rows[4]["text"] == "\ud83d"
    assert extend("{ }", {"a": 1}) == b'{ "a":1}'


def test_values_of_csv_and_parquet_come_out_as_they_were(tmp_path: Path, run: Run) -> None:
    rows = [["id", "text", "n"], ["007", "good\r\nday", "1.50"], ["1e400", 'a "b", c', " x "]]
    with (tmp_path / "in.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    run(tmp_path / "in.csv", tmp_path / "out.csv")
    found = list(csv.reader(io.StringIO((tmp_path / "out.csv").read_text(), newline="")))
    with (tmp_path / "out.csv").open(newline="") as stream:
        found = list(csv.reader(stream))
    assert [row[:3] for row in found] == rows
    table = pa.table({"text": ["good"], "u": pa.array([2**64 - 1], pa.uint64()), "f": [0.1]})
    pq.write_table(table, tmp_path / "in.parquet")
    run(tmp_path / "in.parquet", tmp_path / "out.jsonl")
    assert b'"u":18446744073709551615,"f":0.1' in (tmp_path / "out.jsonl").read_bytes()


def test_bytes_of_parquet_are_text_or_base64(tmp_path: Path, run: Run) -> None:
    content = pa.array([b"caf\xc3\xa9", b"\xff\x00"])
    table = pa.table({"text": ["good", "bad"], "b": content, "l": [[b"x"], []]})
    pq.write_table(table, tmp_path / "in.parquet")
    run(tmp_path / "in.parquet", tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["b"] for row in rows] == ["café", "/wA="]
    run(tmp_path / "in.parquet", tmp_path / "out.csv")
    cells = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [(row["b"], row["l"]) for row in cells] == [("café", '["x"]'), ("/wA=", "[]")]
    run(tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").column("b").to_pylist() == content.to_pylist()


def test_a_row_that_is_too_long_loses_nothing(tmp_path: Path, run: Run) -> None:
    (tmp_path / "in.csv").write_text('text,n\ngood,1\nbad,2,"3, 4",5\nfine\n')
    assert run(tmp_path / "in.csv", tmp_path / "out.csv")["failed_rows"] == 2
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [(row["text"], row["n"]) for row in rows] == [
        ("good", "1"),
        ("bad", '2,"3, 4",5'),
        ("fine", ""),
    ]
    assert [row["error_code"] for row in rows] == ["", "E1001", "E1001"]


# Marks, compression, nothing at all.


@pytest.mark.parametrize("mark", [b"", BOM])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("in.csv", b'id,text\r\n1,"good\r\nday"\r\n2,bad\r\n'),
        ("in.jsonl", b'{"id": "1", "text": "good day"}\r\n{"id": "2", "text": "bad"}\r\n'),
    ],
)
@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("", bytes), (".gz", gzip.compress), (".zst", zstandard.ZstdCompressor().compress)],
)
def test_a_mark_and_compression_change_nothing(
    tmp_path: Path,
    run: Run,
    mark: bytes,
    name: str,
    content: bytes,
    suffix: str,
    pack: Callable[[bytes], bytes],
) -> None:
    source = tmp_path / f"{name}{suffix}"
    source.write_bytes(pack(mark + content))
    for target in (tmp_path / "out.parquet", tmp_path / "parts/"):
        summary = run(source, target, "--part-rows", "1")
        assert (summary["rows"], summary["failed_rows"]) == (2, 0)
    assert pq.read_table(tmp_path / "out.parquet").column("label").to_pylist() == [
        "POSITIVE",
        "NEGATIVE",
    ]
    assert not list((tmp_path / "parts").glob("*input*"))


def test_what_is_not_compressed_as_named_is_refused(tmp_path: Path, run: Run) -> None:
    whole = gzip.compress(b"text\n" + b"good day\n" * 200_000, mtime=0)
    for name, content, why in (
        ("a.csv.gz", b"text\ngood\n", "a.csv.gz"),
        ("b.csv.gz", whole[: len(whole) // 2], "b.csv.gz cannot be"),
        ("c.parquet.gz", b"x", "files of one kind"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ScoreError, match=why):
            run(tmp_path / name, tmp_path / "out.csv", "--restart")
    (tmp_path / "d.csv").write_text("text\ngood\n")
    with pytest.raises(ScoreError, match="OUT is not compressed"):
        run(tmp_path / "d.csv", tmp_path / "out.csv.gz")


@pytest.mark.parametrize("target", ["out.parquet", "out.csv", "out.jsonl"])
@pytest.mark.parametrize("source", ["in.csv", "in.parquet", "in.jsonl"])
def test_no_rows_make_an_empty_table(tmp_path: Path, run: Run, source: str, target: str) -> None:
    if source == "in.csv":
        (tmp_path / source).write_text("id,text\n")
    elif source == "in.jsonl":
        (tmp_path / source).write_bytes(b"\n\n" if target == "out.csv" else b"")
    else:
        pq.write_table(pa.table({"id": pa.array([], pa.int32()), "text": []}), tmp_path / source)
    assert run(tmp_path / source, tmp_path / target)["rows"] == 0
    own = ["row"] if source == "in.jsonl" else ["id", "text"]
    if target == "out.parquet":
        table = pq.read_table(tmp_path / target)
        assert len(table) == 0
        assert table.column_names[: len(own) + 1] == [*own, "label"]
        if source == "in.parquet":
            assert table.schema.field("id").type == pa.int32()
    elif target == "out.csv":
        frame = pd.read_csv(tmp_path / target)
        assert list(frame.columns)[: len(own) + 1] == [*own, "label"]
        assert frame.empty
    else:
        assert (tmp_path / target).read_bytes() == b""


# CSV as people have it.


@pytest.mark.parametrize(
    ("name", "separator"),
    [("in.csv", ","), ("in.csv", ";"), ("in.csv", "\t"), ("in.csv", "|"), ("in.tsv", "\t")],
)
def test_csv_of_any_separator_keeps_it(tmp_path: Path, run: Run, name: str, separator: str) -> None:
    rows = [["id", "body"], ["1", f"a good{separator} day"], ["2", "bad,\nbad"]]
    lines = io.StringIO(newline="")
    csv.writer(lines, delimiter=separator).writerows([*rows, ["3", "long", "y", "z"]])
    (tmp_path / name).write_text("\ufeff" + lines.getvalue(), newline="")
    for target, written in [("out.csv", separator), ("out.tsv", "\t"), ("out/", separator)]:
        # Parts of one row: each begins and ends where a row does.
        more = ("--text-column", "body", "--part-rows", 1)
        assert run(tmp_path / name, f"{tmp_path}/{target}", *more)["separator"] == written
        out = tmp_path / target
        files = sorted(out.glob("part-*")) if out.is_dir() else [out]
        found = []
        for file in files:
            text = io.StringIO(file.read_text(), newline="")
            found += list(csv.DictReader(text, delimiter=written))
        assert [(row["id"], row["body"]) for row in found] == [
            *map(tuple, rows[1:]),
            ("3", f"long{separator}y{separator}z"),
        ]
        assert [row["label"] for row in found] == ["POSITIVE", "NEGATIVE", ""]


@pytest.mark.parametrize("target", ["out.csv", "out.jsonl", "out.parquet"])
def test_scores_have_the_digits_of_an_answer_over_http(
    tmp_path: Path, run: Run, target: str
) -> None:
    (tmp_path / "in.csv").write_text("text\nwhat a day\nnever again\n")
    run(tmp_path / "in.csv", tmp_path / target)
    if target == "out.csv":
        rows = list(csv.DictReader(io.StringIO((tmp_path / target).read_text())))
    elif target == "out.jsonl":
        rows = [json.loads(line) for line in (tmp_path / target).read_text().splitlines()]
    else:
        rows = pq.read_table(tmp_path / target).to_pylist()
    for row in rows:
        for name in ("score", "score_NEGATIVE", "score_POSITIVE"):
            assert Decimal(str(row[name])) == round(Decimal(str(row[name])), 6)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("in.csv", b"a;b\n1;2\n", "--text-column is one of: a, b"),
        ("in.jsonl", b'{"a": "x"}\n[]\n{"b": 1}', "--text-column is one of: a, b"),
        ("in.csv", b"\xff\xfea\0,\0", "not UTF-8; save it as UTF-8"),
    ],
)
def test_a_column_that_is_not_there_is_told_with_those_that_are(
    tmp_path: Path, run: Run, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ScoreError, match=told):
        run(tmp_path / name, tmp_path / "out.csv")


def test_a_folder_of_no_rows_is_a_table_too(tmp_path: Path, run: Run) -> None:
    (tmp_path / "in.csv").write_text("id,text\n")
    assert run(tmp_path / "in.csv", tmp_path / "out/", "--format", "parquet")["rows"] == 0
    assert pq.read_table(tmp_path / "out").column_names[:3] == ["id", "text", "label"]


# Kinds of heads.


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("target", ["out.parquet", "out.jsonl", "out.csv"])
def test_every_kind_of_head_is_scored_as_over_http(
    tmp_path: Path, run: Run, name: str, target: str
) -> None:
    bundle = bundle_of(name, tmp_path / "model")
    rows = [json.dumps({"id": i, "text": text}) for i, text in enumerate(TEXTS)]
    (tmp_path / "in.jsonl").write_text("\n".join(rows))
    out = tmp_path / target
    summary = run(tmp_path / "in.jsonl", out, "--bundle", bundle.directory)
    assert (summary["task"], summary["labels"]) == (bundle.head.task, list(bundle.labels))
    found: list[dict[str, Any]]
    if target.endswith("parquet"):
        found = pq.read_table(out).to_pylist()
    elif target.endswith("csv"):
        found = list(csv.DictReader(io.StringIO(out.read_text())))
    else:
        found = [json.loads(line) for line in out.read_text().splitlines()]
        assert [row["id"] for row in found] == list(range(len(TEXTS)))
    for row, text in zip(found, TEXTS, strict=True):
        scores = expected(bundle, text)
        assert {each: float(row[f"score_{each}"]) for each in scores} == pytest.approx(
            scores, abs=2e-6, rel=1e-6
        )
        assert row["label"] == max(scores, key=scores.__getitem__)
        if bundle.head.task == "multi_label":
            limits = dict(zip(bundle.labels, bundle.head.thresholds, strict=True))
            labels = json.loads(row["labels"]) if target.endswith("csv") else row["labels"]
            assert labels == [each for each in scores if scores[each] >= limits[each]]
        else:
            assert "labels" not in row


# Rows that fail.


def poisoned(monkeypatch: pytest.MonkeyPatch, lengths: set[int], how: str) -> list[int]:
    """Has the engine fail on rows of some lengths; returns the sizes of its batches."""
    whole, sizes = LoadedModel.score, list[int]()

    def scored(self: LoadedModel, rows: Sequence[IntArray]) -> FloatArray:
        sizes.append(len(rows))
        bad = [len(row) in lengths for row in rows]
        if any(bad) and how == "raises":
            raise RuntimeError("Gather: indices element out of data bounds, idx=514")
        scores = whole(self, rows)
        scores[bad] = np.nan
        return scores

    monkeypatch.setattr(LoadedModel, "score", scored)
    return sizes


@pytest.mark.parametrize("how", ["raises", "gives NaN"])
@pytest.mark.parametrize("bad", [[1], [0, 4], [0, 1, 2, 3, 4]])
def test_a_row_that_fails_fails_alone(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, how: str, bad: list[int]
) -> None:
    texts = ["a good day today"] * 5
    for at in bad:
        texts[at] = "one two three four five six seven eight"
    (tmp_path / "in.csv").write_text("\n".join(["text", *texts]) + "\n")
    poisoned(monkeypatch, {10}, how)
    summary = run(tmp_path / "in.csv", tmp_path / "out.csv")
    assert (summary["rows"], summary["failed_rows"]) == (5, len(bad))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [at for at, row in enumerate(rows) if row["error_code"] == "E2002"] == bad
    assert [row["text"] for row in rows] == texts
    assert all(row["label"] == "POSITIVE" for row in rows if not row["error_code"])
    assert not any(row["score"] for row in rows if row["error_code"])


def test_a_batch_is_halved_until_the_guilty_row_is_alone(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["a good day today"] * 32 + ["one two three four five six seven eight"]
    (tmp_path / "in.csv").write_text("\n".join(["text", *texts]) + "\n")
    sizes = poisoned(monkeypatch, {10}, "raises")
    assert run(tmp_path / "in.csv", tmp_path / "out.csv")["failed_rows"] == 1
    assert len(sizes) < 20


def test_a_library_that_fails_is_a_sentence(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.csv").write_text("text\ngood\n")

    def broken(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(score, "_run", broken)
    with pytest.raises(ScoreError, match="scoring stopped: OSError: no space left on device; the"):
        run(tmp_path / "in.csv", tmp_path / "out.csv")
