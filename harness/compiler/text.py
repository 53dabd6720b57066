"""C for element-wise work: loops over views of tensors, and expressions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.compiler.expression import SCALARS, Apply, Constant, Expression, Input, applications, dtype_of
from harness.errors import Unsupported

TYPES = {"float32": "float", "int8": "int8_t", "uint8": "uint8_t", "int32": "int32_t", "int64": "int64_t", "bool": "bool"}
"""What programs compute with; others are found in constants only, before anything runs."""


def type_name(dtype: str, node: str) -> str:
    if dtype not in TYPES:
        raise Unsupported(f"node `{node}`: {dtype} at run time; programs compute with {', '.join(TYPES)}")
    return TYPES[dtype]


@dataclass(frozen=True, slots=True)
class View:
    """Elements of an array: number `offset` + sum of index * stride, in elements."""

    name: str
    strides: tuple[int, ...]
    offset: int = 0

    def element(self, indices: Sequence[str]) -> str:
        parts = [i if s == 1 else f"{s} * {i}" for i, s in zip(indices, self.strides, strict=True) if s]
        at = " + ".join(([str(self.offset)] if self.offset else []) + parts)
        return f"{self.name}[{at or 0}]"


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Of an array whose elements lie one after the other."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def broadcast(name: str, shape: Sequence[int], to: Sequence[int], memory: Sequence[int] | None = None) -> View:
    """Of an array of this shape, which lies within one of the shape `memory`."""
    before = (1,) * (len(to) - len(shape))
    strides = strides_of((*before, *(memory or shape)))
    return View(name, tuple(0 if size == 1 else stride for size, stride in zip((*before, *shape), strides, strict=True)))


def loops(shape: Sequence[int], views: Sequence[View], body: Callable[[Sequence[str]], Sequence[str]]) -> list[str]:
    """`body`, given each view's element, for every index of `shape` in the outermost axis' part that is the variable `share`'s. Axes that
    all views walk through alike become one."""
    sizes: list[int] = []
    walks: list[tuple[int, ...]] = []
    for axis, size in enumerate(shape):
        walk = tuple(view.strides[axis] for view in views)
        if size == 1:
            continue
        if walks and walks[-1] == tuple(stride * size for stride in walk):
            sizes[-1], walks[-1] = sizes[-1] * size, walk
        else:
            sizes.append(size)
            walks.append(walk)
    indices = [f"i{axis}" for axis in range(len(sizes))]
    merged = [View(view.name, tuple(walk[number] for walk in walks), view.offset) for number, view in enumerate(views)]
    limits = [("hk_first(share, {})", "hk_end(share, {})"), *[("0", "{}")] * len(sizes)]
    lines = [
        f"{'    ' * axis}for (int {i} = {first.format(size)}; {i} < {end.format(size)}; {i}++) {{"
        for axis, (i, size, (first, end)) in enumerate(zip(indices, sizes, limits, strict=False))
    ]
    lines += [f"{'    ' * len(sizes)}{line}" for line in body([view.element(indices) for view in merged])]
    return lines + [f"{'    ' * axis}}}" for axis in reversed(range(len(sizes)))]


def literal(value: float, dtype: str) -> str:
    if dtype == "bool":
        return "true" if value else "false"
    if dtype != "float32":
        return f"INT64_C({int(value)})" if dtype == "int64" else str(int(value))
    if math.isinf(value) or math.isnan(value):
        return "NAN" if math.isnan(value) else "INFINITY" if value > 0 else "-INFINITY"
    shortest = repr(float(str(np.float32(value))))
    return f"{shortest}f"


def statements(expression: Expression, elements: Sequence[str], dtypes: Sequence[str], node: str) -> tuple[list[str], str]:
    """Declarations that compute an expression step by step, and the name or literal of its value."""
    names: dict[Expression, str] = {Input(index): f"a{index}" for index in range(len(elements))}
    lines: list[str] = []

    def of(part: Expression) -> str:
        return literal(part.value, part.dtype) if isinstance(part, Constant) else names[part]

    for index, element in enumerate(elements):
        lines.append(f"const {type_name(dtypes[index], node)} a{index} = {element};")
    for part in applications(expression):
        dtype = dtype_of(part, dtypes)
        _check_kind(part, dtypes, node)
        text = SCALARS[part.scalar].text.format(*map(of, part.arguments), dtype=dtype)
        ctype, name = type_name(dtype, node), f"v{len(names)}"
        lines.append(f"const {ctype} {name} = {text if ctype in ('float', 'bool') else f'({ctype})({text})'};")
        names[part] = name
    return lines, of(expression)


def _check_kind(part: Apply, dtypes: Sequence[str], node: str) -> None:
    first = dtype_of(part.arguments[0], dtypes)
    if np.dtype(first).kind not in SCALARS[part.scalar].kinds:
        raise Unsupported(f"node `{node}`: {part.scalar} of {first} at run time")
