"""What the routes ask of feedback. Every method blocks: use a thread.

Correction ─┐
review ─────┼─▶ id read, label checked ─▶ event ─▶ label ─▶ accuracy, releases
import ─────┘
"""

import hashlib
import math
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import orjson

from configs.schema.feedback import FeedbackConfig
from deployments.errors import InvalidInput, UnknownPrediction
from deployments.inference.prediction_ids import PredictionId, prediction_ids
from deployments.insight.errors import NothingToReview, NotWatched
from deployments.insight.feedback.accuracy import combined, lost
from deployments.insight.feedback.exports import rows_of
from deployments.insight.feedback.labels import DerivedLabel, FeedbackEvent, Source
from deployments.insight.feedback.queue import ReviewQueue
from deployments.insight.feedback.schemas import (
    AccuracyDay,
    AccuracyRange,
    ActorBody,
    ImportReceipt,
    LabelQueue,
    LabelReceipt,
    LabelTask,
    LiveAccuracy,
    ReviewRequest,
)
from deployments.insight.feedback.store import FeedbackStore, KnownVersion
from deployments.payloads import Correction, FeedbackRecord, FeedbackResult

_DAY_S = 86_400.0
_CHART_DAYS = 90
_COMPLETE = 0.7
# An actor is suspicious from so many events on, so many standard deviations above the others.
_MIN_EVENTS, _DEVIATIONS = 20, 4.0
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
        self._ids = prediction_ids(config)
        self._chance = chance or random.Random()  # noqa: S311  (which kind comes next)

    def correct(self, said: Correction) -> FeedbackResult | None:
        """Takes a caller's word; None when no answer of that id can be judged."""
        try:
            event, predicted, version = self._event(said, "caller")
        except UnknownPrediction:
            return None
        except InvalidInput as refusal:
            labels = refusal.context["labels"]
            assert isinstance(labels, tuple)
            found = self._ids.read(said.prediction_id)
            return FeedbackResult(found.version if found else 0, labels, None, False)
        _, new = self._add(event, predicted)
        return FeedbackResult(
            version.version, version.labels, event.label == predicted, again=not new
        )

    def review(self, said: Correction) -> LabelReceipt:
        """Takes a reviewer's word.

        Raises:
            UnknownPrediction: No answer of that id can be judged.
            InvalidInput: The version has no such label.
        """
        event, predicted, _ = self._event(said, "reviewer")
        label, new = self._add(event, predicted)
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

    def next(self, reviewer: str, *, show: bool) -> LabelQueue:
        """Gives a reviewer the next answer.

        Args:
            reviewer: Who asks.
            show: Whether the model's label is shown; it sways who sees it.

        Raises:
            NothingToReview: No texts are kept, so nothing can be judged.
        """
        if self._config.text == "none":
            raise NothingToReview("feedback.text=none keeps no text, so there is nothing to read")
        now_s = self._clock()
        first = self._chance.choices(list(_PARTS), list(_PARTS.values()))[0]
        kinds = [first, *(kind for kind in _PARTS if kind != first)]
        row = self._queue.lease(digest_of(reviewer), kinds, now_s, self._config.lease_s)
        waiting = self._queue.waiting(now_s)
        if row is None:
            return LabelQueue(task=None, waiting=waiting)
        drawn = self._queue.drawn(row["prediction_id"])
        version = self._version(digest=row["digest"])
        assert drawn is not None
        task = LabelTask(
            prediction_id=drawn.prediction_id,
            text=drawn.text,
            labels=list(version.labels),
            answered=drawn.answered_s,
            drawn=row["drawn"],
            source=drawn.source,
            lease_until=row["lease_s"],
            label=drawn.label if show else None,
            scores=drawn.scores if show else None,
        )
        return LabelQueue(task=task, waiting=waiting)

    def take(self, rows: Sequence[ReviewRequest], actor: str) -> ImportReceipt:
        """Imports labels; a row that was imported before changes nothing."""
        taken = known = 0
        refused: dict[str, int] = defaultdict(int)
        for row in rows:
            said = Correction(row.prediction_id, row.label, actor, row.comment)
            try:
                event, predicted, _ = self._event(said, "import")
            except UnknownPrediction:
                refused["unknown prediction"] += 1
                continue
            except InvalidInput:
                refused["unknown label"] += 1
                continue
            _, new = self._add(event, predicted)
            taken, known = taken + new, known + (not new)
        return ImportReceipt(taken=taken, known=known, refused=dict(refused))

    def accuracy(self, digest: str) -> LiveAccuracy:
        """The live accuracy of a version.

        Raises:
            NotWatched: It has never answered here.
        """
        version, config = self._version(digest=digest), self._config
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
            actors=_actors(self._store.actors(digest)),
        )

    def rows(self, digest: str, *, waiting: bool) -> Iterator[dict[str, Any]]:
        """Answers of a version for a file: those that wait for review, or all that have a label.

        Raises:
            NotWatched: It has never answered here.
        """
        pages = self._queue.unjudged if waiting else self._store.exported
        return rows_of(pages, self._version(digest=digest))

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

    def waiting(self) -> dict[str, int]:
        """See ``ReviewQueue.waiting``."""
        return self._queue.waiting(self._clock())

    def upkeep(self) -> None:
        """Deletes what is old."""
        self._store.clean(self._clock() - 2 * self._config.max_age_days * _DAY_S)

    def _add(self, event: FeedbackEvent, predicted: str) -> tuple[DerivedLabel, bool]:
        found = self._ids.read(event.prediction_id)
        assert found is not None
        return self._store.add(event, predicted, found.at_s)

    def _event(self, said: Correction, source: Source) -> tuple[FeedbackEvent, str, KnownVersion]:
        now_s = self._clock()
        found = self._ids.read(said.prediction_id)
        if found is None or now_s - found.at_s > self._config.max_age_days * _DAY_S:
            raise UnknownPrediction(
                f"no answer has this id, or it is older than {self._config.max_age_days:g} days"
            )
        version = self._version(found)
        known = {each.casefold(): each for each in version.labels}
        label = known.get(said.label.strip().casefold())
        if label is None:
            raise InvalidInput(
                f"version {version.version} has no such label; it has {', '.join(version.labels)}",
                {"field": "label", "labels": version.labels},
            )
        actor = digest_of(said.actor)
        number = uuid.uuid4().hex
        if source == "import":
            # The same row of the same file, sent again, is the same event.
            number = digest_of("\0".join((said.prediction_id, label, actor, said.comment)))
        predicted = version.labels[min(found.label, len(version.labels) - 1)]
        event = FeedbackEvent(
            number, said.prediction_id, version.digest, label, source, actor, now_s, said.comment
        )
        return event, predicted, version

    def _version(self, found: PredictionId | None = None, *, digest: str = "") -> KnownVersion:
        for version in self._store.versions():
            if version.digest == digest or (found is not None and found.is_of(version.version)):
                return version
        if found is not None:
            raise UnknownPrediction("the version that gave this answer is not known here any more")
        raise NotWatched("no such version has answered here", {"model_digest": digest})


def digest_of(actor: str) -> str:
    """What is kept of somebody's name."""
    return hashlib.blake2b(actor.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _day(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).date().isoformat()


def _actors(rows: Sequence[tuple[str, str, int, int]]) -> list[ActorBody]:
    everyone = sum(n for *_, n, _ in rows)
    differing = sum(wrong for *_, wrong in rows)
    found = []
    for actor, source, n, wrong in rows:
        others = everyone - n
        rate = (differing - wrong + 1) / (others + 2)
        deviation = (wrong - n * rate) / math.sqrt(n * rate * (1 - rate))
        suspicious = n >= _MIN_EVENTS and others >= _MIN_EVENTS and deviation > _DEVIATIONS
        body = {"actor": actor, "source": source, "n": n, "differing": wrong}
        found.append(ActorBody.model_validate(body | {"suspicious": suspicious}))
    return found
