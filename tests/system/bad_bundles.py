"""Versions that should never serve, made of the bundled model; and one that may.

Each differs from it in one thing: its file is damaged after it was registered, its labels are other
ones or in the wrong order, it fails on every or on rare words, or it takes ten times as long.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.models import BUNDLED, NAME, register_variant
from deployments.rollout.acceptance import GOLDEN_TEXTS
from deployments.tokenizer.replica import LoadedTokenizer
from registry.bundles.bundle import MODEL_FILE, open_bundle
from registry.model_registry import ModelRegistry

_SLOW_ROWS, _SLOW_PRODUCTS = 512, 20


def healthy(registry: ModelRegistry, folder: Path) -> int:
    """As good as the bundled model: a hair less sure of itself."""
    return register_variant(registry, folder, temperature=1.05)


def corrupt(registry: ModelRegistry, folder: Path) -> int:
    """A file is changed in the store after it was registered."""
    version = register_variant(registry, folder, temperature=1.9)
    client = registry.store.mlflow.client()
    location = client.get_model_version_download_uri(NAME, str(version))
    (Path(location.removeprefix("file://")) / MODEL_FILE["onnx"]).write_bytes(b"no model")
    return version


def wrong_labels(registry: ModelRegistry, folder: Path) -> int:
    """Says ``sad`` and ``happy`` to callers who know other words."""
    return register_variant(registry, folder, labels=("sad", "happy"))


def flipped(registry: ModelRegistry, folder: Path) -> int:
    """Says the opposite of what it means."""
    return register_variant(registry, folder, labels=tuple(reversed(open_bundle(BUNDLED).labels)))


def crashing(registry: ModelRegistry, folder: Path) -> int:
    """Opens, warms up, and fails on any word."""
    return register_variant(registry, folder, model=_failing_from(folder, 200))


def crashing_on_rare_words(registry: ModelRegistry, folder: Path) -> int:
    """Fails on words that the golden texts do not have."""
    encoded = LoadedTokenizer(open_bundle(BUNDLED)).encode(list(GOLDEN_TEXTS))
    return register_variant(
        registry, folder, model=_failing_from(folder, int(encoded.ids.max()) + 1)
    )


def ten_times_slower(registry: ModelRegistry, folder: Path) -> int:
    """Multiplies large matrices for nothing."""
    return register_variant(registry, folder, model=_slow(folder))


BAD: dict[str, Callable[[ModelRegistry, Path], int]] = {
    "corrupt bundle": corrupt,
    "wrong label set": wrong_labels,
    "crashes when run": crashing,
    "crashes on rare words": crashing_on_rare_words,
    "ten times slower": ten_times_slower,
    "flipped labels": flipped,
}


def _failing_from(folder: Path, token: int) -> Path:
    """The model with a look-up that has no entry for tokens from ``token`` on."""
    import onnx  # noqa: PLC0415

    model = onnx.load(BUNDLED / MODEL_FILE["onnx"])
    table = onnx.numpy_helper.from_array(np.zeros(token, dtype=np.float32), "few_words")
    model.graph.initializer.append(table)
    nodes = [onnx.helper.make_node("Gather", ["few_words", "input_ids"], ["looked_up"])]
    return _added(folder / f"failing-{token}.onnx", model, nodes, "looked_up")


def _slow(folder: Path) -> Path:
    import onnx  # noqa: PLC0415

    model = onnx.load(BUNDLED / MODEL_FILE["onnx"])
    square = np.full((_SLOW_ROWS, _SLOW_ROWS), 1e-4, dtype=np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(square, "square"))
    make = onnx.helper.make_node
    # Depends on the input, so that nothing can be computed beforehand.
    nodes = [
        make("Cast", ["attention_mask"], ["ones"], to=onnx.TensorProto.FLOAT),
        make("ReduceMax", ["ones"], ["one"], keepdims=0),
        make("Mul", ["square", "one"], ["product_0"]),
    ]
    for number in range(_SLOW_PRODUCTS):
        inputs = [f"product_{number}", "square"]
        nodes.append(make("MatMul", inputs, [f"product_{number + 1}"]))
    return _added(folder / "slow.onnx", model, nodes, f"product_{_SLOW_PRODUCTS}")


def _added(path: Path, model: Any, nodes: list[Any], extra: str) -> Path:
    """Writes the model with ``nodes``, of whose result nothing is added to the logits."""
    import onnx  # noqa: PLC0415

    make = onnx.helper.make_node
    for node in model.graph.node:
        for place, output in enumerate(node.output):
            if output == "logits":
                node.output[place] = "true_logits"
    nothing = onnx.numpy_helper.from_array(np.zeros((), dtype=np.float32), "nothing")
    model.graph.initializer.append(nothing)
    model.graph.node.extend(
        [
            *nodes,
            make("ReduceMax", [extra], ["largest"], keepdims=0),
            make("Mul", ["largest", "nothing"], ["zero"]),
            make("Add", ["true_logits", "zero"], ["logits"]),
        ]
    )
    onnx.save(model, path)
    return path
