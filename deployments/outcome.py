"""What goes through the ingress for one text, and what comes of it."""

from dataclasses import dataclass, field

from deployments.cache import Prediction
from deployments.live import LiveModel
from deployments.spans import Trace


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
class Text:
    """A text on its way, with what was predicted for it: engine seconds, seconds to the answer.

    ``trace`` is that of the request that brought it, if that is sampled.
    """

    text: str
    key: bytes
    model: LiveModel
    cost_s: float
    expected_s: float
    trace: Trace | None = None
