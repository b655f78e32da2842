"""Remembers answers, so that feedback can say whether they were right. Pure.

A prediction's id leads to the version that gave it, so a correction counts for that version
alone. Each answer is judged once; nothing of the text is kept.
"""

from dataclasses import dataclass

from deployments.canary.paired_counts import PairedCounts
from deployments.payloads import AGAIN, NO_CANDIDATE, FeedbackResult
from deployments.versions import ServedVersion


@dataclass(slots=True)
class _RecentAnswer:
    model: ServedVersion
    label: str
    rival: str
    shadow: str = ""
    shadow_label: str = ""
    truth: str = ""


class Feedback:
    """The latest answers of one replica, by prediction id. For one event loop."""

    def __init__(self, max_remembered: int, observed: PairedCounts) -> None:
        self._max = max_remembered
        self._observed = observed
        self._answers: dict[str, _RecentAnswer] = {}

    def remember(self, prediction_id: str, model: ServedVersion, label: str, rival: str) -> None:
        """Keeps an answer; ``rival`` is the challenger's digest, if there is one."""
        if not self._max:
            return
        if len(self._answers) >= self._max:
            del self._answers[next(iter(self._answers))]
        self._answers[prediction_id] = _RecentAnswer(model, label, rival)

    def shadowed(self, prediction_id: str, digest: str, label: str) -> None:
        """Adds the shadow version's label for the same text."""
        answer = self._answers.get(prediction_id)
        if answer is not None:
            answer.shadow, answer.shadow_label = digest, label
            if answer.truth:
                self._count_shadow(answer)

    def judge(self, prediction_id: str, label: str) -> FeedbackResult | None:
        """Judges an answer; None when it is not remembered here."""
        answer = self._answers.get(prediction_id)
        if answer is None:
            return None
        model = answer.model
        known = {each.casefold(): each for each in model.labels}
        truth = known.get(label.strip().casefold())
        if truth is None:
            return FeedbackResult(model.version, model.labels, None, False)
        correct = answer.label == truth
        if answer.truth:
            return FeedbackResult(model.version, model.labels, correct, True, AGAIN)
        answer.truth = truth
        if answer.shadow:
            self._count_shadow(answer)
        if answer.rival:
            candidate = answer.rival == model.digest
            self._observed.judged(answer.rival, candidate=candidate, wrong=not correct)
        missed = "" if answer.shadow or answer.rival else NO_CANDIDATE
        return FeedbackResult(model.version, model.labels, correct, False, missed)

    def _count_shadow(self, answer: _RecentAnswer) -> None:
        self._observed.judged_both(
            answer.shadow,
            champion_wrong=answer.label != answer.truth,
            shadow_wrong=answer.shadow_label != answer.truth,
        )
