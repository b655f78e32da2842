"""Which model version answers now. Made by the Registry deployment, held by each ingress."""

from dataclasses import dataclass
from typing import Literal

# Engine kind → its name in answers.
BACKENDS = {"onnx": "onnx", "torch": "pytorch"}


@dataclass(frozen=True, slots=True)
class LiveModel:
    """A version that replicas can load.

    Attributes:
        name: Registered model name.
        version: MLflow's version number.
        digest: The bundle's digest; the identity that travels in payloads.
        labels: Class names in score order.
        kind: Engine kind, ``onnx`` or ``torch``.
        precision: Weight precision.
        max_tokens: Longer inputs are truncated.
        source: ``registry``: resolved from MLflow; ``last_known``: MLflow did not answer and
            this is what was live before.
    """

    name: str
    version: int
    digest: str
    labels: tuple[str, ...]
    kind: str
    precision: str
    max_tokens: int
    source: Literal["registry", "last_known"]
