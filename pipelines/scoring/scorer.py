"""The engine actor: holds one model, scores one part after another, writes each down.

Ray Data makes a pool of them, on one machine or on many. The model's files come with the
job through Ray's object store, so a node needs neither the registry nor a shared disk.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from configs.schema.app import BatchingConfig, ModelConfig
from deployments.errors import InferenceFailed, InvalidInput, RequestError
from deployments.inference.validation import checked_text
from deployments.jobs.records import Kind
from deployments.model.engines import open_engine
from deployments.model.runner import LoadedModel, with_surface
from deployments.payloads import IntArray
from deployments.predictions import applying, error_body, rounded_scores
from deployments.tokenizer.replica import LoadedTokenizer
from pipelines.scoring.output import Columns, encode
from pipelines.scoring.partitions import Partition
from pipelines.scoring.rows import read_rows
from pipelines.scoring.storage import Location
from registry.bundles.node_cache import fetch_bundle

_log = logging.getLogger(__name__)
_FAILED: dict[str, object] = {
    "error_code": InferenceFailed.code,
    "error_message": "the model could not score this text",
}


@dataclass(frozen=True, slots=True)
class Task:
    """What all parts of a run have in common.

    Attributes:
        source: URI of the input.
        kind: Of its files.
        separator: Between its columns, of CSV.
        schema: What a row carries.
        column: The text's.
        parts: URI of the folder of scored parts.
        written: Kind of those.
        written_separator: Between their columns, of CSV.
        heads: Whether each CSV part gets a header of its own.
        prefix: Before the names of added columns.
        facts: For the output's metadata.
        max_text_chars: Longer texts are errors, as over HTTP.
        batching: How batches are planned.
        model: How the engine runs.
    """

    source: str
    kind: Kind
    schema: pa.Schema
    column: str
    parts: str
    written: Kind
    heads: bool
    prefix: str
    facts: Mapping[str, object]
    max_text_chars: int
    batching: BatchingConfig
    model: ModelConfig
    separator: str = ","
    written_separator: str = ","


def part_name(number: int, rows: int, failed: int, kind: Kind) -> str:
    """File name of a scored part; it says what is in it, so nobody has to look."""
    return f"part-{number:06}-{rows}-{failed}.{kind}"


class Scorer:
    """One engine. Ray Data calls it with one part at a time."""

    def __init__(self, task: Task, digest: str, files: Mapping[str, Any]) -> None:
        """Opens the model.

        Args:
            task: What all parts have in common.
            digest: The model's bundle.
            files: Reference to each file's bytes, by its name in the bundle.
        """
        self._task = task
        self._source = Location(task.source)
        self._target = Location(task.parts)

        def download(name: str, folder: Path) -> bool:
            if name not in files:
                return False
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(ray.get(files[name]))
            return True

        cache = Path(tempfile.gettempdir()) / "sentigraph-score"
        bundle = fetch_bundle(digest, cache, download)
        engine = open_engine(bundle, provider=task.model.provider, threads=1)
        self._loaded = LoadedModel(bundle, engine)
        self._planned = with_surface(
            self._loaded, task.batching, task.model, folder=cache, threads=1
        )
        self._tokenizer = LoadedTokenizer(bundle)
        self._columns = Columns(task.prefix, bundle.labels, bundle.head)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Scores and writes the parts in ``batch``, a column for each field; tells their rows."""
        columns = [batch[field.name].tolist() for field in fields(Partition)]
        parts = [Partition(*row) for row in zip(*columns, strict=True)]
        return {"rows": np.array([self._score_part(part) for part in parts])}

    def _score_part(self, part: Partition) -> int:
        task = self._task
        rows = read_rows(
            self._source, part, task.kind, task.schema, task.column, separator=task.separator
        )
        predictions = self.score(rows.texts)
        failed = sum("error_code" in prediction for prediction in predictions)
        name = part_name(part.number, len(predictions), failed, task.written)
        table = self._columns.table(predictions)
        pieces = encode(
            rows.carried,
            table,
            task.written,
            task.facts,
            heads=task.heads,
            separator=task.written_separator,
        )
        self._target.below(name).write(pieces)
        return part.rows

    def score(self, texts: Sequence[str | None]) -> list[dict[str, object]]:
        """A prediction or an error for each text, in order."""
        results: dict[int, dict[str, object]] = {}
        accepted: dict[int, str] = {}
        for index, text in enumerate(texts):
            try:
                accepted[index] = self._checked(text)
            except RequestError as error:
                results[index] = error_body(error)
        if accepted:
            positions = list(accepted)
            encoded = self._tokenizer.encode(list(accepted.values()))
            rows = np.split(encoded.ids, np.cumsum(encoded.lengths)[:-1])
            for planned in self._planned.plan(encoded.lengths.tolist()):
                scored = self._scored([rows[i] for i in planned.indices])
                for i, found in zip(planned.indices, scored, strict=True):
                    results[positions[i]] = found | {
                        "n_tokens": int(encoded.lengths[i]),
                        "truncated": bool(encoded.truncated[i]),
                    }
        return [results[index] for index in range(len(texts))]

    def _scored(self, rows: Sequence[IntArray]) -> list[dict[str, object]]:
        """A prediction for each row of a batch; one that fails is halved until the guilty row is
        alone, and that row gets an error.
        """
        try:
            scores = self._loaded.score(rows)
            if scores.shape != (len(rows), len(self._columns.labels)):
                raise InferenceFailed("the model does not give one score for each label")
        except Exception as error:  # noqa: BLE001  (engines raise what they like)
            if len(rows) > 1:
                half = len(rows) // 2
                return self._scored(rows[:half]) + self._scored(rows[half:])
            _log.warning("a row failed in the model", exc_info=error)
            return [_FAILED]
        return [
            self._prediction(row) if np.isfinite(row).all() else _FAILED for row in scores.tolist()
        ]

    def _checked(self, text: str | None) -> str:
        if text is None:
            raise InvalidInput("the row has no text")
        return checked_text(text, self._task.max_text_chars)

    def _prediction(self, scores: list[float]) -> dict[str, object]:
        bundle = self._loaded.bundle
        label, by_label = rounded_scores(bundle.labels, scores)
        named = {f"score_{each}": score for each, score in by_label.items()}
        labels = applying(bundle.head, by_label)
        several = {} if labels is None else {"labels": labels}
        return {"label": label, "score": by_label[label], **several, **named}
