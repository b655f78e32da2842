"""Answers to review: the next one, a reviewer's word, labels from and for files, live accuracy."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from sentigraph_client._call import AsyncResource, Call, SyncResource, given, operation
from sentigraph_client._models import ImportReceipt, LabelQueue, LabelReceipt, LiveAccuracy

Format = Literal["jsonl", "csv", "parquet", "label-studio"]
_LABELS = "/api/v1/monitoring/labels"


class _Reviews:
    @operation("next_label")
    def next(self, *, show_prediction: bool = False, model: str | None = None) -> Call[LabelQueue]:
        """The next answer to judge, leased to the caller; its ``task`` is None when none waits."""
        query = given(show_prediction=show_prediction, model=model)
        return Call("GET", f"{_LABELS}/next", LabelQueue, query=query)

    @operation("review_label")
    def review(self, prediction_id: str, label: str, *, comment: str = "") -> Call[LabelReceipt]:
        """A reviewer's word on an answer."""
        body = {"prediction_id": prediction_id, "label": label, "comment": comment}
        return Call("POST", _LABELS, LabelReceipt, json=body, repeatable=True)

    @operation("import_labels")
    def take(
        self,
        labels: Iterable[Mapping[str, str]] = (),
        *,
        label_studio: Iterable[Mapping[str, Any]] = (),
    ) -> Call[ImportReceipt]:
        """Labels made elsewhere; repeated rows change nothing.

        Args:
            labels: Each with ``prediction_id``, ``label`` and, if any, ``comment``.
            label_studio: Annotated tasks, as Label Studio exports them.
        """
        body = {"labels": list(labels), "label_studio": list(label_studio)}
        return Call("POST", f"{_LABELS}/import", ImportReceipt, json=body, repeatable=True)

    @operation("export_labels")
    def export(
        self,
        *,
        format: Format = "jsonl",
        waiting: bool = False,
        model_digest: str | None = None,
    ) -> Call[bytes]:
        """Labelled answers as a file, or those that wait for review."""
        query = {"format": format, "waiting": waiting, **given(model_digest=model_digest)}
        return Call("GET", f"{_LABELS}/export", bytes, query=query)

    @operation("live_accuracy")
    def accuracy(self, *, model_digest: str | None = None) -> Call[LiveAccuracy]:
        """How often answers are right, by those that were drawn at random and judged."""
        query = given(model_digest=model_digest)
        return Call("GET", "/api/v1/monitoring/accuracy", LiveAccuracy, query=query)


class Reviews(_Reviews, SyncResource):
    """Review, for the sync client."""


class AsyncReviews(_Reviews, AsyncResource):
    """Review, for the async client."""
