"""Texts of uploaded files: a byte order mark is no part of the first row."""

import codecs
import io
from typing import Literal

import pytest

from deployments.jobs.input_files import read_texts


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("csv", b'text,n\r\n"good\r\nday",1\r\nbad,2\r\n'),
        ("jsonl", b'{"text": "good\\r\\nday"}\r\n\r\n{"text": "bad"}'),
    ],
)
def test_a_byte_order_mark_changes_nothing(
    kind: Literal["csv", "jsonl"], content: bytes, mark: bytes
) -> None:
    texts = read_texts(io.BytesIO(mark + content), kind, "text", 100, 1_000)
    assert list(texts) == ["good\r\nday", "bad"]


def test_a_mark_alone_is_no_row() -> None:
    assert list(read_texts(io.BytesIO(codecs.BOM_UTF8), "jsonl", "text", 100, 1_000)) == []
    twice = b'{"text": "a"}\n' + codecs.BOM_UTF8 + b'{"text": "b"}'
    assert list(read_texts(io.BytesIO(twice), "jsonl", "text", 100, 1_000)) == ["a", None]
