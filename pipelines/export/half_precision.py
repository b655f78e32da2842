"""Bundles beside FP32 ONNX and INT8: PyTorch in any precision, and ONNX in FP16.

A PyTorch bundle holds the model as the library writes it, safetensors and config.json. It is judged
like every conversion, by the library's own answers through the engine that serves it, before
anything is written.
"""

from __future__ import annotations

import copy
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch

from deployments.tokenizer.replica import LoadedTokenizer
from pipelines.errors import CheckpointError, ParityError, QuantisationError, refusing
from pipelines.export.bundles import (
    OTHER_ENCODER,
    REFERENCE_TEXTS,
    TOOLS,
    moved,
    workspace,
)
from pipelines.export.finished_classifier import Finished
from pipelines.export.odd_texts import odd_texts
from pipelines.export.onnx_graph import INPUTS, export_fp32
from pipelines.export.parity import (
    LOGIT_TOLERANCE,
    MIN_AGREEMENT,
    require_agreement,
    require_equal,
    require_steady,
)
from pipelines.export.serving_scores import ServedModel
from registry.bundles.bundle import check_name, write_bundle
from registry.records import Bundle, EngineHints

Precision = Literal["fp32", "fp16", "bf16"]
# Weights of 11 and 8 bits of mantissa, through a dozen layers; in proportion to the logits.
TOLERANCE: dict[Precision, float] = {"fp32": LOGIT_TOLERANCE, "fp16": 0.03, "bf16": 0.25}
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Converted:
    """One bundle and how it compares with the library.

    Attributes:
        bundle: Written.
        torch_difference: Largest absolute difference of a logit.
        agreement: Share of the decisions that stay.
    """

    bundle: Bundle
    torch_difference: float
    agreement: float


def write_converted(
    found: Finished,
    kind: Literal["onnx", "torch"],
    precision: Precision,
    out: Path,
    name: str,
    *,
    texts: Sequence[str],
    provenance: Mapping[str, str],
    min_agreement: float = MIN_AGREEMENT,
) -> Converted:
    """Writes ``out/PRECISION`` (ONNX) or ``out/torch-PRECISION``.

    Raises:
        ParityError: The bundle does not say what the library says.
        CheckpointError: ``out`` cannot be written.
    """
    check_name(name)
    facts = {**provenance, **{tool: version(tool) for tool in TOOLS}, "machine": platform.machine()}
    what = f"{'ONNX' if kind == 'onnx' else 'the PyTorch engine'} in {precision.upper()}"
    with refusing(CheckpointError, f"bundles cannot be written to {out}"), workspace(out) as work:
        with refusing(
            ParityError,
            f"this {found.model_type} model cannot be converted to {what}",
            OTHER_ENCODER if kind == "onnx" else "",
            scratch=work,
        ):
            files = (_onnx if kind == "onnx" else _torch)(found, precision, work)
            found.tokenizer.save(str(work / "tokenizer.json"))
            bundle = write_bundle(
                work / "bundle",
                name=name,
                labels=found.spec.labels,
                files={**files, "tokenizer.json": work / "tokenizer.json"},
                max_tokens=found.spec.max_tokens,
                truncation_side=found.spec.truncation_side,
                head=found.spec.head,
                engine=EngineHints(kind, precision, INPUTS, found.spec.pad_id, pads=found.pads),
                provenance=facts,
            )
            served = ServedModel(bundle)
        few = list(texts[:REFERENCE_TEXTS])
        odd = odd_texts(LoadedTokenizer(bundle), found.spec.max_tokens, texts)
        wanted, unusual = found.reference(few), found.reference(odd)
        given, answered = served.logits(few), served.logits(odd, 1)
        head = found.spec.head
        difference = max(
            require_equal(wanted, given, TOLERANCE[precision], what),
            require_equal(unusual, answered, TOLERANCE[precision], what),
        )
        try:
            agreement = require_agreement(wanted, given, min_agreement, head, what)
            require_steady(unusual, answered, odd, head, what)
        except QuantisationError as error:
            raise ParityError(str(error)) from error
        target = out / (precision if kind == "onnx" else f"torch-{precision}")
        return Converted(moved(bundle.directory, target), difference, agreement.same_label)


def _torch(found: Finished, precision: Precision, work: Path) -> dict[str, Path]:
    folder = work / "model"
    # A copy: what it is judged by is the model as it was loaded.
    body = copy.deepcopy(found.model.body).to(_DTYPES[precision])
    body.save_pretrained(folder, max_shard_size="1000GB")
    return {name: folder / name for name in ("config.json", "model.safetensors")}


def _onnx(found: Finished, precision: Precision, work: Path) -> dict[str, Path]:
    # Half a second of imports that no other import needs.
    import onnx  # noqa: PLC0415
    from onnxruntime.transformers.float16 import convert_float_to_float16  # noqa: PLC0415

    path = work / "model.onnx"
    export_fp32(found.model, path, max_tokens=found.spec.max_tokens)
    if precision == "fp16":
        onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), path)
    return {"model.onnx": path}
