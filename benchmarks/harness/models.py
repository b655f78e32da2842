"""The models that are measured: the bundled MiniLM, its variants, and a DistilBERT-shaped one.

Speed does not depend on what weights say, so the last has random weights from a fixed seed:
six layers of width 768, 66 million parameters, exported and quantised by the project's own steps.
"""

import argparse
import json
import shutil
import sys
import tempfile
import uuid
from pathlib import Path

from benchmarks.harness.machine import ROOT
from benchmarks.harness.texts import real_texts
from registry.bundles.bundle import MODEL_FILE, open_bundle, write_bundle
from registry.errors import RegistryError
from registry.model_registry import ModelRegistry
from registry.records import Bundle, EngineHints

MINILM, DISTILBERT = "minilm", "distilbert"
MODELS = (MINILM, DISTILBERT)
BUNDLED = ROOT / "models" / "sentiment"
NAME = "sentiment"
ACTOR = "benchmark"
STATE_DIR = ROOT / ".sentigraph" / "bench"
_SEED = 1
_POSITIONS = 512


def bundle_of(model: str) -> Bundle:
    """The bundle of a model; the DistilBERT-shaped one is made when it is missing (a minute)."""
    if model == MINILM:
        return open_bundle(BUNDLED)
    directory = STATE_DIR / "models" / DISTILBERT
    try:
        return open_bundle(directory)
    except RegistryError:
        print(f"making the DistilBERT-shaped model in {directory}", file=sys.stderr)
        return make_distilbert(directory)


def served_version(body: bytes) -> tuple[int, str]:
    """Version and digest of the model that gave an answer."""
    answer = json.loads(body)
    return answer["model_version"], answer["model_digest"]


def register_variant(
    registry: ModelRegistry,
    folder: Path,
    *,
    temperature: float = 1.0,
    labels: tuple[str, ...] | None = None,
    model: Path | None = None,
) -> int:
    """Registers the bundled model with something changed; returns the version.

    Args:
        registry: Where.
        folder: For the bundle's files.
        temperature: Times that of the bundled model.
        labels: In place of its own.
        model: An ONNX file in place of its own.
    """
    bundle = open_bundle(BUNDLED)
    files = {name: BUNDLED / name for name in bundle.files}
    made = write_bundle(
        folder / f"variant-{uuid.uuid4().hex}",
        name=NAME,
        labels=labels or bundle.labels,
        files=files | ({MODEL_FILE["onnx"]: model} if model else {}),
        max_tokens=bundle.max_tokens,
        temperature=bundle.temperature * temperature,
        head=bundle.head,
        engine=bundle.engine,
    )
    return registry.store.register(NAME, made.directory, actor=ACTOR).version


def make_distilbert(directory: Path) -> Bundle:
    """Writes a DistilBERT-shaped INT8 bundle with the bundled model's tokenizer and labels."""
    # Imported here: only this function needs the training extra.
    import torch  # noqa: PLC0415
    from transformers import DistilBertConfig  # noqa: PLC0415

    from pipelines.export.bundles import feeds  # noqa: PLC0415
    from pipelines.export.export import CALIBRATION_TEXTS  # noqa: PLC0415
    from pipelines.export.onnx_graph import INPUTS, export_fp32, quantise_int8  # noqa: PLC0415
    from pipelines.training.classifier import build  # noqa: PLC0415

    like = open_bundle(BUNDLED)
    torch.manual_seed(_SEED)
    config = DistilBertConfig(max_position_embeddings=_POSITIONS)
    model = build(config, "sequence-classification", len(like.labels)).eval()
    with tempfile.TemporaryDirectory() as folder:
        fp32, int8 = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        export_fp32(model, fp32, max_tokens=like.max_tokens)
        batch_invariant = quantise_int8(fp32, int8, feeds(like, real_texts(CALIBRATION_TEXTS)))
        tokenizer = Path(folder) / "tokenizer.json"
        shutil.copyfile(like.directory / "tokenizer.json", tokenizer)
        return write_bundle(
            directory,
            name="distilbert-shaped",
            labels=like.labels,
            files={"model.onnx": int8, "tokenizer.json": tokenizer},
            max_tokens=like.max_tokens,
            engine=EngineHints(
                kind="onnx",
                precision="int8",
                inputs=INPUTS,
                pad_id=like.engine.pad_id,
                batch_invariant=batch_invariant,
            ),
            provenance={"weights": f"random, seed {_SEED}", "shape": "DistilBERT, 6 x 768"},
        )


def main() -> int:
    """Makes the DistilBERT-shaped bundle again."""
    argparse.ArgumentParser(description=make_distilbert.__doc__).parse_args()
    print(make_distilbert(STATE_DIR / "models" / DISTILBERT).directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
