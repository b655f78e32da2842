"""Results of a file's job have all that its rows had, as it was, and a score for each label."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from jobs_front import jobs_config, until_ended, with_jobs

from deployments.jobs.replica import JobsReplica

ADDED = ["index", "label", "score", "labels", "score_NEG", "score_POS", "n_tokens", "truncated"]
ADDED += ["model_version", "error_code", "error_message"]
FORMATS = ("csv", "jsonl", "parquet")


async def upload(client: httpx.AsyncClient, name: str, content: bytes, **form: str) -> Any:
    return await client.post("/files", files={"file": (name, content)}, data=form)


async def downloads(client: httpx.AsyncClient, job: str, **asked: bool) -> dict[str, bytes]:
    await until_ended(client, job)
    found = {}
    for kind in FORMATS:
        answer = await client.get(f"/results/{job}/file", params={"format": kind, **asked})
        assert answer.status_code == 200
        found[kind] = answer.content
    return found


def scored(
    folder: Path, name: str, content: bytes, check: Callable[[dict[str, bytes]], None], **form: str
) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        answer = await upload(client, name, content, **form)
        assert answer.status_code == 202, answer.text
        check(await downloads(client, answer.json()["job_id"]))

    with_jobs(jobs_config(folder, jobs={"chunk_texts": 2}), body)


def parquet(table: pa.Table, **how: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **how)
    return sink.getvalue()


def table_of(files: dict[str, bytes]) -> pa.Table:
    return pq.read_table(io.BytesIO(files["parquet"]))


def csv_of(files: dict[str, bytes]) -> list[list[str]]:
    return list(csv.reader(io.StringIO(files["csv"].decode(), newline="")))


def test_fields_of_csv_stay_the_text_that_they_were(tmp_path: Path) -> None:
    rows = [
        ["id", "body", "gold"],
        ["007", "good day", "1.10"],
        ["12345678901234567890123", 'quoted "x",\nwith a break', ""],
        ["=1+1", "", "x"],
        ["-0", "short"],
        ["1e400", "long", "y", "z"],
    ]
    lines = io.StringIO(newline="")
    csv.writer(lines).writerows(rows)
    own = [*rows[1:4], ["-0", "short", None], ["1e400", "long", "y,z"]]

    def check(files: dict[str, bytes]) -> None:
        header, *found = csv_of(files)
        assert header == rows[0] + ADDED
        assert [row[:3] for row in found] == [[v or "" for v in row] for row in own]
        at = header.index("error_code")
        assert [row[at] for row in found] == ["", "", "E1003", "E1001", "E1001"]
        objects = [json.loads(line) for line in files["jsonl"].splitlines()]
        assert [[row[name] for name in rows[0]] for row in objects] == own
        table = table_of(files)
        assert [list(row.values())[:3] for row in table.to_pylist()] == own
        assert table.schema.field("id").type == pa.string()
        for row in objects[:2]:
            assert row["score_NEG"] + row["score_POS"] == pytest.approx(1)
            assert row["score"] == row[f"score_{row['label']}"]
        assert objects[2]["score_POS"] is None

    scored(tmp_path, "a.csv", lines.getvalue().encode(), check, text_column="body")


@pytest.mark.parametrize(
    ("name", "separator"), [("a.csv", ";"), ("a.csv", "\t"), ("a.csv", "|"), ("a.tsv", "\t")]
)
def test_csv_of_any_separator_keeps_it(tmp_path: Path, name: str, separator: str) -> None:
    rows = [["id", "body"], ["1", f"good{separator} day"], ["2", "a,b"]]
    lines = io.StringIO(newline="")
    csv.writer(lines, delimiter=separator).writerows([*rows, ["3", "long", "y", "z,"]])

    def check(files: dict[str, bytes]) -> None:
        text = io.StringIO(files["csv"].decode(), newline="")
        header, *found = list(csv.reader(text, delimiter=separator))
        assert header == rows[0] + ADDED
        longer = f"long{separator}y{separator}z,"
        assert [row[:2] for row in found] == [*rows[1:], ["3", longer]]
        assert [bool(row[header.index("label")]) for row in found] == [True, True, False]
        assert table_of(files).column("body").to_pylist()[0] == rows[1][1]
        # Digits of a score are those of an answer over HTTP.
        for row in found[:2]:
            for at in (header.index("score"), header.index("score_POS")):
                assert Decimal(row[at]) == round(Decimal(row[at]), 6)

    content = "\ufeff" + lines.getvalue()
    scored(tmp_path, name, content.encode(), check, text_column="body")


def test_lines_of_json_are_copied_digits_and_all(tmp_path: Path) -> None:
    lines = [
        '{"text": "one", "id": 123456789012345678901234567890, "rate": 0.10000000000000000555}',
        '{"id": 1e400, "text":"two", "id": 18446744073709551616}',
        '{"text": "a lone \\ud83d", "n": [1.0, {"a": -0}]}',
        "{broken",
        '{"text": 5}',
        '{"text": "six", "empty": {}}',
    ]

    def check(files: dict[str, bytes]) -> None:
        found = files["jsonl"].decode().splitlines()
        for line, out in zip(lines, found, strict=True):
            if line != "{broken":
                assert out.startswith(line.removesuffix("}") + ',"index":')
        rows = [json.loads(line) for line in found]
        codes = [row["error_code"] for row in rows]
        assert codes == [None, None, "E1001", "E1001", "E1001", None]
        assert rows[3]["row"] == "{broken"
        header, *cells = csv_of(files)
        assert header == ["text", "row", *ADDED]
        assert [row[1] for row in cells] == lines
        assert table_of(files).column("row").to_pylist() == lines

    scored(tmp_path, "a.jsonl", "\r\n".join(lines).encode(), check)


def test_columns_of_parquet_keep_their_types(tmp_path: Path) -> None:
    texts = ["one", "two", None, "four", "five"]
    own = pa.table(
        {
            "id": pa.array([2**63 - 1, 0, None, -1, 5], pa.int64()),
            "big": pa.array([2**64 - 1, 0, 1, 2, 3], pa.uint64()),
            "text": texts,
            "price": pa.array([Decimal("1.10"), None, *map(Decimal, "123")], pa.decimal128(9, 2)),
            "seen": pa.array([datetime(2026, 1, 2, tzinfo=UTC)] * 5, pa.timestamp("us", "UTC")),
            "kind": pa.array(["a", "b", "a", None, "c"]).dictionary_encode(),
            "tags": [["x"], [], None, ["y", "z"], ["x"]],
            "raw": [b"\xff", b"ok", None, b"", b"x"],
            "float": pa.array([0.1, None, 2.0, 3.5, 1e30], pa.float32()),
        },
    )
    own = own.replace_schema_metadata({"made by": "us"})

    def check(files: dict[str, bytes]) -> None:
        table = table_of(files)
        assert table.column_names == own.column_names + ADDED
        carried = table.select(own.column_names)
        assert carried.schema.types == own.schema.types
        assert carried.to_pylist() == own.to_pylist()
        assert table.schema.metadata[b"made by"] == b"us"
        assert [row["error_code"] for row in table.to_pylist()] == [None, None, "E1001", None, None]
        first = json.loads(files["jsonl"].splitlines()[0])
        assert (first["id"], first["big"], first["price"]) == (2**63 - 1, 2**64 - 1, "1.10")
        assert (first["tags"], first["kind"], first["raw"]) == (["x"], "a", "/w==")
        row = dict(zip(*csv_of(files)[:2], strict=True))
        assert (row["big"], row["price"], row["tags"]) == (str(2**64 - 1), "1.10", '["x"]')

    # Groups end where chunks of two rows do not.
    scored(tmp_path, "a.parquet", parquet(own, row_group_size=3), check)


def test_a_dictionary_is_not_stored_again_with_every_chunk(tmp_path: Path) -> None:
    kinds = pa.array([f"kind {i}" * 20 for i in range(2_000)]).dictionary_encode()
    content = parquet(pa.table({"text": ["x"] * 2_000, "kind": kinds}))

    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        assert (await upload(client, "a.parquet", content)).status_code == 202

    settings = {"max_job_bytes": 4_000_000, "chunk_texts": 10}
    with_jobs(jobs_config(tmp_path, jobs=settings), body, start=False)


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zst", "a.jsonl.gz", "a.ndjson.zst"])
def test_packed_files_are_read_like_others(tmp_path: Path, name: str) -> None:
    plain = b"id,text\n1,one\n2,two\n3,three"
    if "csv" not in name:
        plain = b"".join(b'{"id": %d, "text": "x"}\n' % i for i in (1, 2, 3))
    packed = gzip.compress(plain) if name.endswith("gz") else zstandard.compress(plain)

    def check(files: dict[str, bytes]) -> None:
        rows = [json.loads(line) for line in files["jsonl"].splitlines()]
        assert [int(row["id"]) for row in rows] == [1, 2, 3]
        assert all(row["label"] for row in rows)

    scored(tmp_path, name, packed, check)


def test_an_own_name_is_kept_where_a_prefix_gives_the_added_ones_others(tmp_path: Path) -> None:
    content = b'{"text": "one", "label": "gold", "score_POS": 1}'

    def check(files: dict[str, bytes]) -> None:
        row = json.loads(files["jsonl"])
        assert (row["label"], row["score_POS"], row["m_label"]) == ("gold", 1, "POS")
        assert row["m_score"] == row["m_score_POS"]

    scored(tmp_path, "a.jsonl", content, check, prefix="m_")


@pytest.mark.parametrize(
    ("name", "content", "form", "told"),
    [
        ("a.csv", b"text,label\nx,POS", {}, "label"),
        ("a.csv", b"text,score_x\nx,1", {}, "score_x"),
        ("a.csv", b"text,m_index\nx,1", {"prefix": "m_"}, "m_index"),
        ("a.jsonl", b'{"text": "x"}\n{"text": "x", "\\u0073core": 1}', {}, "line 2 has"),
        ("a.parquet", parquet(pa.table({"text": ["x"], "truncated": [1]})), {}, "truncated"),
        ("a.csv", b"id,text,id\n1,x,2", {}, "more than one column named id"),
        ("a.csv", b"text,text\nx,y", {}, "more than one column named text"),
        (
            "a.parquet",
            parquet(pa.Table.from_arrays([pa.array(["x"])] * 2, ["text", "text"])),
            {},
            "more than one column named text",
        ),
        ("a.csv", b"a,b\n1,2", {"text_column": "c"}, "there is: a, b"),
        ("a.csv", b"a;b\n1;2", {}, "there is: a, b"),
        ("a.jsonl", b'{"a": "x"}\n{"b": 1}', {}, "there is: a, b; `text_column` names"),
        ("a.parquet", parquet(pa.table({"a": [1]})), {}, "there is: a"),
        ("a.csv.gz", b"text\nx", {}, "no whole gzip"),
        (
            "a.csv.gz",
            gzip.compress(b"text\n" + bytes(range(65, 91)) * 99, mtime=0)[:-9],
            {},
            "no whole",
        ),
        (
            "a.jsonl.gz",
            gzip.compress(b"\n" * 2_000_000, mtime=0),
            {},
            "unpacks to more than 400000",
        ),
        ("a.parquet.gz", b"", {}, "must end in"),
        ("a.csv", b"text\nx", {"prefix": "x" * 101}, "prefix"),
        ("a.parquet", parquet(pa.table({"text": pa.array([], pa.string())})), {}, "not one text"),
    ],
)
def test_what_cannot_be_carried_is_refused_before_work(
    tmp_path: Path, name: str, content: bytes, form: dict[str, str], told: str
) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        answer = await upload(client, name, content, **form)
        assert answer.status_code == 422, answer.text
        assert told in answer.json()["error_message"]
        assert (await client.get("/metrics")).json()["total_jobs"] == 0

    with_jobs(jobs_config(tmp_path, jobs={"max_upload_bytes": 100_000}), body, start=False)


def test_own_texts_of_all_columns_are_guarded(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        job = (await upload(client, "a.csv", b"=n,text\n@a,+b\n1,c")).json()["job_id"]
        rows = csv_of(await downloads(client, job, guarded=True))
        assert [row[:2] for row in rows] == [["'=n", "text"], ["'@a", "'+b"], ["1", "c"]]

    with_jobs(jobs_config(tmp_path), body)


def test_a_job_that_has_not_ended_has_no_file(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        job = (await upload(client, "a.csv", b"id,text\n1,x")).json()["job_id"]
        for path in (f"/results/{job}", f"/results/{job}/file"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["error_code"]) == (409, "E7004")
        await client.delete(f"/jobs/{job}")
        # Without a result, files are empty tables of their columns.
        files = await downloads(client, job)
        names = [name for name in ADDED if not name.startswith("score_")]
        assert csv_of(files) == [["id", "text", *names]]
        assert table_of(files).column_names == ["id", "text", *names]
        assert files["jsonl"] == b""

    with_jobs(jobs_config(tmp_path), body, start=False)
