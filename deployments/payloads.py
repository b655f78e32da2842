"""What travels between the stages: plain arrays, by value, with the model's digest.

Every payload names the version it belongs to, so no request ever mixes two. Texts of
one payload lie end to end; ``lengths`` cuts them. Deadlines travel as remaining time,
because two machines' clocks need not agree.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.telemetry.spans import Span, SpanContext

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]
Contexts = tuple[SpanContext | None, ...]
"""For each text the span of the hop that carries it, None if its request is not sampled; empty
if none of them is."""


@dataclass(frozen=True, slots=True)
class TextBatch:
    """Ingress → Tokenizer.

    Attributes:
        digest: Bundle that must answer.
        texts: n texts, stripped, not blank.
        remaining_s: ``[n] float32``, seconds until each text's deadline.
        bulk: ``[n] bool``, interactive texts go before these.
        contexts: Parents of the spans of this stage.
    """

    digest: str
    texts: list[str]
    remaining_s: FloatArray
    bulk: BoolArray
    contexts: Contexts = ()


@dataclass(frozen=True, slots=True)
class Encodings:
    """n encoded texts.

    Attributes:
        ids: ``[sum(lengths)] int32``, end to end, unpadded, special tokens included.
        lengths: ``[n] int32``, at most the bundle's ``max_tokens``; 0 for a text that the
            tokenizer cannot encode.
        truncated: ``[n] bool``.
        spans: What a Tokenizer replica did for sampled requests.
    """

    ids: IntArray
    lengths: IntArray
    truncated: BoolArray
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class EncodingBatch:
    """Tokenizer → Model.

    Attributes:
        digest: Bundle that must answer.
        ids: ``[sum(lengths)] int32``, token ids of all texts end to end, unpadded.
        lengths: ``[n] int32``, tokens of each text, special tokens included; 0 for a text that
            has none, which fails.
        remaining_s: ``[n] float32``, seconds until each text's deadline.
        bulk: ``[n] bool``, interactive texts go before these.
        contexts: Parents of the spans of this stage.
    """

    digest: str
    ids: IntArray
    lengths: IntArray
    remaining_s: FloatArray
    bulk: BoolArray
    contexts: Contexts = ()


@dataclass(frozen=True, slots=True)
class ScoreBatch:
    """Model → Tokenizer → Ingress. Row i belongs to text i.

    Attributes:
        digest: Bundle that answered.
        scores: ``[n, labels] float32``, probabilities; a row of an expired or failed text is NaN.
        expired: ``[n] bool``, deadline passed before the engine ran.
        failed: ``[n] bool``, tokenizer or model have no answer for this text.
        queue_s: ``[n] float32``, wait in the model replica's window, seconds.
        infer_s: ``[n] float32``, duration of the engine batch that held the text, seconds.
        cost_s: ``[n] float32``, the text's share of its batch by the cost surface, seconds.
        batches: ``[m, 5] float32``, the engine batches whose first row is one of these texts:
            ``rows, tokens, cells, predicted_s, actual_s``, where cells is rows times padded
            length and tokens leaves the padding out.
        spans: What was done for sampled requests.
    """

    digest: str
    scores: FloatArray
    expired: BoolArray
    failed: BoolArray
    queue_s: FloatArray
    infer_s: FloatArray
    cost_s: FloatArray
    batches: FloatArray
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """Tokenizer → Ingress: the scores and what the tokenizer knows.

    Attributes:
        scores: Row i belongs to text i.
        n_tokens: ``[n] int32``, tokens that the model saw, special tokens included.
        truncated: ``[n] bool``, the text had more tokens than the model takes.
        tokenize_s: Time for all n texts, seconds.
        spans: What the tokenizer did for sampled requests.
    """

    scores: ScoreBatch
    n_tokens: IntArray
    truncated: BoolArray
    tokenize_s: float
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One replica.

    Attributes:
        connected: Whether a broker answered lately.
        lag: Messages not yet acknowledged, by partition that it reads.
        rate: Messages acknowledged a second, lately.
        in_flight: Messages read and not acknowledged.
        batches: Micro-batches under way.
        counts: Totals since it started: consumed, processed, failed, retried, dead_letters.
        processing_s: Time of all messages from poll to acknowledgement.
    """

    connected: bool
    lag: Mapping[int, int]
    rate: float
    in_flight: int
    batches: int
    counts: Mapping[str, int]
    processing_s: float


