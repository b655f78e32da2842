"""What becomes of one text: the model's scores, how they came about, and the answer made of them.

Every caller is given the same answer: scores to six decimals, the label of the highest one, and of
a multi-label model the labels that apply.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from deployments.errors import RequestError
from deployments.payloads import FloatArray
from deployments.versions import BACKENDS, ServedVersion
from registry.records import Head


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model said about one text.

    Attributes:
        scores: ``[labels] float32``, in label order; what they are, the model's head says.
        n_tokens: Tokens that the model saw.
        truncated: The text had more tokens than the model takes.
    """

    scores: FloatArray
    n_tokens: int
    truncated: bool

    def pack(self) -> bytes:
        """Little-endian: tokens (uint32), truncated (bool), scores (float32 each)."""
        return _HEADER.pack(self.n_tokens, self.truncated) + self.scores.astype("<f4").tobytes()

    @classmethod
    def unpack(cls, value: bytes) -> "Prediction":
        """The inverse of ``pack``.

        Raises:
            ValueError: Not something that ``pack`` wrote.
        """
        if len(value) <= _HEADER.size or (len(value) - _HEADER.size) % 4:
            raise ValueError(f"{len(value)} bytes are not a packed prediction")
        n_tokens, truncated = _HEADER.unpack_from(value)
        scores = np.frombuffer(value, dtype="<f4", offset=_HEADER.size).astype(np.float32)
        return cls(scores, n_tokens, truncated)


_HEADER = struct.Struct("<I?")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One text's prediction and how it came about.

    Attributes:
        prediction: What the model said.
        cached: Found in either cache level.
        stages_s: Seconds by stage name, for ``Server-Timing``.
    """

    prediction: Prediction
    cached: bool
    stages_s: dict[str, float] = field(default_factory=dict)


def rounded_scores(labels: Sequence[str], scores: Sequence[float]) -> tuple[str, dict[str, float]]:
    """The label of the highest score, and each label's score to six decimals."""
    rounded = [round(score, 6) for score in scores]
    best = max(range(len(rounded)), key=rounded.__getitem__)
    return labels[best], dict(zip(labels, rounded, strict=True))


def applying(head: Head, scores: Mapping[str, float]) -> list[str] | None:
    """The labels of a multi-label model whose rounded score reaches their threshold, in label
    order; None of any other model.
    """
    if head.task != "multi_label":
        return None
    return [
        label
        for (label, score), threshold in zip(scores.items(), head.thresholds, strict=True)
        if score >= threshold
    ]


def agree(
    model: ServedVersion, scores: FloatArray, other: ServedVersion, theirs: FloatArray, step: float
) -> tuple[bool, float]:
    """Whether two versions say the same of one text, and how far apart their scores are.

    Args:
        model: One version.
        scores: ``[labels]``, its scores.
        other: Another version.
        theirs: ``[labels]``, the scores of that one.
        step: Values of a regression that are less apart are the same.

    Returns:
        The same label, the same labels (multi-label), or values less than ``step`` apart; and
        between 0 and 1 what the score of the label, or of the label that differs most, has moved.
        Values move in proportion to their size where that is above 1. It is 1 where the label is
        unknown to the other version or the tasks differ.
    """
    task, label = model.head.task, model.labels[int(scores.argmax())]
    if other.head.task != task:
        return False, 1.0
    if task == "single_label":
        same = other.labels[int(theirs.argmax())] == label
        if label not in other.labels:
            return same, 1.0
        return same, float(abs(scores.max() - theirs[other.labels.index(label)]))
    if set(other.labels) != set(model.labels):
        return False, 1.0
    aligned = theirs[[other.labels.index(each) for each in model.labels]]
    moved = np.abs(scores - aligned)
    if task == "regression":
        moved = moved / np.maximum(1, np.abs(scores))
        return bool(moved.max() <= step), float(min(1, moved.max()))
    mine, others = (_names(each, row) for each, row in ((model, scores), (other, theirs)))
    return mine == others, float(moved.max())


def _names(model: ServedVersion, scores: FloatArray) -> set[str]:
    _, by_label = rounded_scores(model.labels, scores.tolist())
    return set(applying(model.head, by_label) or ())


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller is given for one text.

    Attributes:
        id: UUID of the answer.
        text: As it was classified.
        model: The version that answered.
        outcome: What the model said.
        label: The one with the highest score.
        scores: By label, to six decimals.
    """

    id: str
    text: str
    model: ServedVersion
    outcome: Outcome
    label: str
    scores: dict[str, float]

    def body(self) -> dict[str, object]:
        """As ``schemas.TextPrediction``."""
        body: dict[str, object] = {
            "prediction_id": self.id,
            "label": self.label,
            "score": self.scores[self.label],
            "scores": self.scores,
            "n_tokens": self.outcome.prediction.n_tokens,
            "truncated": self.outcome.prediction.truncated,
            "cached": self.outcome.cached,
            "text_length": len(self.text),
        }
        if (labels := applying(self.model.head, self.scores)) is not None:
            body["labels"] = labels
        return body


def error_body(error: RequestError) -> dict[str, object]:
    """Why one text of several has no answer, as ``schemas.ErrorItem``."""
    return {"error_code": error.code, "error_message": error.message}


@dataclass(frozen=True, slots=True)
class AnswerFacts:
    """Facts of the texts of one request, for its access line and its span.

    Attributes:
        model: The version that answered.
        texts: How many were classified.
        text_length: Characters of all of them.
        tokens: Tokens that the model saw, now or when it was remembered.
        hits: Texts that a cache answered.
        answer: The answer where there was one text.
    """

    model: ServedVersion
    texts: int
    text_length: int
    tokens: int
    hits: int
    answer: Answer | None = None

    def add_fields(self, line: dict[str, object]) -> None:
        """Adds them to an access line, by the specification's names."""
        line["model_name"] = self.model.name
        line["model_version"] = self.model.version
        line["backend"] = BACKENDS[self.model.kind]
        line["texts"] = self.texts
        line["text_length"] = self.text_length
        line["tokens"] = self.tokens
        line["cached"] = self.hits == self.texts
        if self.answer is not None:
            line["prediction_id"] = self.answer.id
            line["label"] = self.answer.label
            line["score"] = self.answer.scores[self.answer.label]

    def attributes(self) -> dict[str, str | int | bool]:
        """For the request's span."""
        return {
            "sentigraph.model.name": self.model.name,
            "sentigraph.model.version": self.model.version,
            "sentigraph.model.digest": self.model.digest,
            "sentigraph.texts": self.texts,
            "sentigraph.text_length": self.text_length,
            "sentigraph.tokens": self.tokens,
            "sentigraph.cache.hits": self.hits,
            "sentigraph.cache.hit": self.hits == self.texts,
        }


@dataclass(frozen=True, slots=True)
class Predictions:
    """What became of the texts of one request.

    Attributes:
        model: The version that was asked.
        answers: For each text its answer, or why it has none.
        classified: Those of the texts that the model was asked, without white space around.
    """

    model: ServedVersion
    answers: Sequence[Answer | RequestError]
    classified: Sequence[str]

    def facts(self, answer: Answer | None = None) -> AnswerFacts:
        """For access line and span; with ``answer`` of the only text."""
        tokens = hits = 0
        for each in self.answers:
            if isinstance(each, Answer):
                tokens += each.outcome.prediction.n_tokens
                hits += each.outcome.cached
        length = sum(map(len, self.classified))
        return AnswerFacts(self.model, len(self.classified), length, tokens, hits, answer)
