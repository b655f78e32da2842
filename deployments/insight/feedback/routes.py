"""Routes of review and live accuracy below ``/api/v1/monitoring``."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from deployments.asgi.schemas import ErrorBody
from deployments.insight.feedback.schemas import (
    ImportReceipt,
    LabelImport,
    LabelQueue,
    LabelReceipt,
    LiveAccuracy,
    ReviewRequest,
)
from deployments.insight.model_name import ModelName, named
from deployments.payloads import Correction

if TYPE_CHECKING:
    # The ingress has these routes in its document, and no database.
    from deployments.insight.feedback.desk import FeedbackDesk

Format = Literal["jsonl", "csv", "parquet", "label-studio"]
Actor = Annotated[str, Header(alias="X-Actor", max_length=255, include_in_schema=False)]
Digest = Annotated[
    str | None,
    Query(
        alias="model_digest",
        pattern="^[0-9a-f]{64}$",
        description="The version; the champion by default.",
    ),
]
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": ErrorBody}}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}
}


def add_feedback_routes(
    api: APIRouter,
    desk: "Callable[[], FeedbackDesk]",
    champion: Callable[[], str],
    served: Callable[[], str],
    reviewed: Callable[[str, str], None],
) -> None:
    """Adds the routes.

    Args:
        api: The router of ``/api/v1/monitoring``.
        desk: What does the work.
        champion: Digest of the version that is meant when none is named.
        served: Name of the model that is meant when none is named.
        reviewed: Called with an answer's id and label that releases may count.
    """

    @api.get("/labels/next")
    async def next_label(
        show_prediction: Annotated[
            bool, Query(description="Show the model's label; it sways who sees it.")
        ] = False,
        model: ModelName = None,
        x_actor: Actor = "",
    ) -> LabelQueue:
        """The next answer to judge, leased to the caller for a while."""
        name = await named(model, served(), desk().check_name)
        return await asyncio.to_thread(desk().next, x_actor, name, show=show_prediction)

    @api.post("/labels", status_code=201, responses=_UNKNOWN)
    async def review_label(body: ReviewRequest, x_actor: Actor = "") -> LabelReceipt:
        """A reviewer's word on an answer, drawn or not."""
        said = Correction(body.prediction_id, body.label, x_actor, body.comment)
        receipt = await asyncio.to_thread(desk().review, said)
        if not receipt.again:
            reviewed(body.prediction_id, body.label)
        return receipt

    @api.post("/labels/import")
    async def import_labels(body: LabelImport, x_actor: Actor = "") -> ImportReceipt:
        """Takes labels made elsewhere; repeated rows change nothing."""
        from deployments.insight.feedback.exports import from_label_studio  # noqa: PLC0415

        rows = [*body.labels, *from_label_studio(body.label_studio)]
        return await asyncio.to_thread(desk().take, rows, x_actor)

    @api.get("/labels/export", response_class=StreamingResponse, responses=_FILE)
    async def export_labels(
        form: Annotated[Format, Query(alias="format", description="Of the file.")] = "jsonl",
        waiting: Annotated[
            bool, Query(description="Those that wait for review, instead of those with a label.")
        ] = False,
        model_digest: Digest = None,
    ) -> StreamingResponse:
        """Labelled answers as a file; texts only of those that were drawn."""
        from deployments.insight.feedback.exports import MEDIA_TYPES, export  # noqa: PLC0415

        digest = model_digest or champion()
        rows = await asyncio.to_thread(desk().rows, digest, waiting=waiting)
        return StreamingResponse(export(rows, form), media_type=MEDIA_TYPES[form])

    @api.get("/accuracy")
    async def live_accuracy(model_digest: Digest = None) -> LiveAccuracy:
        """How often answers are right, by those that were drawn at random and judged."""
        return await asyncio.to_thread(desk().accuracy, model_digest or champion())
