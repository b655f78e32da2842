"""What a request was answered with, for its access line and its span. Never the text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deployments.errors import RequestError
from deployments.live import BACKENDS, LiveModel
from deployments.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Served:
    """Facts of the texts of one request.

    Attributes:
        model: The version that answered.
        texts: How many were asked.
        text_length: Characters of all of them.
        tokens: Tokens that the model saw, now or when it was remembered.
        hits: Texts that a cache answered.
        answer: The prediction where there was one text.
    """

    model: LiveModel
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
    model: LiveModel,
    texts: Sequence[str],
    outcomes: Sequence[Outcome | RequestError],
    answer: Mapping[str, object] | None = None,
) -> Served:
    """The facts of a request's texts and what became of them."""
    tokens = hits = 0
    for outcome in outcomes:
        if isinstance(outcome, Outcome):
            tokens += outcome.prediction.n_tokens
            hits += outcome.cached
    return Served(model, len(texts), sum(map(len, texts)), tokens, hits, answer or {})
