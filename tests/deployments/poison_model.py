"""A tiny random model that fails on some texts, and the stages of the graph that run it.

The tokenizer has one token more than the embedding table, texts may have more tokens than the
model has positions, and one token's embedding is NaN: an import from elsewhere may be any of these.
"""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import tokenizers
from front import Stages
from onnx import TensorProto, helper, numpy_helper
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from configs.schema.app import BatchingConfig, ModelConfig
from deployments.batching.cost_surface import CostSurface
from deployments.model.replica import ModelReplica
from deployments.payloads import ModelAnswer, TextBatch
from deployments.tokenizer.replica import TokenizerReplica, token_ids
from registry.bundles.bundle import write_bundle
from registry.records import Bundle, EngineHints, Head

NO_ROW, NAN, LONG = "good zzplusplus work", "good nan lamp", "tea " * 20
POISON = (NO_ROW, NAN, LONG.strip())
GOOD = tuple(f"{size} {thing}" for size in ("small", "good", "one") for thing in "abcd")
_WORDS = ("[PAD]", "[UNK]", "nan", "good", "small", "one", "work", "tea", "lamp", *"abcd")
_POSITIONS, _WIDTH = 16, 8

# One price for any batch: the plan puts all texts together.
FLAT = CostSurface(
    np.array([1, 128], dtype=np.float32),
    np.array([1, 512], dtype=np.float32),
    np.ones((2, 2), dtype=np.float32),
)


def write_poison_bundle(
    folder: Path,
    *,
    outputs: int = 2,
    width: int = _WIDTH,
    labels: tuple[str, ...] = ("NEG", "POS"),
    head: Head = Head(),  # noqa: B008  (frozen)
) -> Bundle:
    """The bundle; its graph has ``outputs`` logits."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(_graph(outputs, width), folder / "model.onnx")
    words = {word: index for index, word in enumerate((*_WORDS, "zzplusplus"))}
    tokenizer = tokenizers.Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()  # type: ignore[assignment]
    tokenizer.save(str(folder / "tokenizer.json"))
    return write_bundle(
        folder / "bundle",
        name="sentiment",
        labels=labels,
        files={name: folder / name for name in ("model.onnx", "tokenizer.json")},
        max_tokens=2 * _POSITIONS,
        head=head,
        engine=EngineHints("onnx", "fp32", ("input_ids", "attention_mask"), pad_id=0),
    )


def _graph(outputs: int, width: int) -> onnx.ModelProto:
    """Embeddings and positions, summed over the tokens of a text, times a matrix."""
    random = np.random.default_rng(7)
    words = random.normal(size=(len(_WORDS), width)).astype(np.float32)
    words[2] = np.nan
    weights = {
        "words": words,
        "positions": random.normal(size=(_POSITIONS, width)).astype(np.float32),
        "head": random.normal(size=(width, outputs)).astype(np.float32),
        "axis": np.array(1, dtype=np.int64),
        "axes": np.array([1], dtype=np.int64),
        "last": np.array([2], dtype=np.int64),
        "one": np.array(1, dtype=np.int64),
    }
    make = helper.make_node
    nodes = [
        make("CumSum", ["attention_mask", "axis"], ["counted"]),
        make("Sub", ["counted", "one"], ["place"]),
        make("Gather", ["words", "input_ids"], ["embedded"]),
        make("Gather", ["positions", "place"], ["placed"]),
        make("Add", ["embedded", "placed"], ["both"]),
        make("Cast", ["attention_mask"], ["real"], to=TensorProto.FLOAT),
        make("Unsqueeze", ["real", "last"], ["mask"]),
        make("Mul", ["both", "mask"], ["kept"]),
        make("ReduceSum", ["kept", "axes"], ["pooled"], keepdims=0),
        make("MatMul", ["pooled", "head"], ["logits"]),
    ]
    cells = ["batch", "tokens"]
    graph = helper.make_graph(
        nodes,
        "poison",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, cells)
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", outputs])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


class PoisonStages(Stages):
    """The real tokenizer and model replicas on the poison model, as one function."""

    def __init__(self, folder: Path, bundle: Bundle | None = None, **batching: Any) -> None:
        super().__init__()
        self.bundle = bundle or write_poison_bundle(folder)

        async def get(digest: str) -> Bundle:
            return self.bundle

        bundles: Any = SimpleNamespace(directory=folder, get=get)
        self.model = ModelReplica(
            bundles,
            ModelConfig(warmup_runs=0, surface_budget_ms=0),
            BatchingConfig(**batching),
            threads=1,
            gpu_share=0,
            encode=token_ids,
        )
        self._tokenizer = TokenizerReplica(bundles, self.model.run)
        self.runs = 0
        self.computed_rows = 0

    async def classify(self, batch: TextBatch) -> ModelAnswer:
        digest = self.bundle.digest
        if digest not in self.model._models:
            await self.model.load(digest)
            planned = self.model._models[digest]
            planned.surface = FLAT
            run = planned.loaded.engine.run

            def noted(ids: Any, mask: Any) -> Any:
                self.runs += 1
                logits = run(ids, mask)
                self.computed_rows += len(logits)
                return logits

            planned.loaded.engine.run = noted  # type: ignore[method-assign]
        return await self._tokenizer.classify(dataclasses.replace(batch, digest=digest))
