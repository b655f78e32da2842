"""The weights inside an exported ONNX file, as the torch classifier names them.

A bundle has no checkpoint, but its graph has every weight: by name, or as the matrix beside the
bias of the same layer. 8-bit weights come back rounded, which fine-tuning soon outgrows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from pipelines.errors import CheckpointError

_BIAS, _WEIGHT = ".bias", ".weight"


def read_onnx_weights(file: Path, wanted: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns a tensor for every name in ``wanted``, of its shape.

    Raises:
        CheckpointError: The graph lacks one, or has it in another shape.
    """
    graph = onnx.load(str(file)).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    matrices = dict(_matrices(graph, stored))
    found: dict[str, torch.Tensor] = {}
    for name, like in wanted.items():
        values = _named(stored, name)
        if values is None and name.endswith(_WEIGHT):
            values = matrices.get(name.removesuffix(_WEIGHT) + _BIAS)
        if values is None and not like.is_floating_point():
            found[name] = like
            continue
        if values is None or tuple(values.shape) != tuple(like.shape):
            raise CheckpointError(
                f"{file}: the graph has no weights {name} of shape {tuple(like.shape)}: it was "
                f"made of another model; name a checkpoint folder instead"
            )
        found[name] = torch.from_numpy(np.array(values, order="C")).to(like.dtype)
    return found


def _named(stored: Mapping[str, np.ndarray], name: str) -> np.ndarray | None:
    if name in stored:
        return stored[name]
    if (turned := stored.get(f"{name}_Transposed")) is not None:
        return turned.T
    if (rounded := stored.get(f"{name}_quantized")) is not None:
        return _real(rounded, stored[f"{name}_scale"], stored[f"{name}_zero_point"])
    return None


def _matrices(graph: Any, stored: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """The bias's name and the matrix, as torch has it, of every layer in the graph."""
    producers = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        bias = next((name for name in node.input if name.endswith(_BIAS) and name in stored), None)
        if bias is None:
            continue
        product = node
        if node.op_type == "Add":
            other = next(name for name in node.input if name != bias)
            product = producers.get(other, node)
        # Dynamic quantisation scales the product between the two.
        while product.op_type in ("Mul", "Cast") and product.input[0] in producers:
            product = producers[product.input[0]]
        matrix = _matrix(product, stored, producers)
        if matrix is not None:
            turned = any(a.name == "transB" and a.i for a in product.attribute)
            yield bias, matrix if turned else matrix.T


def _matrix(
    node: Any, stored: Mapping[str, np.ndarray], producers: Mapping[str, Any]
) -> np.ndarray | None:
    if len(node.input) < 2:
        return None
    name = node.input[1]
    if (source := producers.get(name)) is not None:
        if source.op_type != "DequantizeLinear":
            return None
        rounded, scale, *zero = (stored[part] for part in source.input)
        return _real(rounded, scale, zero[0] if zero else np.zeros_like(scale))
    if name not in stored:
        return None
    matrix = stored[name]
    if not name.endswith("_quantized"):
        return matrix if matrix.ndim == 2 else None
    plain = name.removesuffix("_quantized")
    return _real(matrix, stored[f"{plain}_scale"], stored[f"{plain}_zero_point"])


def _real(rounded: np.ndarray, scale: np.ndarray, zero_point: np.ndarray) -> np.ndarray:
    """Rounded values as float32; a scale of each column, or one of all."""
    centred = rounded.astype(np.float32) - zero_point.astype(np.float32)
    real: np.ndarray = (centred * scale).astype(np.float32)
    return real
