"""Files as people have them, and what is said of those that do not fit."""

import argparse
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipelines.data.labelled_texts import (
    Columns,
    add_column_arguments,
    columns_of,
    parse_names,
    read_labelled_texts,
)
from pipelines.errors import DatasetError

WANTED = [("good; really", "1"), ("a\nline", "0")]


def _read(path: Path, columns: Columns | None = None) -> list[tuple[str, str]]:
    data = read_labelled_texts([path], columns)
    return list(zip(data.texts, data.labels, strict=True))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'text,label\n"good; really",1\n"a\nline",0\n'),
        ("bom.csv", '\ufefftext,label\n"good; really",1\n"a\nline",0\n'),
        ("semicolons.csv", 'label;text\n1;"good; really"\n\n0;"a\nline"\n'),
        ("tabs.csv", 'label\ttext\n1\tgood; really\n0\t"a\nline"\n'),
        ("a.tsv", 'label\ttext\n1\tgood; really\n0\t"a\nline"\n'),
        ("bars.txt", 'label|text\n1|good; really\n0|"a\nline"\n'),
        ("spaces.csv", 'label , text\n1,"good; really"\n0,"a\nline"\n'),
        ("blank.csv", '\n\nlabel,text\n1,"good; really"\n0,"a\nline"\n'),
        ("crlf.csv", 'text,label\r\n"good; really",1\r\n"a\nline",0\r\n'),
        ("a.ndjson", '{"text":"good; really","label":1}\n{"text":"a\\nline","label":0}\n'),
        ("a.jsonl", '{"text":"good; really","label":1}\n\n{"text":"a\\nline","label":0.0}\n'),
    ],
)
def test_any_separator_and_a_byte_order_mark(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert _read(tmp_path / name) == WANTED
    for ending, pack in ((".gz", gzip.compress), (".zst", zstandard.compress)):
        packed = tmp_path / f"{name}{ending}"
        packed.write_bytes(pack(content.encode()))
        assert _read(packed) == WANTED


@pytest.mark.parametrize(("typed", "read"), [(";", ";"), ("\\t", "\t"), ("tab", "\t")])
def test_a_separator_is_given_as_it_is_typed(typed: str, read: str) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_column_arguments(parser)
    assert columns_of(parser.parse_args(["--separator", typed])).separator == read
    with pytest.raises(argparse.ArgumentError, match="not one character"):
        parser.parse_args(["--separator", ",;"])


def test_parquet_and_jsonl_of_several_files_keep_their_own_columns(tmp_path: Path) -> None:
    table = pa.table({"text": ["good; really"], "label": [1], "shop": ["x"], "n": [7]})
    pq.write_table(table, tmp_path / "a.parquet")
    row = {"text": "a\nline", "label": "0", "shop": None}
    (tmp_path / "b.jsonl").write_text(json.dumps(row))
    data = read_labelled_texts([tmp_path / "a.parquet", tmp_path / "b.jsonl"])
    assert list(zip(data.texts, data.labels, strict=True)) == WANTED
    assert data.columns == ("text", "label", "shop")
    assert data.column("shop") == ["x", ""]
    assert data.rows[0]["n"] == 7
    with pytest.raises(DatasetError, match="no column 'n'; there are text, label, shop"):
        data.column("n")


def test_columns_and_labels_by_other_names(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("stars,review\n1,good; really\n0,a line\n")
    columns = Columns("review", "stars", parse_names("0=NEGATIVE, 1=POSITIVE"))
    assert [label for _, label in _read(path, columns)] == ["POSITIVE", "NEGATIVE"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"review,label\nx,1\n", "no column 'text'; it has review, label; name it with"),
        ("a.csv", b"a;b\nx;1\n", "no column 'text' and no column 'label'; it has a, b"),
        ("a.csv", b"text,label\nx,1,2\n", "line 2 has 3 columns, the header 2"),
        ("a.csv", b"text,text\nx,1\n", "more than one column named text"),
        ("a.csv", b"text,label\n \xff,1\n", "not UTF-8 .byte 0xff at 12."),
        ("a.csv", b"text,label\n ,1\n", "1 rows have an empty text, first row 1"),
        ("a.csv", b"text,label\n", "no texts in it"),
        ("a.jsonl", b'{"text":"a","label":"b"}\n{"text"\n', "line 2 is no JSON"),
        ("a.jsonl", b"[1]\n", "line 1 is no JSON object"),
        ("a.parquet", b"text", "cannot be read"),
        ("a.xlsx", b"PK", "not a file that ends in .csv, .tsv"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        _read(tmp_path / name)


def test_a_mapping_of_labels_that_are_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nx,1\n")
    with pytest.raises(DatasetError, match="--map names the label 2; the labels in the data are 1"):
        _read(tmp_path / "a.csv", Columns(names={"2": "POSITIVE"}))
    for wrong in ("1", "=A", "1=A,1=B"):
        with pytest.raises(DatasetError, match="is not FILE'S=MODEL'S"):
            parse_names(wrong)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.csv: cannot be read"):
        _read(tmp_path / "none.csv")
