"""Whether there is room for one more job beside the open ones. Pure."""

from collections.abc import Sequence

from configs.schema.jobs import JobsConfig
from deployments.errors import BatchTooLarge, Overloaded
from deployments.jobs.records import PRIORITIES, JobBacklog, Priority

_RETRY_AFTER_S = 30


def check_capacity(
    config: JobsConfig, priority: Priority, texts: int, backlog: Sequence[JobBacklog]
) -> None:
    """Refuses a job that does not fit.

    Args:
        config: How many of what may be open.
        priority: The job's.
        texts: Its texts.
        backlog: Every open job.

    Raises:
        Overloaded: There is no room.
    """
    mine = sum(job.priority == priority for job in backlog)
    left = sum(job.texts for job in backlog)
    most = dict(zip(PRIORITIES, (config.max_high, config.max_medium, config.max_low), strict=True))[
        priority
    ]
    if len(backlog) >= config.max_jobs:
        raise _full(f"{len(backlog)} jobs are open")
    if mine >= most:
        raise _full(f"{mine} jobs of priority {priority} are open")
    if left + texts > config.max_queued_texts:
        raise _full(f"{left} texts are waiting")


def check_bytes(config: JobsConfig, job_bytes: int, stored_bytes: int) -> None:
    """Refuses texts that take too much space.

    Args:
        config: How many bytes a job may have, and all of them.
        job_bytes: The job's, so far.
        stored_bytes: Those of all jobs, this one included.

    Raises:
        BatchTooLarge: The job has more than one may have.
        Overloaded: All jobs together have.
    """
    if job_bytes > config.max_job_bytes:
        raise BatchTooLarge(
            f"texts of more than the {config.max_job_bytes} bytes that one job may have",
            {"max_job_bytes": config.max_job_bytes},
        )
    if stored_bytes > config.max_stored_bytes:
        raise _full("the space for jobs is used up")


def _full(why: str) -> Overloaded:
    return Overloaded(
        f"{why} and one more does not fit; try again in {_RETRY_AFTER_S} s",
        {"retry_after_s": _RETRY_AFTER_S},
    )
