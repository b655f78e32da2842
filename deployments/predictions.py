"""What becomes of one text: the model's scores, how they came about, and the answer made of them.

Every caller is given the same answer: scores to six decimals, the label that has most of them.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from deployments.errors import RequestError
from deployments.payloads import FloatArray
from deployments.versions import BACKENDS, ServedVersion


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model said about one text.

    Attributes:
        scores: ``[labels] float32``, probabilities in label order.
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
    """The most probable label, and each label's probability to six decimals."""
    rounded = [round(score, 6) for score in scores]
    best = max(range(len(rounded)), key=rounded.__getitem__)
    return labels[best], dict(zip(labels, rounded, strict=True))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller is given for one text.

    Attributes:
        id: UUID of the answer.
        text: As it was classified.
        model: The version that answered.
        outcome: What the model said.
        label: The most probable one.
        scores: Probability by label, to six decimals.
    """

    id: str
    text: str
    model: ServedVersion
    outcome: Outcome
    label: str
    scores: dict[str, float]

    def body(self) -> dict[str, object]:
        """As ``schemas.TextPrediction``."""
        return {
            "prediction_id": self.id,
            "label": self.label,
            "score": self.scores[self.label],
            "scores": self.scores,
            "n_tokens": self.outcome.prediction.n_tokens,
            "truncated": self.outcome.prediction.truncated,
            "cached": self.outcome.cached,
            "text_length": len(self.text),
        }


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
