"""Batch jobs: submit or upload, wait, read results, download them as a file."""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from sentigraph_client._call import (
    AsyncResource,
    Call,
    Flow,
    Operation,
    Sleep,
    SyncResource,
    Upload,
    filled,
    given,
    operation,
)
from sentigraph_client._models import (
    JobAccepted,
    JobCancelled,
    JobFigures,
    JobItem,
    JobResults,
    JobStatus,
    QueueState,
)
from sentigraph_client.errors import JobTimeout

Priority = Literal["high", "medium", "low"]
Format = Literal["jsonl", "csv", "parquet"]
_OPEN = ("receiving", "pending", "processing")
_FIRST_POLL_S, _LONGEST_POLL_S = 0.2, 10.0
_FILE_TIMEOUT_S = 600.0


class _Jobs:
    @operation("submit_job")
    def submit(
        self,
        texts: Sequence[str],
        *,
        priority: Priority | None = None,
        max_batch_size: int | None = None,
        timeout_seconds: int | None = None,
        webhook_url: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[JobAccepted]:
        """Has texts classified in the background.

        Args:
            texts: Each may fail on its own.
            priority: Share of the engines.
            max_batch_size: Texts that are stored together.
            timeout_seconds: Not ended by then, the job expires.
            webhook_url: Called when the job has ended; see ``webhooks.verify``.
            idempotency_key: A submission with a known key is the job it made; a new one if not
                given, so that the tries of this call make one job.
        """
        body = _options(priority, max_batch_size, timeout_seconds, webhook_url)
        return Call(
            "POST",
            "/api/v1/batch/predict",
            JobAccepted,
            json={"texts": list(texts), **body},
            headers={"Idempotency-Key": idempotency_key},
            keyed=True,
        )

    @operation("upload_job")
    def upload(
        self,
        file: str | Path,
        *,
        text_column: str | None = None,
        prefix: str | None = None,
        priority: Priority | None = None,
        max_batch_size: int | None = None,
        timeout_seconds: int | None = None,
        webhook_url: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[JobAccepted]:
        """Has the texts of a CSV, JSON lines or Parquet file classified; see ``submit``.

        Args:
            file: Also CSV or JSON lines that end in ``.gz`` or ``.zst``.
            text_column: Column or field of the text.
            prefix: Before the names of what is added to its rows in a downloaded file.
            priority: As the rest, see ``submit``.
        """
        fields = _options(priority, max_batch_size, timeout_seconds, webhook_url)
        form = {name: str(value) for name, value in fields.items()}
        return Call(
            "POST",
            "/api/v1/batch/files",
            JobAccepted,
            upload=Upload(Path(file), form | given(text_column=text_column, prefix=prefix)),
            headers={"Idempotency-Key": idempotency_key},
            keyed=True,
            timeout_s=_FILE_TIMEOUT_S,
        )

    @operation("job_status")
    def status(self, job_id: str) -> Call[JobStatus]:
        """How far a job is."""
        return _status(job_id)

    @operation("cancel_job")
    def cancel(self, job_id: str) -> Call[JobCancelled]:
        """Ends a job; what was classified by then is kept."""
        return Call("DELETE", filled("/api/v1/batch/jobs/{}", job_id), JobCancelled)

    @operation("job_results")
    def results(self, job_id: str, *, page: int = 1, page_size: int = 100) -> Call[JobResults]:
        """A page of results; they can be read while the job goes on."""
        return Call(
            "GET",
            filled("/api/v1/batch/results/{}", job_id),
            JobResults,
            query={"page": page, "page_size": page_size},
        )

    @operation("job_results_file")
    def download(
        self, job_id: str, into: str | Path, *, format: Format = "jsonl", guarded: bool = False
    ) -> Call[Path]:
        """Writes all results of a job that has ended into a file; its path.

        Args:
            job_id: Which.
            into: The file.
            format: Of the file.
            guarded: In CSV, an apostrophe before what a spreadsheet would take for a formula.
        """
        return Call(
            "GET",
            filled("/api/v1/batch/results/{}/file", job_id),
            Path,
            query={"format": format, "guarded": "true" if guarded else None},
            into=Path(into),
            timeout_s=_FILE_TIMEOUT_S,
        )

    @operation("job_metrics")
    def figures(self) -> Call[JobFigures]:
        """Figures of all jobs that are kept."""
        return Call("GET", "/api/v1/batch/metrics", JobFigures)

    @operation("job_queue")
    def queue(self) -> Call[QueueState]:
        """Jobs that wait or are under way."""
        return Call("GET", "/api/v1/batch/queue/status", QueueState)

    @Operation
    def wait(
        self,
        job_id: str,
        *,
        timeout_s: float | None = None,
        on_status: Callable[[JobStatus], None] = lambda _: None,
    ) -> Flow[JobStatus]:
        """Waits until a job has ended: completed, failed, cancelled or expired.

        Args:
            job_id: Of the job.
            timeout_s: None waits for as long as it takes.
            on_status: Called with each status that was read.

        Raises:
            JobTimeout: It goes on.
        """
        ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s = _FIRST_POLL_S
        while True:
            status: JobStatus = yield _status(job_id)
            on_status(status)
            if status.status not in _OPEN:
                return status
            if ends_s is not None and time.monotonic() + pause_s > ends_s:
                raise JobTimeout(f"job {job_id} is {status.status} after {timeout_s} s")
            yield Sleep(pause_s)
            pause_s = min(_LONGEST_POLL_S, pause_s * 1.5)


class Jobs(_Jobs, SyncResource):
    """Jobs of the sync client."""

    def iter_results(self, job_id: str, *, page_size: int = 1_000) -> Iterator[JobItem]:
        """All results there are, in the order of the texts; pages are read as they are needed."""
        page = 1
        while True:
            found = self.results(job_id, page=page, page_size=page_size)
            yield from found.results
            if not found.has_more:
                return
            page += 1


class AsyncJobs(_Jobs, AsyncResource):
    """Jobs of the async client."""

    async def iter_results(self, job_id: str, *, page_size: int = 1_000) -> AsyncIterator[JobItem]:
        """See ``Jobs.iter_results``."""
        page = 1
        while True:
            found = await self.results(job_id, page=page, page_size=page_size)
            for item in found.results:
                yield item
            if not found.has_more:
                return
            page += 1


def _status(job_id: str) -> Call[JobStatus]:
    return Call("GET", filled("/api/v1/batch/status/{}", job_id), JobStatus)


def _options(
    priority: Priority | None,
    max_batch_size: int | None,
    timeout_seconds: int | None,
    webhook_url: str | None,
) -> dict[str, Any]:
    return given(
        priority=priority,
        max_batch_size=max_batch_size,
        timeout_seconds=timeout_seconds,
        webhook_url=webhook_url,
    )
