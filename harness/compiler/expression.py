"""What is computed for each element: an expression over the elements of some tensors. NumPy evaluates it, the emitter prints it as C.

A quantized element stands for scale * (stored - zero_point); rounding is to the nearest integer, ties to even, as ONNX has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Input:
    """The element of the tensor of this number."""

    index: int


@dataclass(frozen=True, slots=True)
class Constant:
    value: float
    dtype: str


@dataclass(frozen=True, slots=True)
class Apply:
    """A row of SCALARS over its arguments."""

    scalar: str
    arguments: tuple[Expression, ...]
    dtype: str = ""
    """Of the result, for `cast` and `quantize`."""


Expression = Input | Constant | Apply


class Scalar(NamedTuple):
    """An operation on elements."""

    compute: Callable[..., Any]
    """In NumPy, over arrays."""
    text: str
    """In C, `{0}` `{1}` ... for the arguments; each is a name or a literal, so that none is computed twice."""
    result: str = "first"
    """dtype of the result: of the `first` or `second` argument, as `given`, or its name."""
    kinds: str = "fiub"
    """NumPy kinds of the first argument that it is defined for at run time."""
    arity: int = 1


def _erf(x: Array) -> Array:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x.astype(np.float64)), x.dtype)


def _sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x.astype(np.float64))), x.dtype)


def _softplus(x: Array) -> Array:
    return np.asarray(np.logaddexp(0, x.astype(np.float64)), x.dtype)


def _divide(x: Array, y: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(x / y if x.dtype.kind == "f" else np.trunc(x / y), x.dtype)


def _power(x: Array, y: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.asarray(np.power(x, y), x.dtype)


def _quiet(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """sqrt of a negative number is NaN, log of 0 minus infinity: answers, no warnings."""

    def compute(x: Array) -> Array:
        with np.errstate(all="ignore"):
            return function(x)

    return compute


SCALARS: Mapping[str, Scalar] = {
    "add": Scalar(np.add, "{0} + {1}", kinds="fiu", arity=2),
    "sub": Scalar(np.subtract, "{0} - {1}", kinds="fiu", arity=2),
    "mul": Scalar(np.multiply, "{0} * {1}", kinds="fiu", arity=2),
    "div": Scalar(_divide, "{0} / {1}", kinds="f", arity=2),
    "pow": Scalar(_power, "powf({0}, {1})", kinds="f", arity=2),
    "min": Scalar(np.minimum, "{0} > {1} ? {1} : {0}", kinds="fiu", arity=2),
    "max": Scalar(np.maximum, "{0} < {1} ? {1} : {0}", kinds="fiu", arity=2),
    "neg": Scalar(np.negative, "-{0}", kinds="fi"),
    "abs": Scalar(np.abs, "({0} < 0 ? -{0} : {0})", kinds="fi"),
    "sqrt": Scalar(_quiet(np.sqrt), "sqrtf({0})", kinds="f"),
    "reciprocal": Scalar(_quiet(np.reciprocal), "1.0f / {0}", kinds="f"),
    "exp": Scalar(_quiet(np.exp), "hk_exp({0})", kinds="f"),
    "log": Scalar(_quiet(np.log), "logf({0})", kinds="f"),
    "sin": Scalar(np.sin, "sinf({0})", kinds="f"),
    "cos": Scalar(np.cos, "cosf({0})", kinds="f"),
    "tanh": Scalar(np.tanh, "hk_tanh({0})", kinds="f"),
    "erf": Scalar(_erf, "hk_erf({0})", kinds="f"),
    "sigmoid": Scalar(_sigmoid, "hk_sigmoid({0})", kinds="f"),
    "softplus": Scalar(_softplus, "hk_softplus({0})", kinds="f"),
    "floor": Scalar(np.floor, "floorf({0})", kinds="f"),
    "ceil": Scalar(np.ceil, "ceilf({0})", kinds="f"),
    "round": Scalar(np.rint, "rintf({0})", kinds="f"),
    "sign": Scalar(np.sign, "(({0} > 0) - ({0} < 0))", kinds="fi"),
    "equal": Scalar(np.equal, "{0} == {1}", "bool", arity=2),
    "less": Scalar(np.less, "{0} < {1}", "bool", "fiu", 2),
    "less_equal": Scalar(np.less_equal, "{0} <= {1}", "bool", "fiu", 2),
    "not": Scalar(np.logical_not, "!{0}", "bool", "b"),
    "and": Scalar(np.logical_and, "{0} & {1}", "bool", "b", 2),
    "or": Scalar(np.logical_or, "{0} | {1}", "bool", "b", 2),
    "xor": Scalar(np.logical_xor, "{0} ^ {1}", "bool", "b", 2),
    "where": Scalar(np.where, "{0} ? {1} : {2}", "second", "b", 3),
    "cast": Scalar(lambda x: x, "{0}", "given"),
    "dequantize": Scalar(
        lambda x, scale, zero: (x.astype(np.int32) - zero.astype(np.int32)).astype(np.float32) * scale,
        "(float)((int32_t){0} - (int32_t){2}) * {1}",
        "float32",
        "iu",
        3,
    ),
    "quantize": Scalar(lambda x, scale, zero: np.rint(x / scale) + zero, "hk_quantize_{dtype}({0}, {1}, {2})", "given", "f", 3),
}


def apply(scalar: str, *arguments: Expression, dtype: str = "") -> Apply:
    return Apply(scalar, arguments, dtype)


def dtype_of(expression: Expression, inputs: Sequence[str]) -> str:
    """The dtype of the result, over inputs of these dtypes; TypeError where arguments do not belong together."""
    if isinstance(expression, Input):
        return inputs[expression.index]
    if isinstance(expression, Constant):
        return expression.dtype
    row = SCALARS[expression.scalar]
    found = [dtype_of(argument, inputs) for argument in expression.arguments]
    if len(found) != row.arity:
        raise TypeError(f"`{expression.scalar}` takes {row.arity} arguments, not {len(found)}")
    alike = found[1:] if expression.scalar == "where" else [] if row.result in ("given", "float32") else found
    if len(set(alike)) > 1:
        raise TypeError(f"`{expression.scalar}` over {' and '.join(alike)}")
    return {"first": found[0], "second": found[min(1, len(found) - 1)], "given": expression.dtype}.get(row.result, row.result)


def evaluate(expression: Expression, arrays: Sequence[Array]) -> Array:
    """Over arrays that broadcast against each other."""
    if isinstance(expression, Input):
        return arrays[expression.index]
    if isinstance(expression, Constant):
        return np.asarray(expression.value, expression.dtype)
    arguments = [evaluate(argument, arrays) for argument in expression.arguments]
    found = np.asarray(SCALARS[expression.scalar].compute(*arguments))
    dtype = dtype_of(expression, [a.dtype.name for a in arrays])
    return saturated(found, dtype) if expression.scalar == "quantize" else found.astype(dtype)


def saturated(values: Array, dtype: str) -> Array:
    limits = np.iinfo(dtype)
    return np.clip(values, limits.min, limits.max).astype(dtype)


def substituted(expression: Expression, replacements: Sequence[Expression]) -> Expression:
    """With input i replaced by the i-th of `replacements`."""
    if isinstance(expression, Input):
        return replacements[expression.index]
    if isinstance(expression, Constant):
        return expression
    return Apply(expression.scalar, tuple(substituted(a, replacements) for a in expression.arguments), expression.dtype)


def applications(expression: Expression) -> list[Apply]:
    """Every different Apply in it, arguments before what uses them."""
    found: dict[Apply, None] = {}

    def visit(part: Expression) -> None:
        if isinstance(part, Apply) and part not in found:
            for argument in part.arguments:
                visit(argument)
            found[part] = None

    visit(expression)
    return list(found)
