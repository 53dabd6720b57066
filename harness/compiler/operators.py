"""The operators of the graph, each with the rule that gives its output's type. Images are [n, h, w, c].

Few on purpose: what other operators can express (pooling over all places, resizing, batch normalization, splitting) is expressed by them
when a network is imported, so that every pass, the interpreter and the emitter know a dozen and not a hundred.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from harness.compiler.expression import Apply, Expression, dtype_of
from harness.compiler.ir import Type


class Clamp(NamedTuple):
    """The results' least and greatest value: what ReLU and clipping leave to the operator before them."""

    low: float = -math.inf
    high: float = math.inf


NO_CLAMP = Clamp()


class Requantize(NamedTuple):
    """Sums of products of bytes -> bytes: stored = clamp(round(sum * multiplier) + zero_point), multiplier float32 [outputs], an input.
    Or, dtype float32, -> what they stand for, clamp(sum * multiplier), where nothing quantizes it again."""

    x_zero_point: int
    zero_point: int
    dtype: str
    low: float
    high: float

    @property
    def is_real(self) -> bool:
        return self.dtype == "float32"


@dataclass(frozen=True, slots=True)
class Window:
    """Where a window lies that slides over an image; two numbers are (vertical, horizontal)."""

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    """top, left, bottom, right."""
    dilations: tuple[int, int] = (1, 1)

    def places(self, height: int, width: int) -> tuple[int, int]:
        """How many it takes in each direction."""
        sizes = (height + self.pads[0] + self.pads[2], width + self.pads[1] + self.pads[3])
        rows, columns = (
            (size - d * (k - 1) - 1) // s + 1
            for size, k, s, d in zip(sizes, self.kernel, self.strides, self.dilations, strict=True)
        )
        if rows < 1 or columns < 1:
            raise ValueError(f"a window of {self.kernel} does not fit into {sizes}")
        return rows, columns


def _check_products(x: Type, weights: Type, rest: Sequence[Type], requantize: Requantize | None, outputs: int) -> str:
    """dtype of the results of a Conv or Dense."""
    stored = x.dtype if x.dtype in ("int8", "uint8") else "int8"
    wanted = ["float32"] * 3 if requantize is None else [stored, "int8", "int32", "float32"]
    found = [x.dtype, weights.dtype, *(t.dtype for t in rest)]
    if found[: len(wanted)] != wanted or len(found) > 4:
        raise TypeError(f"takes {wanted}, not {found}")
    if any(t.shape != (outputs,) for t in (rest if requantize else rest[:1])):
        raise ValueError(f"biases and multipliers have shape [{outputs}]")
    return "float32" if requantize is None else requantize.dtype


@dataclass(frozen=True, slots=True)
class Conv:
    """x [n, h, w, c], weights [kh, kw, c / groups, outputs], bias [outputs] -> [n, h', w', outputs].

    A fourth input is a residual of the results' shape that is added before clamping, or, with `requantize`, the multiplier.
    """

    window: Window
    groups: int = 1
    clamp: Clamp = NO_CLAMP
    requantize: Requantize | None = None

    def infer(self, types: Sequence[Type]) -> Type:
        x, weights, *rest = types
        (batch, height, width, channels), outputs = x.shape, weights.shape[3]
        dtype = _check_products(x, weights, rest, self.requantize, outputs)
        if weights.shape[:3] != (*self.window.kernel, channels // self.groups) or channels % self.groups or outputs % self.groups:
            raise ValueError(f"weights {weights} do not fit {channels} channels in {self.groups} groups")
        found = Type(dtype, (batch, *self.window.places(height, width), outputs))
        return _with_residual(found, rest, self.requantize)


@dataclass(frozen=True, slots=True)
class Dense:
    """x [..., k], weights [k, outputs], bias [outputs] -> [..., outputs]; a fourth input as in Conv."""

    clamp: Clamp = NO_CLAMP
    requantize: Requantize | None = None

    def infer(self, types: Sequence[Type]) -> Type:
        x, weights, *rest = types
        dtype = _check_products(x, weights, rest, self.requantize, weights.shape[1])
        if len(weights.shape) != 2 or x.shape[-1] != weights.shape[0]:
            raise ValueError("the last axis of x is the first of the weights")
        return _with_residual(Type(dtype, (*x.shape[:-1], weights.shape[1])), rest, self.requantize)


def _with_residual(found: Type, rest: Sequence[Type], requantize: Requantize | None) -> Type:
    if len(rest) > 1 and requantize is None and rest[1] != found:
        raise ValueError(f"the residual is {rest[1]}, the results are {found}")
    return found


@dataclass(frozen=True, slots=True)
class MatMul:
    """a [..., m, k], b [..., k, n], both computed at run time; leading axes broadcast."""

    def infer(self, types: Sequence[Type]) -> Type:
        a, b = types
        if (a.dtype, b.dtype) != ("float32", "float32"):
            raise TypeError("takes float32")
        if len(a.shape) < 2 or len(b.shape) < 2 or a.shape[-1] != b.shape[-2]:
            raise ValueError("inner sizes differ")
        return Type("float32", (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]))


@dataclass(frozen=True, slots=True)
class Pool:
    """x [n, h, w, c] -> greatest or mean of each window. Padding is never the greatest."""

    kind: Literal["max", "mean"]
    window: Window
    counts_padding: bool = False
    """Whether a mean divides by the size of the whole window where a part of it lies on the padding."""

    def infer(self, types: Sequence[Type]) -> Type:
        (x,) = types
        if self.kind == "mean" and x.dtype != "float32":
            raise TypeError("means are of float32")
        batch, height, width, channels = x.shape
        return Type(x.dtype, (batch, *self.window.places(height, width), channels))


