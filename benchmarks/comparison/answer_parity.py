"""Whether a server says what the model says, checked item by item before anything is timed.

Each text is first sent alone: label and score must be the bare engine's. Then all are sent at
once, so that batches form. Dynamic INT8 takes one activation scale for a whole batch, so there
scores move with batch mates (docs/decisions/0006); most must stay near, and no text may get
another's answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.comparison.errors import AnswersDiffer
from benchmarks.comparison.metrics import percentile
from benchmarks.comparison.wire import Answer
from deployments.model.engines import open_engine
from deployments.model.runner import LoadedModel
from deployments.tokenizer.replica import LoadedTokenizer
from registry.records import Bundle

COMPARED_TEXTS = 32
ALONE_TOLERANCE = 0.002
TOGETHER_TOLERANCE = 0.15
TOGETHER_SHARE = 0.90


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far a server's scores are from the bare engine's, as probabilities of its label.

    Attributes:
        texts: Compared.
        alone_max: Largest difference when each text is sent alone.
        together_p90: What nine in ten stay within when all are sent at once.
    """

    texts: int
    alone_max: float
    together_p90: float


def reference(bundle: Bundle, texts: Sequence[str]) -> list[Answer]:
    """Label and score of each text by the bare engine, one by one."""
    model = LoadedModel(bundle, open_engine(bundle, provider="cpu", threads=1))
    tokenizer = LoadedTokenizer(bundle)
    rows = [model.score([tokenizer.encode([text]).ids])[0] for text in texts]
    return [(bundle.labels[int(row.argmax())], float(row.max())) for row in rows]


def compare(
    expected: Sequence[Answer], alone: Sequence[Answer], together: Sequence[Answer]
) -> Comparison:
    """Compares a server's answers with the expected ones; texts have the same order in all three.

    Raises:
        AnswersDiffer: They differ by more than the tolerances above.
    """
    for wanted, got in zip(expected, alone, strict=True):
        if wanted[0] != got[0] and _distance(wanted, got) > ALONE_TOLERANCE:
            raise AnswersDiffer(f"a text sent alone got {got}, expected {wanted}")
    alone_max = max(map(_distance, expected, alone))
    if alone_max > ALONE_TOLERANCE:
        raise AnswersDiffer(f"a text sent alone is {alone_max:.4f} away from the bare engine")
    nine_in_ten = percentile(list(map(_distance, expected, together)), TOGETHER_SHARE) or 0.0
    if nine_in_ten > TOGETHER_TOLERANCE:
        raise AnswersDiffer(f"nine in ten texts in batches are within {nine_in_ten:.3f} only")
    return Comparison(len(expected), round(alone_max, 6), round(nine_in_ten, 4))


def _distance(wanted: Answer, got: Answer) -> float:
    # Of two classes, the other label with score s is this label with 1 - s.
    return abs(wanted[1] - (got[1] if got[0] == wanted[0] else 1.0 - got[1]))
