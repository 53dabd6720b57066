"""What each operator of an ONNX file must compute and move, counted from its shapes: the other half of a profile."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

_RENAMED = re.compile(r"(_token_\d+|_nchwc|/WithoutBiases|/DequantizationMultiply)+$")
"""What ONNX Runtime and OpenVINO hang on to the names of operators that they rewrite."""
_PRODUCTS = (
    "Conv",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "FusedConv",
    "QLinearConv",
    "QGemm",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
)


_ELEMENTWISE = ("Relu", "Clip", "Add", "Sigmoid", "Mul", "HardSigmoid", "LeakyRelu", "Tanh", "BatchNormalization")
"""What a runtime takes into the convolution before it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one operator at the file's own batch, every zero counted."""

    layer: str | None
    """Dotted name of the module whose weight it uses."""
    macs: float | None
    """None for operators that are no products."""
    bytes: float
    """Inputs, weights and outputs, each once; what is stored as integers counts as integers."""
    format: str | None
    sparsity: float | None
    """Share of its weights that are zero."""


def operator_costs(path: Path, names: Sequence[str]) -> list[Cost | None]:
    """Cost of each operator that a runtime names, in their order; None where the name leads to nothing in the file.

    ONNX Runtime calls an operator that it made itself after a node or after the tensor that comes out of it. A tensor that an
    elementwise operator gives may by then be a fused convolution's: it stands for the last product before it that no other name claims.
    """
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    tensors = _Tensors(graph)
    nodes = {node.name: node for node in graph.node}
    makers = {output: node for node in graph.node for output in node.output}
    order = {node.name: index for index, node in enumerate(graph.node)}
    named = [nodes.get(name) or nodes.get(original_name(name)) or makers.get(original_name(name)) for name in names]
    claimed = {node.name for node in named if node is not None and node.op_type in _PRODUCTS}
    found: list[Cost | None] = []
    for node in named:
        if node is not None and node.name not in claimed:
            fused = [product for product in _products_before(node, makers) if product.name not in claimed]
            node = max(fused, key=lambda product: order[product.name], default=node)
            claimed.add(node.name)
        found.append(None if node is None else tensors.cost(node))
    return found


def original_name(name: str) -> str:
    """The file's name of an operator that a runtime has renamed while rewriting it."""
    return _RENAMED.sub("", name)


def _products_before(node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The products whose results reach an elementwise node through elementwise nodes alone."""
    if node.op_type not in _ELEMENTWISE:
        return []
    found = []
    for maker in (makers[name] for name in node.input if name in makers):
        found += [maker] if maker.op_type in _PRODUCTS else _products_before(maker, makers)
    return found


class _Tensors:
    """Sizes of a graph's tensors, looked up through quantize and dequantize nodes to what is really stored."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        import onnx

        self.constants = {constant.name: constant for constant in graph.initializer}
        self.kinds: dict[str, tuple[tuple[int, ...], int]] = {}
        for value in (*graph.input, *graph.output, *graph.value_info):
            kind = value.type.tensor_type
            shape = tuple(dim.dim_value for dim in kind.shape.dim)
            self.kinds[value.name] = shape, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
        for constant in graph.initializer:
            self.kinds[constant.name] = tuple(constant.dims), onnx.helper.tensor_dtype_to_np_dtype(constant.data_type).itemsize
        self.dequantized = {n.output[0]: n for n in graph.node if n.op_type == "DequantizeLinear"}
        self.quantized = {n.input[0]: n.output[0] for n in graph.node if n.op_type == "QuantizeLinear"}

    def cost(self, node: onnx.NodeProto) -> Cost:
        stored = [self._stored(name) for name in node.input if name]
        moved = [*stored, *(self.quantized.get(name, name) for name in node.output if name)]
        weights = [name for name in stored if name in self.constants and len(self.constants[name].dims) >= 2]
        weight = weights[0] if weights and node.op_type in _PRODUCTS else None
        return Cost(
            layer=None if weight is None else _module(weight),
            macs=self._macs(node, weight),
            bytes=float(sum(self._bytes(name) for name in moved)),
            format=None if weight is None else self._format(node, weight),
            sparsity=None if weight is None else self._sparsity(weight),
        )

    def _stored(self, name: str) -> str:
        return self.dequantized[name].input[0] if name in self.dequantized else name

    def _bytes(self, name: str) -> int:
        shape, size = self.kinds.get(name, ((0,), 0))
        return math.prod(shape) * size

    def _macs(self, node: onnx.NodeProto, weight: str | None) -> float | None:
        """Products of a convolution or matrix product: outputs times the length of the sums that they are."""
        if node.op_type not in _PRODUCTS or node.output[0] not in self.kinds:
            return None
        outputs = math.prod(self.kinds[node.output[0]][0])
        if "Conv" in node.op_type:
            if weight is None:
                return None
            if node.op_type == "ConvTranspose":
                return float(math.prod(self.kinds[self._stored(node.input[0])][0]) * math.prod(self.constants[weight].dims[1:]))
            return float(outputs * math.prod(self.constants[weight].dims[1:]))
        left = self.kinds.get(node.input[0], ((), 0))[0]
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return float(outputs * left[0 if transposed else -1]) if left else None

    def _format(self, node: onnx.NodeProto, weight: str) -> str:
        import onnx

        kind = onnx.helper.tensor_dtype_to_np_dtype(self.constants[weight].data_type).name
        scales = [
            self.dequantized[name].input[1] for name in node.input if name in self.dequantized and self._stored(name) == weight
        ]
        if not scales:
            return kind
        return f"{kind} per {'channel' if math.prod(self.kinds.get(scales[0], ((), 0))[0]) > 1 else 'tensor'}"

    def _sparsity(self, weight: str) -> float:
        import onnx

        values: Any = onnx.numpy_helper.to_array(self.constants[weight])
        return float(1.0 - np.count_nonzero(values) / max(values.size, 1))


def _module(weight: str) -> str:
    """`block1.conv1.weight_quantized` -> `block1.conv1`."""
    return re.sub(r"(_quantized)?$", "", weight).rpartition(".")[0] or weight