@dataclass(frozen=True, slots=True)
class ModelCounts:
    """What one version answered, as histograms of ``inference/signals.py``.

    Attributes:
        digest: Of the bundle.
        name: Registered model name.
        version: Its number there.
        labels: The kinds of the signal ``label``: its labels, and that none applies.
        counts: By signal: texts by bin.
    """

    digest: str
    name: str
    version: int
    labels: tuple[str, ...]
    counts: dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class TrafficDelta:
    """Ingress, Stream, Jobs → Insight: what was answered since the delta before.

    Attributes:
        source: The replica, for as long as it lives.
        number: Its deltas are numbered; one that arrives again counts once.
        models: One for each version that answered.
        drawn: Answers that were drawn for review.
        figures: What the replica's totals grew by, see ``telemetry/figures.py``; None where they
            are not summed.
        name: The registered model that the replica serves.
    """

    source: str
    number: int
    models: tuple[ModelCounts, ...]
    drawn: tuple["DrawnAnswer", ...] = ()
    figures: dict[str, float] | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class DrawnAnswer:
    """An answer that was drawn for review.

    Attributes:
        prediction_id: Of the answer.
        digest: Of the version that answered.
        answered_s: When, in Unix time.
        text: As the text policy keeps it.
        label: The model's label.
        scores: Probability by label.
        drawn: ``random``, which measures, or ``margin``, of those with little between two labels.
        share: The chance with which it was drawn.
        source: The way that the text came.
    """

    prediction_id: str
    digest: str
    answered_s: float
    text: str
    label: str
    scores: dict[str, float]
    drawn: str
    share: float
    source: str


@dataclass(frozen=True, slots=True)
class Correction:
    """Ingress → Insight: what a caller says of an answer.

    Attributes:
        prediction_id: Of the answer.
        label: What would have been right.
        actor: Who says it.
        comment: In that person's words.
    """

    prediction_id: str
    label: str
    actor: str
    comment: str = ""


# Why a judged answer counts for no release: ``FeedbackResult.not_counted``.
FORGOTTEN = "no replica remembers the answer: it is too old, or its replica was replaced"
NO_CANDIDATE = "no candidate had a part in the answer: no release was under way then"
AGAIN = "the answer had been judged before"
BY_REVIEWERS = "a caller's word: feedback.audit_share draws answers, and reviewers judge those"


@dataclass(frozen=True, slots=True)
class FeedbackResult:
    """What a correction says of an answer.

    Attributes:
        version: The version that had answered.
        labels: Its labels.
        correct: Whether it had given that label; None when it has no such label.
        again: The answer had been judged before; this counts for nothing.
        not_counted: Why it counts for no release; empty when it does.
    """

    version: int
    labels: tuple[str, ...]
    correct: bool | None
    again: bool
    not_counted: str = ""


@dataclass(frozen=True, slots=True)
class FeedbackRecord:
    """Insight → Stream: feedback on its way to a topic.

    Attributes:
        event_id: Names it; a record that is written twice has the same.
        key: The answer's id.
        value: JSON, see ``docs/guides/insight.md``.
    """

    event_id: str
    key: str
    value: bytes


Counts = dict[str, tuple[int, int, int]]
"""``slot.test`` to how often the candidate did worse, the same, better; ``missed.WHY``: nothing."""


RunTexts = Callable[[TextBatch], Awaitable[ModelAnswer]]


@dataclass(frozen=True, slots=True)
class Probe:
    """What one replica says of one version.

    Attributes:
        scores: ``[golden texts, labels] float32``.
        text_s: Median seconds of one text in the engine.
    """

    scores: FloatArray
    text_s: float


RunModel = Callable[[EncodingBatch], Awaitable[ScoreBatch]]
