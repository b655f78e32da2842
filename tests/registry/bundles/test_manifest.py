"""A bundle's head fits its labels, or the bundle is refused; older bundles have none."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from registry.bundles.bundle import MANIFEST, open_bundle, write_bundle
from registry.errors import InvalidBundle
from registry.records import Bundle, EngineHints, Head

ENGINE = EngineHints("onnx", "fp32", ("input_ids",), 0)


def written(folder: Path, head: Head, labels: tuple[str, ...], **more: Any) -> Bundle:
    files = {}
    for name in ("model.onnx", "tokenizer.json"):
        (folder / name).write_text("{}")
        files[name] = folder / name
    return write_bundle(
        folder / "bundle",
        name="m",
        labels=labels,
        files=files,
        max_tokens=8,
        engine=ENGINE,
        head=head,
        **more,
    )


@pytest.mark.parametrize(
    ("head", "labels"),
    [
        (Head(), ("a", "b")),
        (Head("single_label", "sigmoid"), ("a", "b")),
        (Head("multi_label", "sigmoid", (0.5,)), ("a",)),
        (Head("multi_label", "sigmoid", (0.5, 0.1, 1.0)), ("a", "b", "c")),
        (Head("regression", "none"), ("a",)),
        (Head("regression", "sigmoid"), ("a", "b")),
    ],
)
def test_a_head_comes_back_as_it_was_written(
    tmp_path: Path, head: Head, labels: tuple[str, ...]
) -> None:
    made = written(tmp_path, head, labels)
    assert (made.head, made.labels) == (head, labels)
    assert open_bundle(made.directory) == made


@pytest.mark.parametrize(
    ("head", "labels", "more", "why"),
    [
        (Head(), ("a",), {}, "1 labels do not fit"),
        (Head("single_label", "sigmoid"), ("a", "b", "c"), {}, "3 labels do not fit"),
        (Head("single_label", "none"), ("a", "b"), {}, "softmax or sigmoid, not none"),
        (Head("multi_label", "softmax", (0.5, 0.5)), ("a", "b"), {}, "sigmoid, not softmax"),
        (Head("multi_label", "sigmoid", (0.5,)), ("a", "b"), {}, "2 thresholds, not 1"),
        (Head("multi_label", "sigmoid", (0.5, 1.5)), ("a", "b"), {}, "less than or equal to 1"),
        (Head("regression", "none", (0.5,)), ("a",), {}, "0 thresholds, not 1"),
        (Head("regression", "none"), ("a",), {"temperature": 2.0}, "no temperature"),
    ],
)
def test_a_head_that_does_not_fit_is_refused(
    tmp_path: Path, head: Head, labels: tuple[str, ...], more: dict[str, Any], why: str
) -> None:
    with pytest.raises(InvalidBundle, match=why):
        written(tmp_path, head, labels, **more)


def test_the_usual_head_is_not_written_so_that_digests_stay(tmp_path: Path) -> None:
    plain = written(tmp_path, Head(), ("a", "b"))
    assert "head" not in json.loads((plain.directory / MANIFEST).read_text())
    assert dataclasses.replace(plain, head=Head()) == plain
