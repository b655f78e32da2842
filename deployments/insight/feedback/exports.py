"""Labelled answers as files, and labels from files. Texts as the text policy keeps them."""

import csv
import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from deployments.insight.feedback.schemas import ReviewRequest
from deployments.insight.feedback.store import KnownVersion

Format = Literal["jsonl", "csv", "parquet", "label-studio"]
MEDIA_TYPES: dict[Format, str] = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "label-studio": "application/json",
}
_PAGE = 1_000
_COLUMNS = (
    "prediction_id",
    "text",
    "label",
    "status",
    "trusted",
    "predicted",
    "scores",
    "model_name",
    "model_version",
    "model_digest",
    "answered",
    "judged",
    "source",
    "drawn",
    "share",
)


Page = Callable[[str, str, int], list[dict[str, Any]]]
"""Answers of a version's digest, from an id on, so many at most."""


def rows_of(pages: Page, version: KnownVersion) -> Iterator[dict[str, Any]]:
    """All answers of a version, one page in memory at a time."""
    after = ""
    while page := pages(version.digest, after, _PAGE):
        for row in page:
            yield {
                "prediction_id": row["prediction_id"],
                "text": row["text"],
                "label": row["label"],
                "status": row["status"],
                "trusted": bool(row["trusted"]),
                "predicted": row["predicted"],
                "scores": orjson.loads(row["scores"]) if row["scores"] else None,
                "model_name": version.name,
                "model_version": version.version,
                "model_digest": version.digest,
                "answered": _iso(row["answered_s"]),
                "judged": _iso(row["resolved_s"]) if row["resolved_s"] else None,
                "source": row["source"],
                "drawn": row["drawn"],
                "share": row["share"],
            }
        after = page[-1]["prediction_id"]


def export(rows: Iterator[dict[str, Any]], form: Format) -> Iterator[bytes]:
    """A file in parts."""
    writers: dict[Format, Callable[[Iterator[dict[str, Any]]], Iterator[bytes]]] = {
        "jsonl": _jsonl,
        "csv": _csv,
        "parquet": _parquet,
        "label-studio": _label_studio,
    }
    return writers[form](rows)


def from_label_studio(tasks: list[dict[str, Any]]) -> Iterator[ReviewRequest]:
    """The labels in exported tasks of Label Studio: the last annotation's first choice.

    Tasks that are not ours or that nobody annotated are left out.
    """
    for task in tasks:
        try:
            number = task["meta"]["prediction_id"]
            annotations = [a for a in task["annotations"] if not a.get("was_cancelled")]
            choice = annotations[-1]["result"][0]["value"]["choices"][0]
            yield ReviewRequest(prediction_id=number, label=choice)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            continue


def _jsonl(rows: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    for row in rows:
        yield orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def _csv(rows: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    line = io.StringIO()
    writer = csv.DictWriter(line, _COLUMNS)
    writer.writeheader()
    for row in rows:
        scores = orjson.dumps(row["scores"]).decode()
        # A spreadsheet would run what begins so.
        text = row["text"] or ""
        if text.startswith(("=", "+", "-", "@", "\t", "\r")):
            text = f"'{text}"
        writer.writerow(row | {"scores": scores, "text": text})
        yield line.getvalue().encode("utf-8", "replace")
        line.seek(0)
        line.truncate()
    yield line.getvalue().encode()


def _parquet(rows: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    kinds = {"trusted": pa.bool_(), "model_version": pa.int64(), "share": pa.float64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in _COLUMNS])
    file = io.BytesIO()
    flat = [row | {"scores": orjson.dumps(row["scores"]).decode()} for row in rows]
    pq.write_table(pa.Table.from_pylist(flat, schema), file)
    yield file.getvalue()


def _label_studio(rows: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """Tasks with the model's label as a pre-annotation; of answers whose text is kept."""
    yield b"["
    first = True
    for row in rows:
        if row["text"] is None:
            continue
        choice = {
            "from_name": "label",
            "to_name": "text",
            "type": "choices",
            "value": {"choices": [row["predicted"]]},
        }
        score = (row["scores"] or {}).get(row["predicted"])
        task = {
            "data": {"text": row["text"]},
            "meta": {"prediction_id": row["prediction_id"]},
            "predictions": [
                {
                    "model_version": f"{row['model_name']} {row['model_version']}",
                    "score": score,
                    "result": [choice],
                }
            ],
        }
        yield (b"" if first else b",") + orjson.dumps(task)
        first = False
    yield b"]"


def _iso(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat()
