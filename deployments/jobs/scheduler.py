"""Which job's chunk is next, and when a job will be done. Pure: knows no database.

Callers share the engines alike, and a caller's priorities share its part by weight (stride
scheduling, Waldspurger 1995): each has a pass that rises by ``texts / weight`` with every turn,
and the lowest pass is next. So a priority is a caller's word about its own jobs. Within a
priority jobs take turns, the longest waiting first. A job that waits long for a turn counts as
one priority higher, and again, so that nothing starves. Where access is open, all are one caller.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from deployments.jobs.records import PRIORITIES, JobBacklog, Priority, Waiting

WEIGHTS: Mapping[Priority, int] = {"high": 16, "medium": 4, "low": 1}


Name = TypeVar("Name")


class _Passes(Generic[Name]):
    """Passes of those that take turns; only of those that wait now, so they do not pile up."""

    def __init__(self) -> None:
        self._passes: dict[Name, float] = {}
        self._virtual = 0.0

    def next(self, waiting: Iterable[Name]) -> Name:
        """The lowest pass, the first of several."""
        # One that had no jobs has not saved up turns.
        self._passes = {
            name: max(self._passes.get(name, 0.0), self._virtual) for name in waiting
        } | {name: value for name, value in self._passes.items() if value > self._virtual}
        chosen = min(waiting, key=self._passes.__getitem__)
        self._virtual = self._passes[chosen]
        return chosen

    def served(self, name: Name, cost: float) -> None:
        """It had its turn."""
        self._passes[name] += cost


class StrideScheduler:
    """Chooses the next job. Keeps the passes; a restart begins with equal ones."""

    def __init__(self, ageing_s: float) -> None:
        self._ageing_s = ageing_s
        self._callers = _Passes[str]()
        self._ranks: dict[str, _Passes[Priority]] = {}

    def pick(self, waiting: Sequence[Waiting], now_s: float) -> Waiting:
        """One of ``waiting``, which is not empty; its turn is counted."""
        by_caller: dict[str, dict[Priority, list[Waiting]]] = {}
        for job in waiting:
            ranks = by_caller.setdefault(job.owner, {})
            ranks.setdefault(self.rank(job, now_s), []).append(job)
        caller = self._callers.next(sorted(by_caller))
        self._ranks = {name: self._ranks.get(name, _Passes()) for name in by_caller}
        ranks, passes = by_caller[caller], self._ranks[caller]
        rank = passes.next(sorted(ranks, key=PRIORITIES.index))
        chosen = min(ranks[rank], key=lambda job: (job.since_s, job.job_id))
        self._callers.served(caller, chosen.texts)
        passes.served(rank, chosen.texts / WEIGHTS[rank])
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
    share, if it has so much. Other callers have had as much as all that, if they have so much.

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
    others: Counter[str] = Counter()
    own = [job for job in backlog if job.owner == mine.owner]
    for job in own:
        left[job.priority] += job.texts
    for job in backlog:
        others[job.owner] += job.texts * (job.owner != mine.owner)
    beside = sum(min(job.texts, mine.texts) for job in own if job.priority == mine.priority)
    by_weight = beside / WEIGHTS[mine.priority]
    before = sum(min(left[rank], WEIGHTS[rank] * by_weight) for rank in left)
    return (before + sum(min(texts, before) for texts in others.values())) / texts_per_s
