"""What the routes ask of feedback. Every method blocks: use a thread.

Correction ─┐
review ─────┼─▶ id read, label checked ─▶ event ─▶ label ─▶ accuracy, releases
import ─────┘
"""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import orjson

from configs.schema.feedback import FeedbackConfig
from deployments.errors import InvalidInput, UnknownPrediction
from deployments.insight.errors import NothingToReview, NotWatched
from deployments.insight.feedback.accuracy import combined, lost
from deployments.insight.feedback.actors import actor_bodies, digest_of
from deployments.insight.feedback.answers import JudgedAnswers
from deployments.insight.feedback.exports import rows_of
from deployments.insight.feedback.labels import Source
from deployments.insight.feedback.queue import ReviewQueue
from deployments.insight.feedback.schemas import (
    AccuracyDay,
    AccuracyRange,
    ImportReceipt,
    LabelQueue,
    LabelReceipt,
    LabelTask,
    LiveAccuracy,
    ReviewRequest,
)
from deployments.insight.feedback.store import FeedbackStore, KnownVersion
from deployments.payloads import AGAIN, Correction, FeedbackRecord, FeedbackResult

_DAY_S = 86_400.0
_CHART_DAYS = 90
_COMPLETE = 0.7
# How often each kind comes first; where none of it waits, the others follow.
_PARTS = {"random": 0.5, "margin": 0.375, "conflict": 0.125}


