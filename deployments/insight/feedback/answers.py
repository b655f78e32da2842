"""The answers that people judge: found by their ids alone. Methods block."""

import uuid
from collections.abc import Callable

from configs.schema.feedback import FeedbackConfig
from deployments.errors import InvalidInput, UnknownPrediction
from deployments.inference.prediction_ids import PredictionId, prediction_ids
from deployments.insight.feedback.actors import digest_of
from deployments.insight.feedback.labels import FeedbackEvent, Source
from deployments.insight.feedback.store import FeedbackStore, KnownVersion
from deployments.payloads import Correction

_DAY_S = 86_400.0


class JudgedAnswers:
    """Reads ids by the versions that have answered here."""

    def __init__(
        self, config: FeedbackConfig, store: FeedbackStore, clock: Callable[[], float]
    ) -> None:
        self._max_age_days = config.max_age_days
        self._ids = prediction_ids(config)
        self._store = store
        self._clock = clock

    def find(self, number: str) -> tuple[PredictionId, KnownVersion]:
        """What an id says, and the version that gave that answer.

        Raises:
            UnknownPrediction: No answer of that id can be judged.
        """
        versions = self._store.versions()
        found = self._ids.read(number, (version.digest for version in versions))
        if found is None or self._clock() - found.at_s > self._max_age_days * _DAY_S:
            raise UnknownPrediction(
                f"no answer has this id, or it is older than {self._max_age_days:g} days"
            )
        for version in versions:
            if found.is_of(version.digest, version.version):
                return found, version
        raise UnknownPrediction("the version that gave this answer is not known here any more")

    def event(
        self, said: Correction, source: Source, found: PredictionId, version: KnownVersion
    ) -> tuple[FeedbackEvent, str]:
        """The event, and the label that the model had given.

        Raises:
            InvalidInput: The version has no such label.
        """
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
            number,
            said.prediction_id,
            version.digest,
            label,
            source,
            actor,
            self._clock(),
            said.comment,
        )
        return event, predicted