@dataclass(frozen=True, slots=True)
class Map:
    """`shape` elements, each computed from the elements at its place of the inputs, which broadcast to it."""

    expression: Expression
    shape: tuple[int, ...]

    def infer(self, types: Sequence[Type]) -> Type:
        if np.broadcast_shapes(self.shape, *(t.shape for t in types)) != self.shape:
            raise ValueError(f"does not broadcast to {list(self.shape)}")
        return Type(dtype_of(self.expression, [t.dtype for t in types]), self.shape)


@dataclass(frozen=True, slots=True)
class Reduce:
    """Over neighbouring `axes`, which stay with size 1."""

    kind: Literal["sum", "mean", "max", "min", "prod"]
    axes: tuple[int, ...]

    def infer(self, types: Sequence[Type]) -> Type:
        (x,) = types
        if self.axes != tuple(range(self.axes[0], self.axes[-1] + 1)) or not 0 <= self.axes[0] <= self.axes[-1] < len(x.shape):
            raise ValueError(f"axes {self.axes} are no neighbours of {len(x.shape)}")
        if self.kind == "mean" and x.dtype != "float32":
            raise TypeError("means are of float32")
        if math.prod(x.shape) == 0:
            raise ValueError("reduces nothing")
        return Type(x.dtype, tuple(1 if axis in self.axes else size for axis, size in enumerate(x.shape)))


@dataclass(frozen=True, slots=True)
class Softmax:
    axis: int
    log: bool = False

    def infer(self, types: Sequence[Type]) -> Type:
        (x,) = types
        if x.dtype != "float32" or not 0 <= self.axis < len(x.shape):
            raise TypeError("takes float32 and one of its axes")
        return x


@dataclass(frozen=True, slots=True)
class Normalize:
    """Layer normalization: x [..., k], gain [k], bias [k]; rows of k get mean 0 and variance 1 (plus epsilon) before gain and bias."""

    epsilon: float

    def infer(self, types: Sequence[Type]) -> Type:
        x, gain, bias = types
        if {x.dtype, gain.dtype, bias.dtype} != {"float32"} or gain.shape != x.shape[-1:] or bias.shape != x.shape[-1:]:
            raise TypeError("takes float32 [..., k], [k], [k]")
        return x


@dataclass(frozen=True, slots=True)
class Transpose:
    """Axis i of the result is axis `axes[i]` of x."""

    axes: tuple[int, ...]

    def infer(self, types: Sequence[Type]) -> Type:
        (x,) = types
        if sorted(self.axes) != list(range(len(x.shape))):
            raise ValueError(f"{self.axes} is no permutation of {len(x.shape)} axes")
        return Type(x.dtype, tuple(x.shape[axis] for axis in self.axes))


@dataclass(frozen=True, slots=True)
class Reshape:
    shape: tuple[int, ...]

    def infer(self, types: Sequence[Type]) -> Type:
        (x,) = types
        if math.prod(x.shape) != math.prod(self.shape):
            raise ValueError(f"{list(self.shape)} has another number of elements")
        return Type(x.dtype, self.shape)


@dataclass(frozen=True, slots=True)
class Concat:
    axis: int

    def infer(self, types: Sequence[Type]) -> Type:
        first = types[0]
        sizes = [t.shape[self.axis] for t in types]
        alike = {(t.dtype, t.shape[: self.axis], t.shape[self.axis + 1 :]) for t in types}
        if len(alike) != 1 or not 0 <= self.axis < len(first.shape):
            raise ValueError("inputs differ in more than the axis")
        return Type(first.dtype, (*first.shape[: self.axis], sum(sizes), *first.shape[self.axis + 1 :]))


@dataclass(frozen=True, slots=True)
class Slice:
    """`sizes` elements along each axis from `starts` in steps of `steps` (at least 1)."""

    starts: tuple[int, ...]
    sizes: tuple[int, ...]
    steps: tuple[int, ...]

    def infer(self, types: Sequence[Type]) -> Type:
        (x,) = types
        for start, size, step, most in zip(self.starts, self.sizes, self.steps, x.shape, strict=True):
            if start < 0 or size < 0 or step < 1 or (size and start + (size - 1) * step >= most):
                raise ValueError(f"{size} elements from {start} by {step} are not within {most}")
        return Type(x.dtype, self.sizes)


@dataclass(frozen=True, slots=True)
class Pad:
    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float = 0.0

    def infer(self, types: Sequence[Type]) -> Type:
        (x,) = types
        if min((*self.before, *self.after), default=0) < 0:
            raise ValueError("cannot pad by less than nothing")
        return Type(x.dtype, tuple(b + size + a for b, size, a in zip(self.before, x.shape, self.after, strict=True)))


@dataclass(frozen=True, slots=True)
class Gather:
    """x [..., m, ...], indices of any shape, int64 within -m .. m - 1 -> [..., *indices, ...]."""

    axis: int

    def infer(self, types: Sequence[Type]) -> Type:
        x, indices = types
        if indices.dtype not in ("int64", "int32") or not 0 <= self.axis < len(x.shape):
            raise TypeError("takes integer indices and one of the axes of x")
        return Type(x.dtype, (*x.shape[: self.axis], *indices.shape, *x.shape[self.axis + 1 :]))


def dequantizes(op: object) -> bool:
    """Whether it is a Map that makes real values of stored ones, and nothing else."""
    return isinstance(op, Map) and isinstance(op.expression, Apply) and op.expression.scalar == "dequantize"