class FeedbackDesk:
    """Keeps nothing in memory: all state is in the store."""

    def __init__(
        self,
        config: FeedbackConfig,
        store: FeedbackStore,
        queue: ReviewQueue,
        clock: Callable[[], float] = time.time,
        chance: random.Random | None = None,
    ) -> None:
        self._config = config
        self._store = store
        self._queue = queue
        self._clock = clock
        self._answers = JudgedAnswers(config, store, clock)
        self._chance = chance or random.Random()  # noqa: S311  (which kind comes next)

    def correct(self, said: Correction) -> FeedbackResult | None:
        """Takes a caller's word; None when no answer of that id can be judged."""
        try:
            found, version = self._answers.find(said.prediction_id)
        except UnknownPrediction:
            return None
        try:
            event, predicted = self._answers.event(said, "caller", found, version)
        except InvalidInput:
            return FeedbackResult(version.version, version.labels, None, False)
        _, new = self._store.add(event, predicted, found.at_s)
        return FeedbackResult(
            version.version,
            version.labels,
            event.label == predicted,
            again=not new,
            not_counted="" if new else AGAIN,
        )

    def review(self, said: Correction) -> LabelReceipt:
        """Takes a reviewer's word.

        Raises:
            UnknownPrediction: No answer of that id can be judged.
            InvalidInput: The version has no such label.
        """
        found, version = self._answers.find(said.prediction_id)
        event, predicted = self._answers.event(said, "reviewer", found, version)
        label, new = self._store.add(event, predicted, found.at_s)
        return LabelReceipt(
            prediction_id=event.prediction_id,
            label=label.label,
            status=label.status,
            predicted=predicted,
            correct=label.label == predicted,
            again=not new,
        )

    def counts_for_releases(self, source: Source) -> bool:
        """Whether candidates are judged by it: where answers are drawn, by reviewers alone."""
        return source != "caller" or not self._config.audit_share

    def next(self, reviewer: str, name: str, *, show: bool) -> LabelQueue:
        """Gives a reviewer the next answer.

        Args:
            reviewer: Who asks.
            name: The registered model that gave it.
            show: Whether the model's label is shown; it sways who sees it.

        Raises:
            NothingToReview: No texts are kept, so nothing can be judged.
        """
        if self._config.text == "none":
            raise NothingToReview("feedback.text=none keeps no text, so there is nothing to read")
        now_s = self._clock()
        first = self._chance.choices(list(_PARTS), list(_PARTS.values()))[0]
        kinds = [first, *(kind for kind in _PARTS if kind != first)]
        versions = {version.digest: version for version in self._store.versions()}
        row = self._queue.lease(digest_of(reviewer), name, kinds, now_s, self._config.lease_s)
        waiting = self._queue.waiting(name, now_s)
        others = self._queue.waiting_by_name()
        others.pop(name, None)
        if row is None:
            return LabelQueue(task=None, model_name=name, waiting=waiting, other_models=others)
        drawn = self._queue.drawn(row["prediction_id"])
        version = versions[row["digest"]]
        assert drawn is not None
        task = LabelTask(
            prediction_id=drawn.prediction_id,
            model_name=version.name,
            model_version=version.version,
            text=drawn.text,
            labels=list(version.labels),
            answered=drawn.answered_s,
            drawn=row["drawn"],
            source=drawn.source,
            lease_until=row["lease_s"],
            label=drawn.label if show else None,
            scores=drawn.scores if show else None,
        )
        return LabelQueue(task=task, model_name=name, waiting=waiting, other_models=others)

    def check_name(self, name: str) -> None:
        """Refuses a model of which nothing is known.

        Raises:
            NotWatched: It has never answered here.
        """
        names = {version.name for version in self._store.versions()}
        if name not in names:
            raise NotWatched(f"no model {name!r} has answered here", {"models": sorted(names)})

    def take(self, rows: Sequence[ReviewRequest], actor: str) -> ImportReceipt:
        """Imports labels; a row that was imported before changes nothing."""
        taken = known = 0
        refused: dict[str, int] = defaultdict(int)
        for row in rows:
            said = Correction(row.prediction_id, row.label, actor, row.comment)
            try:
                found, version = self._answers.find(row.prediction_id)
                event, predicted = self._answers.event(said, "import", found, version)
            except UnknownPrediction:
                refused["unknown prediction"] += 1
                continue
            except InvalidInput:
                refused["unknown label"] += 1
                continue
            _, new = self._store.add(event, predicted, found.at_s)
            taken, known = taken + new, known + (not new)
        return ImportReceipt(taken=taken, known=known, refused=dict(refused))

    def accuracy(self, digest: str) -> LiveAccuracy:
        """The live accuracy of a version.

        Raises:
            NotWatched: It has never answered here.
        """
        version, config = self._version(digest), self._config
        rows = self._store.audited(digest)
        strata: dict[float, list[int]] = defaultdict(lambda: [0, 0])
        by_answer: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        by_judgement: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for answered_s, judged_s, share, right in rows:
            counted = (
                strata[share],
                by_answer[_day(answered_s)],
                by_judgement[_day(judged_s)],
            )
            for row in counted:
                row[0] += right
                row[1] += 1
        found = combined({share: (k, n) for share, (k, n) in strata.items()}, config.alpha)
        drawn = self._queue.drawn_at_random(digest)
        given, wrong = self._store.volunteered(digest)
        return LiveAccuracy(
            model_name=version.name,
            model_version=version.version,
            model_digest=digest,
            accuracy=AccuracyRange(value=found.value, low=found.low, high=found.high, n=found.n),
            alpha=config.alpha,
            drawn=drawn,
            judged_share=found.n / drawn if drawn else None,
            complete=bool(drawn) and found.n >= _COMPLETE * drawn,
            days=[
                AccuracyDay(day=day, right=k, n=n)
                for day, (k, n) in sorted(by_answer.items())[-_CHART_DAYS:]
            ],
            volunteered=given,
            volunteered_wrong=wrong,
            lost_evidence=lost(
                ((k, n) for _, (k, n) in sorted(by_judgement.items())), config.reference_accuracy
            ),
            actors=actor_bodies(self._store.actors(digest)),
        )

    def rows(self, digest: str, *, waiting: bool) -> Iterator[dict[str, Any]]:
        """Answers of a version for a file: those that wait for review, or all that have a label.

        Raises:
            NotWatched: It has never answered here.
        """
        pages = self._queue.unjudged if waiting else self._store.exported
        return rows_of(pages, self._version(digest))

    def unpublished(self, most: int) -> list[FeedbackRecord]:
        """Events that no topic has taken, the first first."""
        versions = {version.digest: version for version in self._store.versions()}
        records = []
        for event in self._store.unpublished(most):
            version = versions.get(event.digest)
            value = asdict(event) | {
                "model_name": version.name if version else None,
                "model_version": version.version if version else None,
            }
            value["model_digest"] = value.pop("digest")
            value["received"] = value.pop("received_s")
            body = orjson.dumps(value)
            records.append(FeedbackRecord(event.event_id, event.prediction_id, body))
        return records

    def waiting(self, name: str) -> dict[str, int]:
        """See ``ReviewQueue.waiting``."""
        return self._queue.waiting(name, self._clock())

    def upkeep(self) -> None:
        """Deletes what is old."""
        self._store.clean(self._clock() - 2 * self._config.max_age_days * _DAY_S)

    def _version(self, digest: str) -> KnownVersion:
        for version in self._store.versions():
            if version.digest == digest:
                return version
        raise NotWatched("no such version has answered here", {"model_digest": digest})


def _day(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).date().isoformat()
