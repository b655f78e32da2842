"""Rows of uploaded files: a byte order mark is no part of the first row."""

import codecs
import io

import pytest

from deployments.jobs.input_files import InputFile
from deployments.jobs.records import Part


def texts_of(name: str, content: bytes) -> list[str | None]:
    given = InputFile(io.BytesIO(content), name, "text", "", 100, 1_000, 1_000)
    return [text for part in given.read(2) if isinstance(part, Part) for text in part.texts]


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b'text,n\r\n"good\r\nday",1\r\nbad,2\r\n'),
        ("a.jsonl", b'{"text": "good\\r\\nday"}\r\n\r\n{"text": "bad"}'),
    ],
)
def test_a_byte_order_mark_changes_nothing(name: str, content: bytes, mark: bytes) -> None:
    assert texts_of(name, mark + content) == ["good\r\nday", "bad"]


def test_a_mark_alone_is_no_row() -> None:
    assert texts_of("a.jsonl", codecs.BOM_UTF8) == []
    twice = b'{"text": "a"}\n' + codecs.BOM_UTF8 + b'{"text": "b"}'
    assert texts_of("a.jsonl", twice) == ["a", None]
