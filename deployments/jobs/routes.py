"""Routes of batch jobs below ``/api/v1/batch``, and the application that answers them.

It runs in the Jobs deployment, behind ``asgi/proxy.py``. The ingress builds it as well, for its
OpenAPI document only.
"""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.routing import BaseRoute

from configs.schema.app import AppConfig
from deployments.asgi.error_handlers import add_error_handlers
from deployments.asgi.json_body import PLAIN_BODY
from deployments.asgi.operation_ids import operation_id
from deployments.asgi.schemas import PREFIX
from deployments.jobs.forms import UPLOAD, upload_form
from deployments.jobs.records import OPEN, Job, JobBacklog, JobOptions, JobView, utc
from deployments.jobs.result_files import TYPES, Format
from deployments.jobs.schemas import (
    JobAccepted,
    JobCancelled,
    JobFigures,
    JobRequest,
    JobResults,
    JobStatus,
    JobSummary,
    Queue,
    QueueState,
)

if TYPE_CHECKING:
    # The ingress has these routes in its document, and no database.
    from deployments.jobs.job_queue import JobQueue

BATCH = f"{PREFIX}/batch"
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Of the caller's choice: a submission with a known key is the job it made.",
    ),
]
Guarded = Annotated[
    bool,
    Query(
        description="In CSV, an apostrophe before texts that a spreadsheet would take for formulas."
    ),
]
Owner = Annotated[str, Header(alias="X-Actor", max_length=255, include_in_schema=False)]
_NEW: dict[int | str, dict[str, Any]] = {
    200: {"model": JobAccepted, "description": "Known already."}
}


def build_jobs_app(jobs: "Callable[[], JobQueue]", *, owned: bool) -> FastAPI:
    """The application of all routes below ``BATCH``.

    Args:
        jobs: Returns what does the work.
        owned: Whether callers are known, and see their own jobs alone.
    """
    app = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
        dependencies=[PLAIN_BODY],
    )
    api = APIRouter(prefix=BATCH, tags=["batch"])
    _add_submitting(api, jobs, owned)
    _add_showing(api, jobs, owned)
    app.include_router(api)
    add_error_handlers(app)
    return app


def batch_routes(_config: AppConfig) -> list[BaseRoute]:
    """The routes for the OpenAPI document; nothing is opened for them."""

    def no_queue() -> "JobQueue":
        raise AssertionError("these routes are documented here and answered elsewhere")

    return build_jobs_app(no_queue, owned=False).routes


def _add_submitting(api: APIRouter, jobs: "Callable[[], JobQueue]", owned: bool) -> None:
    @api.post("/predict", status_code=202, responses=_NEW)
    async def submit_job(
        body: JobRequest,
        response: Response,
        idempotency_key: IdempotencyKey = None,
        x_actor: Owner = "",
    ) -> JobAccepted:
        """Takes texts to be classified in the background."""
        options = _options(body, x_actor if owned else "", idempotency_key)
        view, is_new = await jobs().submit(options, body.texts)
        response.status_code = 202 if is_new else 200
        return JobAccepted(**_accepted(view))

    @api.post("/files", status_code=202, responses=_NEW, openapi_extra=UPLOAD)
    async def upload_job(
        request: Request,
        response: Response,
        idempotency_key: IdempotencyKey = None,
        x_actor: Owner = "",
    ) -> JobAccepted:
        """Takes a CSV, JSON lines or Parquet file whose texts are classified in the background."""
        async with upload_form(request) as form:
            options = _options(form.body, x_actor if owned else "", idempotency_key)
            view, is_new = await jobs().upload(
                options, form.file, form.filename, form.column, form.prefix
            )
        response.status_code = 202 if is_new else 200
        return JobAccepted(**_accepted(view))

    @api.delete("/jobs/{job_id}")
    async def cancel_job(job_id: str, x_actor: Owner = "") -> JobCancelled:
        """Ends a job; what was classified by then is kept."""
        await jobs().cancel(job_id, x_actor if owned else "")
        return JobCancelled(message="the job was cancelled", job_id=job_id, status="cancelled")


