"""A bundle of every kind of head on one tiny graph, and what its answers must be."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from front import LIVE
from poison_model import PoisonStages, write_poison_bundle
from tokenizers import Tokenizer

from deployments.versions import RoutingTable, ServedVersion
from registry.records import Bundle, Head

TEXTS = ("small a", "good b", "one c", "small d work", "tea tea tea", "good good lamp")


@dataclass(frozen=True)
class Kind:
    """A head, its labels and the outputs of its graph."""

    head: Head
    labels: tuple[str, ...]
    outputs: int


KINDS = {
    "softmax": Kind(Head(), ("bug", "praise", "question"), 3),
    "binary": Kind(Head("single_label", "sigmoid"), ("bad", "good"), 1),
    "multi_label": Kind(
        Head("multi_label", "sigmoid", (0.3, 0.5, 0.9, 0.99)), ("a", "b,b", "c", "d"), 4
    ),
    "one_label": Kind(Head("multi_label", "sigmoid", (0.5,)), ("toxic",), 1),
    "regression": Kind(Head("regression", "none"), ("valence", "arousal"), 2),
    "one_value": Kind(Head("regression", "none"), ("stars",), 1),
    "one_score": Kind(Head("regression", "sigmoid"), ("relevance",), 1),
}


def bundle_of(name: str, folder: Path) -> Bundle:
    """The bundle of a kind."""
    kind = KINDS[name]
    return write_poison_bundle(folder, outputs=kind.outputs, labels=kind.labels, head=kind.head)


def version_of(bundle: Bundle) -> ServedVersion:
    """The version that serves it."""
    return ServedVersion(
        LIVE.name, 3, bundle.digest, bundle.labels, "onnx", "fp32", 32, "registry", bundle.head
    )


def stages_of(bundle: Bundle, folder: Path) -> PoisonStages:
    """Tokenizer and model of a graph that serves it."""
    stages = PoisonStages(folder, bundle)
    stages.table = RoutingTable(1, version_of(bundle))
    return stages


def expected(bundle: Bundle, text: str) -> dict[str, float]:
    """Score by label, from the graph's own output by the definitions of the functions."""
    words = Tokenizer.from_file(str(bundle.directory / "tokenizer.json")).encode(text).ids
    session = ort.InferenceSession(str(bundle.directory / "model.onnx"))
    ids = np.array([words], dtype=np.int64)
    (logits,) = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    row = logits[0].astype(np.float64)
    if bundle.head.activation == "softmax":
        scores = np.exp(row) / np.exp(row).sum()
    elif bundle.head.activation == "sigmoid":
        scores = 1 / (1 + np.exp(-row))
        if len(bundle.labels) == 2 and len(row) == 1:
            scores = np.array([1 - scores[0], scores[0]])
    else:
        scores = row
    return dict(zip(bundle.labels, scores.tolist(), strict=True))
