"""Which job's chunk is next, and when a job will be done. Pure: knows no database.

Priorities share the engines by weight (stride scheduling, Waldspurger 1995): each has a
pass that rises by ``texts / weight`` with every turn, and the lowest pass is next. Within
a priority jobs take turns, the longest waiting first. A job that waits long for a turn
counts as one priority higher, and again, so that nothing starves.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from deployments.jobs.records import PRIORITIES, JobBacklog, Priority, Waiting

WEIGHTS: Mapping[Priority, int] = {"high": 16, "medium": 4, "low": 1}


class StrideScheduler:
    """Chooses the next job. Keeps the passes; a restart begins with equal ones."""

    def __init__(self, ageing_s: float) -> None:
        self._ageing_s = ageing_s
        self._passes: dict[Priority, float] = dict.fromkeys(PRIORITIES, 0.0)
        self._virtual = 0.0

    def pick(self, waiting: Sequence[Waiting], now_s: float) -> Waiting:
        """One of ``waiting``, which is not empty; its turn is counted."""
        ranks: dict[Priority, list[Waiting]] = {}
        for job in waiting:
            ranks.setdefault(self.rank(job, now_s), []).append(job)
        for rank in ranks:
            # A priority that had no jobs has not saved up turns.
            self._passes[rank] = max(self._passes[rank], self._virtual)
        rank = min(ranks, key=lambda rank: (self._passes[rank], PRIORITIES.index(rank)))
        chosen = min(ranks[rank], key=lambda job: (job.since_s, job.job_id))
        self._virtual = self._passes[rank]
        self._passes[rank] += chosen.texts / WEIGHTS[rank]
        return chosen

    def rank(self, job: Waiting, now_s: float) -> Priority:
        """The priority that a job counts as."""
        risen = int(max(0.0, now_s - job.since_s) / self._ageing_s)
        return PRIORITIES[max(0, PRIORITIES.index(job.priority) - risen)]


class Throughput:
    """Texts per second that jobs really get, over the last minute in which any ran."""

    def __init__(self, window_s: float = 60.0) -> None:
        self._window_s = window_s
        self._spans: list[tuple[float, float, int]] = []

    def add(self, started_s: float, ended_s: float, texts: int) -> None:
        """A chunk was under way from ``started_s`` to ``ended_s``."""
        self._spans.append((started_s, ended_s, texts))
        oldest_s = ended_s - self._window_s
        self._spans = [span for span in self._spans if span[1] >= oldest_s]

    @property
    def texts_per_s(self) -> float | None:
        """None before a chunk has ended."""
        busy_s = _covered(self._spans)
        return sum(texts for *_, texts in self._spans) / busy_s if busy_s > 0 else None


def _covered(spans: Iterable[tuple[float, float, int]]) -> float:
    """Length of the union of the spans."""
    total = 0.0
    reached = float("-inf")
    for start, end, _ in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def seconds_left(
    job_id: str, backlog: Sequence[JobBacklog], texts_per_s: float | None
) -> float | None:
    """Returns when a job will be done if nothing else comes: shares by weight.

    The fluid limit of the schedule (generalised processor sharing, Parekh and Gallager 1993),
    without ageing. Jobs of a priority share it evenly, so until this one is done each of them has
    had as many texts as it, if it has so many; and each other priority has had its weight's
    share, if it has so much.

    Args:
        job_id: The job that is estimated.
        backlog: What is left of every open job, this one included.
        texts_per_s: Of all jobs together; None when nothing was measured yet.

    Returns:
        Seconds, or None when nothing is known: no throughput, or no such job.
    """
    mine = next((job for job in backlog if job.job_id == job_id), None)
    if mine is None or not texts_per_s:
        return None
    left: Counter[Priority] = Counter()
    for job in backlog:
        left[job.priority] += job.texts
    beside = sum(min(job.texts, mine.texts) for job in backlog if job.priority == mine.priority)
    by_weight = beside / WEIGHTS[mine.priority]
    return sum(min(left[rank], WEIGHTS[rank] * by_weight) for rank in left) / texts_per_s
