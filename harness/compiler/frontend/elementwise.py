"""ONNX operators that work on each element alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx

from harness.compiler.expression import Apply, Constant, Expression, Input, apply
from harness.compiler.frontend.builder import Builder, OnnxNode, converts

X, Y, Z = Input(0), Input(1), Input(2)


def real(value: float) -> Constant:
    """A float32 as it is stored."""
    return Constant(float(np.float32(value)), "float32")


def clipped(x: Expression, low: float, high: float) -> Apply:
    return apply("min", apply("max", x, real(low)), real(high))


RELU = apply("max", X, real(0))
HARD_SIGMOID = clipped(apply("add", apply("mul", X, real(1 / 6)), real(0.5)), 0, 1)
UNARY = {
    "Abs": "abs",
    "Ceil": "ceil",
    "Cos": "cos",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "Log": "log",
    "Neg": "neg",
    "Not": "not",
    "Reciprocal": "reciprocal",
    "Round": "round",
    "Sigmoid": "sigmoid",
    "Sign": "sign",
    "Sin": "sin",
    "Softplus": "softplus",
    "Sqrt": "sqrt",
    "Tanh": "tanh",
}
BINARY = {
    "Add": "add",
    "And": "and",
    "Div": "div",
    "Equal": "equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
    "Max": "max",
    "Min": "min",
    "Mul": "mul",
    "Or": "or",
    "Pow": "pow",
    "Sub": "sub",
    "Sum": "add",
    "Xor": "xor",
}
SWAPPED = {"Greater": "less", "GreaterOrEqual": "less_equal"}


@converts(*UNARY)
def _unary(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    return builder.map(apply(UNARY[node.kind], X), inputs[0])


@converts(*BINARY)
def _binary(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    """Two inputs, of Max, Min and Sum one or more."""
    found = inputs[0]
    for other in inputs[1:]:
        is_power = node.kind == "Pow"
        found = _power(builder, found, other) if is_power else builder.map(apply(BINARY[node.kind], X, Y), found, other)
    return found


def _power(builder: Builder, base: str, exponent: str) -> str:
    """The usual exponents by what is exact and fast; others may be of another type than the base."""
    array = builder.constants.get(exponent)
    if array is not None and array.size == 1 and base not in builder.constants:
        by_value: dict[float, Expression] = {
            2.0: apply("mul", X, X),
            3.0: apply("mul", apply("mul", X, X), X),
            0.5: apply("sqrt", X),
            1.0: X,
        }
        if (expression := by_value.get(float(array.item()))) is not None:
            return builder.map(expression, base)
    return builder.map(apply("pow", X, apply("cast", Y, dtype=builder.types[base].dtype)), base, exponent)


@converts(*SWAPPED)
def _swapped(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    return builder.map(apply(SWAPPED[node.kind], Y, X), *inputs)


@converts("Relu")
def _relu(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:  # noqa: ARG001
    zero = Constant(0, builder.types[inputs[0]].dtype)
    return builder.map(apply("max", X, zero), inputs[0])


@converts("Clip")
def _clip(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    found = inputs[0]
    for index, (scalar, key) in enumerate((("max", "min"), ("min", "max")), start=1):
        if node.has(index):
            found = builder.map(apply(scalar, X, Y), found, inputs[index])
        elif key in node.attributes:
            found = builder.map(apply(scalar, X, real(node.attributes[key])), found)
    return found


@converts("LeakyRelu")
def _leaky(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    slope = real(node.attributes.get("alpha", 0.01))
    return builder.map(apply("where", apply("less", X, real(0)), apply("mul", X, slope), X), inputs[0])


@converts("PRelu")
def _prelu(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:  # noqa: ARG001
    return builder.map(apply("where", apply("less", X, real(0)), apply("mul", X, Y), X), *inputs)


@converts("HardSigmoid")
def _hard_sigmoid(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    slope, offset = real(node.attributes.get("alpha", 0.2)), real(node.attributes.get("beta", 0.5))
    return builder.map(clipped(apply("add", apply("mul", X, slope), offset), 0, 1), inputs[0])


@converts("Elu", "Celu", "Selu")
def _exponential(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    """x above 0, below it a * (exp(x / b) - 1), all times c."""
    alpha = node.attributes.get("alpha", 1.67326319217681884765625 if node.kind == "Selu" else 1.0)
    scaled = apply("div", X, real(alpha)) if node.kind == "Celu" else X
    below = apply("mul", real(alpha), apply("sub", apply("exp", scaled), real(1)))
    found = apply("where", apply("less", X, real(0)), below, X)
    gamma = node.attributes.get("gamma", 1.05070102214813232421875)
    return builder.map(apply("mul", found, real(gamma)) if node.kind == "Selu" else found, inputs[0])


@converts("Gelu", "com.microsoft.Gelu")
def _gelu(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    """x * (half the probability mass below x): by erf, or by the tanh that approximates it."""
    if node.attributes.get("approximate", "none") == "tanh":
        cube = apply("mul", apply("mul", apply("mul", X, X), X), real(0.044715))
        inner = apply("tanh", apply("mul", apply("add", X, cube), real(math.sqrt(2 / math.pi))))
    else:
        inner = apply("erf", apply("mul", X, real(math.sqrt(0.5))))
    return builder.map(apply("mul", apply("mul", X, real(0.5)), apply("add", inner, real(1))), inputs[0])


FORMULAS: dict[str, Expression] = {
    "HardSwish": apply("mul", X, HARD_SIGMOID),
    "Mish": apply("mul", X, apply("tanh", apply("softplus", X))),
    "Softsign": apply("div", X, apply("add", apply("abs", X), real(1))),
    "Swish": apply("mul", X, apply("sigmoid", X)),
    "Where": apply("where", X, Y, Z),
}


@converts(*FORMULAS)
def _formula(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    if node.kind == "Swish" and node.attributes.get("alpha", 1.0) != 1.0:
        raise node.unsupported("an alpha other than 1")
    return builder.map(FORMULAS[node.kind], *inputs)


@converts("Cast", "CastLike")
def _cast(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:
    is_like = node.kind == "CastLike"
    dtype = builder.types[inputs[1]].dtype if is_like else onnx.helper.tensor_dtype_to_np_dtype(node.attributes["to"]).name
    return inputs[0] if builder.types[inputs[0]].dtype == dtype else builder.map(apply("cast", X, dtype=dtype), inputs[0])


@converts("Identity", "Dropout")
def _same(builder: Builder, node: OnnxNode, inputs: Sequence[str]) -> str:  # noqa: ARG001
    return inputs[0]
