"""Routes of explanations below ``/api/v1/monitoring``."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import HTMLResponse

from deployments.asgi.schemas import ErrorBody
from deployments.insight.explanations.page import HEADERS, page
from deployments.insight.explanations.schemas import ExplainRequest, Explanation

if TYPE_CHECKING:
    from deployments.insight.explanations.explainer import Explainer

Deadline = Annotated[
    int | None,
    Header(
        alias="X-Deadline-Ms",
        ge=1,
        le=60_000,
        description="Milliseconds after which the answer is worthless.",
    ),
]
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody} for status in (429, 503, 504)
}
_HTML: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/html": {"schema": {"type": "string"}}}}
}


def add_explanation_routes(api: APIRouter, explainer: "Callable[[], Explainer]") -> None:
    """Adds the routes."""

    @api.post("/explain", responses=_ERRORS)
    async def explain(body: ExplainRequest, x_deadline_ms: Deadline = None) -> Explanation:
        """Which words made the champion's answer to a text, and how much each."""
        return await explainer().explain(body, x_deadline_ms)

    @api.post("/explain/html", response_class=HTMLResponse, responses=_HTML | _ERRORS)
    async def explain_html(body: ExplainRequest, x_deadline_ms: Deadline = None) -> HTMLResponse:
        """The same as one HTML page without scripts."""
        found = await explainer().explain(body, x_deadline_ms)
        return HTMLResponse(page(found), headers=HEADERS)