def _add_showing(api: APIRouter, jobs: "Callable[[], JobQueue]", owned: bool) -> None:
    @api.get("/status/{job_id}")
    async def job_status(job_id: str, x_actor: Owner = "") -> JobStatus:
        """How far a job is, and when it will be done."""
        view = await jobs().show(job_id, x_actor if owned else "")
        job = view.job
        return JobStatus(
            **_accepted(view),
            processed_texts=job.done_texts,
            failed_texts=job.failed_texts,
            retried_texts=job.retried_texts,
            started_at=utc(job.started_s),
            completed_at=utc(job.ended_s),
            error=job.error or None,
        )

    @api.get("/results/{job_id}")
    async def job_results(
        job_id: str,
        page: Annotated[int, Query(ge=1, le=1_000_000_000)] = 1,
        page_size: Annotated[int, Query(ge=1, le=1_000)] = 100,
        x_actor: Owner = "",
    ) -> JobResults:
        """Results by page, while the job goes on too."""
        found = await jobs().page(job_id, x_actor if owned else "", page, page_size)
        return JobResults(
            job_id=job_id,
            status=found.job.state,
            results=found.results,
            total_results=found.ready,
            page=page,
            page_size=page_size,
            has_more=page * page_size < found.ready,
            summary=_summary(found.job),
        )

    @api.get("/results/{job_id}/file", response_class=Response)
    async def job_results_file(
        job_id: str,
        format: Format = "jsonl",
        guarded: Guarded = False,
        x_actor: Owner = "",
    ) -> StreamingResponse:
        """All results of a job that has ended, as a file: what a row had, then what is added."""
        owner = x_actor if owned else ""
        pieces = await jobs().file(job_id, owner, format, guarded=guarded)
        name = f"attachment; filename={job_id}.{format}"
        return StreamingResponse(
            pieces, media_type=TYPES[format], headers={"content-disposition": name}
        )

    @api.get("/metrics")
    async def job_metrics() -> JobFigures:
        """Figures of all jobs that are kept."""
        counts = await jobs().counts()
        seconds, texts = await jobs().averages()
        ended = sum(counts.get(state, 0) for state in ("completed", "failed", "expired"))
        done = counts.get("completed", 0)
        return JobFigures(
            total_jobs=sum(counts.values()),
            active_jobs=counts.get("processing", 0),
            completed_jobs=done,
            failed_jobs=counts.get("failed", 0),
            average_processing_time_seconds=seconds,
            average_throughput_tps=jobs().texts_per_s,
            queue_size=sum(counts.get(state, 0) for state in OPEN),
            average_batch_size=texts,
            processing_efficiency=100 * done / ended if ended else None,
        )

    @api.get("/queue/status")
    async def job_queue() -> QueueState:
        """Jobs that wait or are under way."""
        return QueueState(
            queues=_queue(await jobs().backlog()),
            timestamp=datetime.now(UTC),
            service_status="active",
        )


def _options(body: JobRequest, owner: str, idempotency_key: str | None) -> JobOptions:
    return JobOptions(
        owner=owner,
        priority=body.priority,
        max_batch_size=body.max_batch_size,
        timeout_seconds=body.timeout_seconds,
        webhook_url=body.webhook_url,
        idempotency_key=idempotency_key,
    )


def _accepted(view: JobView) -> dict[str, Any]:
    job = view.job
    return {
        "job_id": job.id,
        "status": job.state,
        "total_texts": job.total_texts,
        "estimated_completion_seconds": None if view.left_s is None else round(view.left_s, 1),
        "created_at": utc(job.created_s),
        "priority": job.priority,
        "progress_percentage": round(100 * job.done_texts / max(1, job.total_texts), 2),
    }


def _summary(job: Job) -> JobSummary:
    good = job.done_texts - job.failed_texts
    return JobSummary(
        total_texts=job.total_texts,
        successful_predictions=good,
        failed_predictions=job.failed_texts,
        success_rate=good / max(1, job.done_texts),
    )


def _queue(backlog: list[JobBacklog]) -> Queue:
    jobs, texts = Counter[str](), Counter[str]()
    for job in backlog:
        jobs[f"{job.priority}_priority"] += 1
        texts[f"{job.priority}_priority_texts"] += job.texts
    none = dict.fromkeys((name for name in Queue.model_fields if name != "total"), 0)
    return Queue(total=len(backlog), **{**none, **jobs, **texts})
