"""Freezes the activation scales of a dynamically quantised graph, so that a text's scores do not
depend on its batch mates.

`quantize_dynamic` leaves each product as DynamicQuantizeLinear, MatMulInteger, Cast, two Mul and an
Add: the scale of the activations is taken from the whole batch at run time. Here their range is
observed on real texts, once, and the chain becomes QuantizeLinear with a constant scale and one
MatMulIntegerToFloat that also adds the bias. In encoders whose products follow a normalisation, the
range is set by a few channels that are alike for every text, so a constant loses nothing
(`parity` judges that). The exact GELU becomes one node, by ONNX Runtime's own fusion.

Both operators belong to ONNX Runtime (domain com.microsoft), so the graph needs that runtime; every
CPU build has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.transformers.fusion_gelu import FusionGelu
from onnxruntime.transformers.onnx_model import OnnxModel

CONTRIB = "com.microsoft"
QUANTISE = "DynamicQuantizeLinear"
UINT8_STEPS = 255

Feed = Mapping[str, npt.NDArray[np.int64]]
Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _Product:
    """One quantised product: what it multiplies by, and the nodes that one node can replace."""

    weight: str
    weight_scale: str
    weight_zero_point: str
    bias: str
    output: str
    nodes: tuple[NodeProto, ...]


def freeze_activations(model: onnx.ModelProto, feeds: Iterable[Feed]) -> bool:
    """Replaces run-time activation scales by constant ones, in place.

    Args:
        model: Written by ``quantize_dynamic`` with int8 weights.
        feeds: The graph's inputs for representative texts; each is run once.

    Returns:
        Whether every product was recognised, so that no scale depends on the batch any more.
    """
    wanted = [node.input[0] for node in model.graph.node if node.op_type == QUANTISE]
    ranges = _observe(model, wanted, feeds)
    graph = _Graph(model.graph)
    for quantise in [node for node in model.graph.node if node.op_type == QUANTISE]:
        products = graph.products(quantise)
        if products:
            graph.replace(quantise, products, ranges[quantise.input[0]])
    if not any(entry.domain == CONTRIB for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    fused = OnnxModel(model)
    FusionGelu(fused).apply()
    fused.prune_graph()
    fused.topological_sort()
    return not any(node.op_type == QUANTISE for node in model.graph.node)


def _observe(model: onnx.ModelProto, names: list[str], feeds: Iterable[Feed]) -> Ranges:
    """Smallest and largest value of each named tensor over all feeds."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = ort.InferenceSession(
        watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    # Zero must be exact: padding and masked values are zeros.
    ranges: Ranges = dict.fromkeys(names, (0.0, 0.0))
    for feed in feeds:
        for name, values in zip(names, session.run(names, dict(feed)), strict=True):
            low, high = ranges[name]
            ranges[name] = (min(low, float(values.min())), max(high, float(values.max())))
    return ranges


class _Graph:
    """The graph with the look-ups that the replacement needs."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._constants = {item.name for item in graph.initializer}
        self._readers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        # What the caller reads must stay, whatever else reads it.
        for output in graph.output:
            self._readers.setdefault(output.name, []).append(NodeProto())

    def products(self, quantise: NodeProto) -> list[_Product]:
        """All products of what ``quantise`` gives; none if one of them is not understood."""
        readers = [
            node for node in self._readers[quantise.output[0]] if node.op_type == "MatMulInteger"
        ]
        found = [self._product(node, quantise.output[1]) for node in readers]
        return [] if None in found else [product for product in found if product]

    def _product(self, product: NodeProto, scale: str) -> _Product | None:
        cast = self._only_reader(product, "Cast")
        scaled = cast and self._only_reader(cast, "Mul")
        if scaled is None or len(product.input) < 4:
            return None
        both = [
            node
            for node in self._readers[scale]
            if node.op_type == "Mul" and node.output[0] in scaled.input
        ]
        weight_scale = self._constant(both[0]) if len(both) == 1 else ""
        if cast is None or not weight_scale or product.input[1] not in self._constants:
            return None
        nodes, bias = [product, cast, scaled, both[0]], ""
        add = self._only_reader(scaled, "Add")
        if add is not None and self._constant(add):
            nodes, bias = [*nodes, add], self._constant(add)
        return _Product(
            weight=product.input[1],
            weight_scale=weight_scale,
            weight_zero_point=product.input[3],
            bias=bias,
            output=(add if add is not None and bias else scaled).output[0],
            nodes=tuple(nodes),
        )

    def _only_reader(self, node: NodeProto, kind: str) -> NodeProto | None:
        readers = self._readers.get(node.output[0], [])
        return readers[0] if len(readers) == 1 and readers[0].op_type == kind else None

    def _constant(self, node: NodeProto) -> str:
        return next((name for name in node.input if name in self._constants), "")

    def replace(
        self, quantise: NodeProto, products: list[_Product], bounds: tuple[float, float]
    ) -> None:
        """Puts the constant scale and the fused products where ``quantise`` was."""
        source, (low, high) = quantise.input[0], bounds
        step = (high - low or 1) / UINT8_STEPS
        scale, zero, quantised = (f"{source}_{part}" for part in ("scale", "zero", "uint8"))
        self._graph.initializer.extend(
            [
                numpy_helper.from_array(np.array(step, np.float32), scale),
                numpy_helper.from_array(np.array(round(-low / step), np.uint8), zero),
            ]
        )
        self._graph.node.append(
            helper.make_node("QuantizeLinear", [source, scale, zero], [quantised])
        )
        for product in products:
            self._graph.node.append(
                helper.make_node(
                    "MatMulIntegerToFloat",
                    [
                        quantised,
                        product.weight,
                        scale,
                        product.weight_scale,
                        zero,
                        product.weight_zero_point,
                        product.bias,
                    ],
                    [product.output],
                    domain=CONTRIB,
                )
            )
            for node in product.nodes:
                self._graph.node.remove(node)
        self._graph.node.remove(quantise)
