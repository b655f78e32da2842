"""Whether there is room for one more job beside the open ones. Pure."""

import math
from collections.abc import Sequence

from configs.schema.jobs import JobsConfig
from deployments.errors import BatchTooLarge, Overloaded
from deployments.jobs.records import PRIORITIES, JobBacklog, Priority

_RETRY_AFTER_S, _MOST_RETRY_AFTER_S = 30, 3_600


def check_capacity(
    config: JobsConfig,
    priority: Priority,
    texts: int,
    backlog: Sequence[JobBacklog],
    owner: str = "",
) -> None:
    """Refuses a job that does not fit.

    Args:
        config: How many of what may be open, and which part of it may be one caller's.
        priority: The job's.
        texts: Its texts.
        backlog: Every open job.
        owner: The caller; empty where callers are not known, and then all may be one's.

    Raises:
        Overloaded: There is no room.
    """
    _check_room(config, priority, texts, backlog, share=1.0, whose="")
    if owner:
        own = [job for job in backlog if job.owner == owner]
        share = config.max_caller_share
        _check_room(config, priority, texts, own, share=share, whose=" of this caller")


def _check_room(
    config: JobsConfig,
    priority: Priority,
    texts: int,
    backlog: Sequence[JobBacklog],
    *,
    share: float,
    whose: str,
) -> None:
    mine = sum(job.priority == priority for job in backlog)
    left = sum(job.texts for job in backlog)
    by_priority = (config.max_high, config.max_medium, config.max_low)
    most = dict(zip(PRIORITIES, by_priority, strict=True))[priority]
    if len(backlog) >= max(1, config.max_jobs * share):
        raise _full(f"{len(backlog)} jobs{whose} are open")
    if mine >= max(1, most * share):
        raise _full(f"{mine} jobs{whose} of priority {priority} are open")
    # A first job is taken whatever its size, if it fits at all.
    if left + texts > config.max_queued_texts * (share if backlog else 1.0):
        raise _full(f"{left} texts{whose} are waiting")


class SpaceUsedUp(Exception):
    """A job's bytes do not fit: in all of the space, or in its caller's part of it.

    Attributes:
        owner: That caller; empty where it is all of the space.
    """

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        self.owner = owner


def check_bytes(
    job_bytes: int,
    stored_bytes: int,
    own_bytes: int | None = None,
    *,
    config: JobsConfig,
    owner: str,
) -> None:
    """Refuses texts that take too much space. Asks nothing: it is called in a transaction.

    Args:
        job_bytes: The job's, so far.
        stored_bytes: Those of all jobs, this one included.
        own_bytes: Those of the caller's jobs; None where callers are not known.
        config: How many bytes a job may have, all of them, and those of one caller.
        owner: The caller, or empty.

    Raises:
        BatchTooLarge: The job has more than one may have.
        SpaceUsedUp: All jobs together have, or all of the caller's.
    """
    if job_bytes > config.max_job_bytes:
        raise BatchTooLarge(
            f"texts of more than the {config.max_job_bytes} bytes that one job may have",
            {"max_job_bytes": config.max_job_bytes},
        )
    if stored_bytes > config.max_stored_bytes:
        raise SpaceUsedUp("")
    share = max(config.max_job_bytes, config.max_stored_bytes * config.max_caller_share)
    if own_bytes is not None and own_bytes > share:
        raise SpaceUsedUp(owner)


def no_space(config: JobsConfig, owner: str, first_end_s: float | None, now_s: float) -> Overloaded:
    """The refusal: it says when the next job that has ended is deleted.

    Args:
        config: How long results are kept.
        owner: See ``SpaceUsedUp``.
        first_end_s: See ``JobStore.first_end_s``; None makes the time a guess.
        now_s: Unix time.
    """
    part = "this caller's part of " if owner else ""
    why = f"{part}the space for jobs is used up"
    if first_end_s is None:
        return _full(why)
    gone_s = first_end_s + config.result_ttl_s + config.cleanup_interval_s
    return _full(why, min(max(1, math.ceil(gone_s - now_s)), _MOST_RETRY_AFTER_S))


def _full(why: str, retry_after_s: int = _RETRY_AFTER_S) -> Overloaded:
    return Overloaded(
        f"{why} and one more does not fit; try again in {retry_after_s} s",
        {"retry_after_s": retry_after_s},
    )
