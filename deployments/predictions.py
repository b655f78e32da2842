"""What goes through the ingress for one text, and what comes of it."""

import struct
from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class AnswerFacts:
    """Facts of the texts of one request.

    Attributes:
        model: The version that answered.
        texts: How many were asked.
        text_length: Characters of all of them.
        tokens: Tokens that the model saw, now or when it was remembered.
        hits: Texts that a cache answered.
        answer: The prediction where there was one text.
    """

    model: ServedVersion
    texts: int
    text_length: int
    tokens: int
    hits: int
    answer: Mapping[str, object] = field(default_factory=dict)

    def add_fields(self, line: dict[str, object]) -> None:
        """Adds them to an access line, by the specification's names."""
        line["model_name"] = self.model.name
        line["model_version"] = self.model.version
        line["backend"] = BACKENDS[self.model.kind]
        line["texts"] = self.texts
        line["text_length"] = self.text_length
        line["tokens"] = self.tokens
        line["cached"] = self.hits == self.texts
        if self.answer:
            for name in ("prediction_id", "label", "score"):
                line[name] = self.answer[name]

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


def served(
    model: ServedVersion,
    texts: Sequence[str],
    outcomes: Sequence[Outcome | RequestError],
    answer: Mapping[str, object] | None = None,
) -> AnswerFacts:
    """The facts of a request's texts and what became of them."""
    tokens = hits = 0
    for outcome in outcomes:
        if isinstance(outcome, Outcome):
            tokens += outcome.prediction.n_tokens
            hits += outcome.cached
    return AnswerFacts(model, len(texts), sum(map(len, texts)), tokens, hits, answer or {})
