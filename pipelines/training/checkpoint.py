"""Where training goes on from: a folder that `train` wrote, or a version in the registry.

A registered version is opened by the checkpoint of the run that trained it; where that was not
kept, by the weights in its ONNX file, on the base model that its provenance names.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipelines.data.sources import MINILM
from pipelines.errors import CheckpointError
from pipelines.training.classifier import load_classifier
from pipelines.training.onnx_weights import read_onnx_weights
from pipelines.training.pretrained import Pretrained, minilm_folder, open_pretrained
from pipelines.training.weights import weights_digest
from registry.bundles.bundle import MODEL_FILE
from registry.errors import RegistryError
from registry.model_registry import ModelRegistry
from registry.records import Bundle

KEPT = "checkpoint"


def open_checkpoint(
    source: str, registry: ModelRegistry, cache: Path, base: str | None
) -> tuple[Pretrained, dict[str, str]]:
    """Opens what training goes on from.

    Args:
        source: A folder of `train`, or MODEL@ALIAS, MODEL@NUMBER.
        registry: Where versions are.
        cache: Folder of downloaded archives.
        base: Base model of a version whose checkpoint was not kept; by default its own.

    Returns:
        The model with its labels, and facts for the provenance of what is made of it.

    Raises:
        CheckpointError: There is none, or it cannot be opened.
    """
    if (Path(source) / "classifier.json").is_file():
        return _open_folder(Path(source)), {"from": Path(source).name}
    name, at, reference = source.partition("@")
    if not at:
        raise CheckpointError(
            f"{source}: neither a folder with classifier.json nor MODEL@ALIAS, such as "
            f"sentiment@champion"
        )
    try:
        version = registry.catalog.version(name, reference)
        facts = {"from": f"{name} version {version.version}", "from_digest": version.digest}
        with tempfile.TemporaryDirectory(prefix="sentigraph-checkpoint-") as scratch:
            bundle = registry.store.fetch(version, Path(scratch) / "bundle")
            kept = _kept(registry, bundle, Path(scratch))
            model = _open_folder(kept) if kept else _of_bundle(bundle, cache, base)
    except RegistryError as error:
        raise CheckpointError(f"{source}: {error.message}") from error
    return model, facts


def check_labels(found: Sequence[str], wanted: Sequence[str], source: str) -> None:
    """Refuses data with other labels than the model's.

    Raises:
        CheckpointError: They differ.
    """
    if list(found) != list(wanted):
        raise CheckpointError(
            f"{source} has the labels {', '.join(found)}, the data {', '.join(wanted)}: name them "
            f"as the model does (--map, in `data`), or start from a base model"
        )


def _open_folder(folder: Path) -> Pretrained:
    model, spec, tokenizer = load_classifier(folder)
    mask = next((t for t in ("[MASK]", "<mask>") if tokenizer.token_to_id(t) is not None), None)
    mask_id = tokenizer.token_to_id(mask) if mask else None
    return Pretrained(model, spec, tokenizer, mask_id, weights_digest(folder))


def _kept(registry: ModelRegistry, bundle: Bundle, scratch: Path) -> Path | None:
    """The checkpoint of the run that trained it; None when there is none any more."""
    run_id = bundle.provenance.get("train_run")
    if not run_id:
        return None
    mlflow = registry.store.mlflow
    try:
        with mlflow.translated(f"checkpoint of run {run_id}"):
            client = mlflow.client()
            if not client.list_artifacts(run_id, KEPT):
                return None
            return Path(client.download_artifacts(run_id, KEPT, str(scratch)))
    except RegistryError:
        return None


def _of_bundle(bundle: Bundle, cache: Path, base: str | None) -> Pretrained:
    if bundle.engine.kind != "onnx":
        raise CheckpointError("a torch bundle is no checkpoint: name its folder with --base")
    if base is None and bundle.provenance.get("base") == MINILM.requirement:
        base = str(minilm_folder(cache))
    if base is None:
        raise CheckpointError(
            f"its checkpoint was not kept: name its base model "
            f"({bundle.provenance.get('base', 'unknown')}) with --base"
        )
    opened = open_pretrained(base, labels=bundle.labels, max_tokens=bundle.max_tokens)
    file = bundle.directory / MODEL_FILE["onnx"]
    opened.model.load_state_dict(read_onnx_weights(file, opened.model.state_dict()))
    return opened
