"""What was found → the body of the answer. Pure."""

import math
import re
from dataclasses import asdict, dataclass

from configs.schema.explanations import ExplanationsConfig
from deployments.insight.explanations.faithfulness import Faithfulness
from deployments.insight.explanations.methods import Contributions
from deployments.insight.explanations.schemas import (
    ExplainedWord,
    ExplainRequest,
    Explanation,
    FaithfulnessBody,
    TopWord,
)
from deployments.insight.explanations.words import Word
from deployments.versions import ServedVersion

_TOP = 10
_SAID = 3
# From this probability on.
_BANDS = (
    (0.95, "very high confidence"),
    (0.8, "high confidence"),
    (0.6, "moderate confidence"),
    (0.5, "low confidence"),
    (0.0, "very low confidence: several labels are as likely"),
)
_ATTENTION = (
    "the engines give no attention weights, and attention is no explanation "
    "(Jain and Wallace 2019; Bastings and Filippova 2020)"
)
_GRADIENTS = "the engines run exported graphs, which have no gradients"
_SCORE_STEP = 0.005


@dataclass(frozen=True, slots=True)
class Found:
    """What the explainer has found of a text."""

    text: str
    model: ServedVersion
    label: str
    score: float
    words: list[Word]
    unseen: list[Word]
    contributions: Contributions
    method: str
    empty_score: float
    evaluations: int
    seed: int
    faithfulness: Faithfulness | None


def report(request: ExplainRequest, config: ExplanationsConfig, found: Found) -> Explanation:
    """The body."""
    words = sorted([*_seen(found), *_unseen(found)], key=lambda word: word.start)
    top = sorted((word for word in words if word.seen), key=lambda word: -abs(word.contribution))
    faithful = found.faithfulness
    return Explanation(
        text=found.text,
        prediction=found.label,
        confidence=round(found.score, 6),
        caller_agrees=_agrees(request, found),
        summary=_summary(found, top),
        explanation_methods=[found.method],
        top_contributing_words=[
            TopWord(word=word.text, contribution=word.contribution) for word in top[:_TOP]
        ],
        confidence_interpretation=next(said for least, said in _BANDS if found.score >= least),
        text_features=_features(found.text, len(words)),
        model_name=found.model.name,
        model_version=found.model.version,
        model_digest=found.model.digest,
        method=found.method,
        empty_text_score=round(found.empty_score, 6),
        words=words,
        evaluations=found.evaluations,
        seed=found.seed,
        additivity_gap=round(found.contributions.gap, 6),
        unavailable=_unavailable(request, config),
        faithfulness=None if faithful is None else FaithfulnessBody(**asdict(faithful)),
    )


def _seen(found: Found) -> list[ExplainedWord]:
    rows = zip(
        found.words,
        found.contributions.values,
        found.contributions.errors,
        found.contributions.without,
        strict=True,
    )
    return [
        ExplainedWord(
            text=found.text[word.start : word.end],
            start=word.start,
            end=word.end,
            contribution=round(value, 6),
            standard_error=None if error is None else round(error, 6),
            score_without=None if without is None else round(_probability(without), 6),
            seen=True,
        )
        for word, value, error, without in rows
    ]


def _unseen(found: Found) -> list[ExplainedWord]:
    return [
        ExplainedWord(
            text=found.text[word.start : word.end],
            start=word.start,
            end=word.end,
            contribution=0.0,
            standard_error=None,
            score_without=None,
            seen=False,
        )
        for word in found.unseen
    ]


def _summary(found: Found, top: list[ExplainedWord]) -> str:
    said = [f"{found.label} at {found.score:.2f}."]
    for name, chosen in (
        ("For it", [word for word in top if word.contribution > 0]),
        ("Against it", [word for word in top if word.contribution < 0]),
    ):
        if chosen:
            words = ", ".join(f"“{w.text}” ({w.contribution:+.2f})" for w in chosen[:_SAID])
            said.append(f"{name}: {words}.")
    if top and top[0].score_without is not None:
        said.append(f"Without “{top[0].text}” it would be {top[0].score_without:.2f}.")
    if found.unseen:
        said.append(f"{len(found.unseen)} words were beyond what the model reads.")
    return " ".join(said)


def _agrees(request: ExplainRequest, found: Found) -> bool | None:
    if request.prediction is None and request.confidence is None:
        return None
    label = request.prediction
    same_label = label is None or label.strip().casefold() == found.label.casefold()
    said = request.confidence
    return same_label and (said is None or abs(said - found.score) <= _SCORE_STEP)


def _unavailable(request: ExplainRequest, config: ExplanationsConfig) -> dict[str, str]:
    asked = {
        "attention": (request.use_attention, config.use_attention, _ATTENTION),
        "integrated_gradients": (request.use_gradients, config.use_gradients, _GRADIENTS),
    }
    return {
        name: why
        for name, (wanted, default, why) in asked.items()
        if (default if wanted is None else wanted)
    }


def _features(text: str, words: int) -> dict[str, float]:
    letters = sum(char.isalpha() for char in text)
    return {
        "characters": len(text),
        "words": words,
        "sentences": max(1, len(re.findall(r"[.!?\u2026\u3002\uff01\uff1f]+(?=\s|$)", text))),
        "exclamation_marks": text.count("!"),
        "question_marks": text.count("?"),
        "capital_ratio": round(sum(char.isupper() for char in text) / letters, 4) if letters else 0,
    }


def _probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))
