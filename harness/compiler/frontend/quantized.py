"""ONNX's quantized operators, all said by quantize and dequantize around float operators; a pass finds the integer arithmetic again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.compiler.expression import apply
from harness.compiler.frontend.builder import CONVERT, Builder, OnnxNode, axis_of, converts
from harness.compiler.frontend.elementwise import X, Y, Z


def _parameters(builder: Builder, node: OnnxNode, inputs: Sequence[str], shape: Sequence[int]) -> tuple[str, str]:
    """Scale and zero point, constants shaped so that they broadcast to `shape`."""
    scale = builder.value(node, inputs[1])
    dtype = "uint8" if node.kind == "QuantizeLinear" else builder.types[inputs[0]].dtype
    zero = builder.value(node, inputs[2]) if node.has(2) else np.zeros(scale.shape, dtype)
    if scale.dtype != np.float32 or node.attributes.get("block_size") or zero.dtype.name not in ("int8", "uint8", "int32"):
        raise node.unsupported(f"scales of {scale.dtype}, zero points of {zero.dtype} or blocks")
    if scale.size == 1:
        return builder.constant(scale.reshape(())), builder.constant(zero.reshape(()))
    axis = axis_of(node, node.attributes.get("axis", 1), len(shape))
    along = [1] * len(shape)
    along[axis] = -1
    return builder.constant(scale.reshape(along)), builder.constant(zero.reshape(along))


@converts("QuantizeLinear", "com.microsoft.QuantizeLinear")
def _quantize(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    scale, zero = _parameters(builder, node, inputs, builder.shape(inputs[0]))
    return builder.map(apply("quantize", X, Y, Z, dtype=builder.types[zero].dtype), inputs[0], scale, zero)


@converts("DequantizeLinear", "com.microsoft.DequantizeLinear")
def _dequantize(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    scale, zero = _parameters(builder, node, inputs, builder.shape(inputs[0]))
    return builder.map(apply("dequantize", X, Y, Z), inputs[0], scale, zero)


@converts("QLinearConv", "QLinearMatMul")
def _between(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    """x, its scale and zero point, weights, theirs, those of the result, and a bias in units of x's scale times the weights'."""
    x = _real(builder, node, inputs[0:3], 1)
    weights = _real(builder, node, inputs[3:6], 0 if node.kind == "QLinearConv" else len(builder.shape(inputs[3])) - 1)
    given = [x, weights]
    if node.kind == "QLinearConv" and node.has(8):
        scale = builder.value(node, inputs[1]) * builder.value(node, inputs[4])
        zero = builder.constant(np.zeros(scale.shape, np.int32))
        given.append(_real(builder, node, (inputs[8], builder.constant(scale), zero), 0))
    plain = node.kind.removeprefix("QLinear")
    found = CONVERT[plain](builder, OnnxNode(plain, node.name, tuple(given), node.outputs, node.attributes), given)
    assert isinstance(found, str)
    result = OnnxNode("QuantizeLinear", node.name, (found, *node.inputs[6:8]), node.outputs, {})
    return _quantize_one(builder, result, (found, inputs[6], inputs[7]))


def _real(builder: Builder, node: OnnxNode, inputs: Sequence[str], axis: int) -> str:
    given = OnnxNode("DequantizeLinear", node.name, tuple(inputs), (), {"axis": axis})
    found = _dequantize(builder, given, inputs)
    assert isinstance(found, str)
    return found


def _quantize_one(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    found = _quantize(builder, node, inputs)
    assert isinstance(found, str)
    return found
