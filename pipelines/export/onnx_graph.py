"""Writes a classifier as an ONNX graph, and a second one in 8 bits.

Used by `export` and `import`; `parity` judges the result. Both graphs take input_ids and
attention_mask, [batch, length] int64 with both sizes free, and return logits, [batch, labels]
float32. Token types are zeros inside the graph.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from pipelines.export.static_quantization import Feed, freeze_activations
from pipelines.training.classifier import Classifier

OPSET = 18
INPUTS = ("input_ids", "attention_mask")
OUTPUT = "logits"
MAX_BATCH = 65_536


def export_fp32(model: Classifier, path: Path, *, max_tokens: int) -> None:
    """Traces the model and writes one self-contained FP32 file.

    Args:
        model: In evaluation mode, on the CPU.
        path: File to write.
        max_tokens: Largest length that the graph must take.
    """
    ids = torch.ones((2, 8), dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[0, 5:] = 0
    sizes = {
        0: torch.export.Dim("batch", min=1, max=MAX_BATCH),
        1: torch.export.Dim("length", min=2, max=max_tokens),
    }
    # It says of each operator of torchvision that it is not installed; none is used.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    # The exporter reports its stages on stdout, which belongs to results.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model.eval(),
            (ids, mask),
            dynamo=True,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_shapes=(sizes, sizes),
            opset_version=OPSET,
        )
    program.save(str(path), external_data=False)
    onnx.checker.check_model(onnx.load(path))


def quantise_int8(fp32: Path, path: Path, feeds: Iterable[Feed]) -> bool:
    """Writes the graph with 8-bit weights in its matrix products and embedding tables, and with
    activation scales taken from ``feeds``, the graph's inputs for representative texts.

    Weights get one scale per output channel and use 7 of their 8 bits. Without VNNI, ONNX Runtime
    multiplies with VPMADDUBSW, which adds pairs of products in 16 bits: two full-range products
    (255 x 127 x 2) overflow there and saturate, 7-bit ones do not. So a model answers alike on old
    and new machines. The head stays FP32: it is tiny and every answer passes through it.

    Returns:
        Whether a text's scores are the same in every batch. Untrue where a product was not
        understood and still scales its activations at run time.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch, _quiet_root_logger():
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(
            str(fp32), str(prepared), skip_symbolic_shape=True, skip_optimization=True
        )
        quantize_dynamic(
            str(prepared),
            str(path),
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            nodes_to_exclude=_head_nodes(onnx.load(prepared)),
        )
    model = onnx.load(path)
    batch_invariant = freeze_activations(model, feeds)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return batch_invariant


def _head_nodes(graph: onnx.ModelProto) -> list[str]:
    # The quantiser splits a Gemm in two before it looks at the list, and names the halves so.
    last = [node.name for node in graph.graph.node if OUTPUT in node.output]
    return last + [f"{name}_MatMul" for name in last]


@contextlib.contextmanager
def _quiet_root_logger() -> Iterator[None]:
    # The quantiser advises pre-processing on every call, also where it was done.
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
