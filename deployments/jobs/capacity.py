"""Whether there is room for one more job beside the open ones. Pure."""

from collections.abc import Sequence

from configs.schema.jobs import JobsConfig
from deployments.errors import Overloaded
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
    for is_full, why in (
        (len(backlog) >= config.max_jobs, f"{len(backlog)} jobs are open"),
        (mine >= most, f"{mine} jobs of priority {priority} are open"),
        (left + texts > config.max_queued_texts, f"{left} texts are waiting"),
    ):
        if is_full:
            raise Overloaded(
                f"{why} and one more does not fit; try again in {_RETRY_AFTER_S} s",
                {"retry_after_s": _RETRY_AFTER_S},
            )
