"""Each operator as C: the kernel that does it, its weights as that kernel reads them, and the lines that call it with constant sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from types import MappingProxyType

import numpy as np

from harness.compiler.choice import ANY_VECTORS, Vectors
from harness.compiler.frames import NO_FRAME, Frame, added, byte_of, is_around_image
from harness.compiler.ir import Array, Graph, Node, Operator, Type
from harness.compiler.operators import (
    Clamp,
    Concat,
    Gather,
    Map,
    MatMul,
    Normalize,
    Pad,
    Pool,
    Reduce,
    Reshape,
    Slice,
    Softmax,
    Transpose,
    Window,
)
from harness.compiler.patterns import Patterns
from harness.compiler.text import View, broadcast, literal, loops, statements, strides_of, type_name
from harness.errors import Unsupported

ALONE = "const hk_share share = {0, 1};"
"""In a body that one thread does."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """The body of one layer's function, over x0, x1 ... (its inputs in order) and y."""

    kernel: str
    """What computes: the name of a function of `harness/kernels/`, or `loops`."""
    inputs: tuple[str | Array, ...]
    """Tensors, and weights as the kernel reads them."""
    body: tuple[str, ...]
    header: str = "scalars.h"
    """Where the kernel is."""
    format: str = "dense"
    """How weights are kept: `dense`; `list 16x4`: of what is not zero in blocks of so many outputs x inputs; `lanes 16x16`: of what each of 16
    outputs has of 16 inputs."""
    computed: float = 1.0
    """The part of all products with weights that it computes."""

    @property
    def can_share(self) -> bool:
        """Whether the body does the part of the work that `share` names, so that several threads can do it together."""
        return any("share" in line for line in self.body) and ALONE not in self.body


@dataclass(frozen=True, slots=True)
class Task:
    """A node with what lowering it needs to know."""

    node: Node
    inputs: tuple[Type, ...]
    output: Type
    constants: Mapping[str, Array]
    vectors: Vectors
    frames: Mapping[str, Frame]

    @property
    def x_memory(self) -> tuple[tuple[int, ...], ...]:
        """Of each input, the shape of the array in memory that it is, or, in a frame, lies within."""
        return tuple(self._memory(name, t) for name, t in zip(self.node.inputs, self.inputs, strict=True))

    @property
    def y_memory(self) -> tuple[int, ...]:
        return self._memory(self.node.output, self.output)

    def _memory(self, name: str, found: Type) -> tuple[int, ...]:
        return self.frames.get(name, NO_FRAME).around(found.shape)

    def constant(self, index: int, what: str) -> Array:
        name = self.node.inputs[index]
        if name not in self.constants:
            raise Unsupported(f"node `{self.node.origin}`: its {what} are computed at run time")
        return self.constants[name]


def lowered(
    graph: Graph, node: Node, vectors: Vectors = ANY_VECTORS, frames: Mapping[str, Frame] = MappingProxyType({})
) -> Lowered:
    types = tuple(graph.types[name] for name in node.inputs)
    for found in (*types, graph.types[node.output]):
        type_name(found.dtype, node.origin)
        if found.elements >= 2**31:
            raise Unsupported(f"node `{node.origin}`: a tensor of {found.elements} elements")
    return lower_operator(node.op, Task(node, types, graph.types[node.output], graph.constants, vectors, frames))


@singledispatch
def lower_operator(op: Operator, task: Task) -> Lowered:
    raise Unsupported(f"node `{task.node.origin}`: no kernel for {type(op).__name__}")


def struct(kind: str, **members: int | str) -> str:
    return f"({kind}){{{', '.join(f'.{name} = {value}' for name, value in members.items())}}}"


def patterns_struct(patterns: Patterns | None, window: Window, tile: tuple[int, int] = (0, 0)) -> str:
    """`hk_patterns` of `harness/kernels/patterns.h`."""
    if patterns is None:
        return "(hk_patterns){0}"
    (rows, columns), (down, right) = patterns.shape, window.dilations
    sizes = {"count": len(patterns.ways), "taps": patterns.taps, "rows": rows, "columns": columns, "down": down, "right": right}
    masks = f"{{{', '.join(map(hex, patterns.ways))}}}"
    return struct("hk_patterns", **sizes, tile_rows=tile[0], tile_columns=tile[1], masks=masks)


def limits(clamp: Clamp) -> str:
    return ", ".join(literal(value, "float32") for value in clamp)


@lower_operator.register
def _matmul(op: MatMul, task: Task) -> Lowered:  # noqa: ARG001
    (a, b), y = (t.shape for t in task.inputs), task.output.shape
    rows, depth, columns = a[-2], a[-1], b[-1]
    views = [broadcast(name, shape[:-2], y[:-2]) for name, shape in (("x0", a), ("x1", b), ("y", y))]
    scaled = [
        View(v.name, tuple(stride * size for stride in v.strides))
        for v, size in zip(views, (rows * depth, depth * columns, rows * columns), strict=True)
    ]
    body = loops(y[:-2], scaled, lambda e: [f"hk_f32_matmul(&{e[0]}, &{e[1]}, &{e[2]}, {rows}, {depth}, {columns});"])
    return Lowered("hk_f32_matmul", task.node.inputs, tuple(body), "f32_matmul.h")


@lower_operator.register
def _pool(op: Pool, task: Task) -> Lowered:
    (n, h, w, c), (_, rows, columns, _) = task.inputs[0].shape, task.output.shape
    (kh, kw), (sh, sw), (dh, dw) = op.window.kernel, op.window.strides, op.window.dilations
    sizes = {"batch": n, "height": h, "width": w, "channels": c, "rows": rows, "columns": columns, "kernel_h": kh, "kernel_w": kw}
    (_, x_height, x_width, _), (_, y_height, y_width, _) = task.x_memory[0], task.y_memory
    memory = {"x_height": x_height, "x_width": x_width, "y_height": y_height, "y_width": y_width}
    moves = {
        "stride_h": sh,
        "stride_w": sw,
        "dilation_h": dh,
        "dilation_w": dw,
        "top": op.window.pads[0],
        "left": op.window.pads[1],
    }
    kinds = {"float32": "f32", "int8": "s8", "uint8": "u8"}
    if task.output.dtype not in kinds:
        raise Unsupported(f"node `{task.node.origin}`: pooling of {task.output.dtype}")
    name = f"hk_{kinds[task.output.dtype]}_{op.kind}_pool"
    counts = f", {str(op.counts_padding).lower()}"
    return Lowered(
        name, task.node.inputs, (f"{name}(x0, y, {struct('hk_pool', **sizes, **memory, **moves)}{counts}, share);",), "pool.h"
    )


@lower_operator.register
def _map(op: Map, task: Task) -> Lowered:
    views = [View("y", strides_of(task.y_memory))]
    given = zip(task.inputs, task.x_memory, strict=True)
    views += [broadcast(f"x{i}", t.shape, op.shape, memory) for i, (t, memory) in enumerate(given)]
    dtypes = [t.dtype for t in task.inputs]

    def body(elements: Sequence[str]) -> list[str]:
        lines, value = statements(op.expression, elements[1:], dtypes, task.node.origin)
        return [*lines, f"{elements[0]} = {value};"]

    return Lowered("loops", task.node.inputs, tuple(loops(op.shape, views, body)))


@lower_operator.register
def _reduce(op: Reduce, task: Task) -> Lowered:
    shape = task.inputs[0].shape
    outer, count = math.prod(shape[: op.axes[0]]), math.prod(shape[axis] for axis in op.axes)
    inner = math.prod(shape[op.axes[-1] + 1 :])
    kinds = {"float32": "f32", "int64": "s64", "int32": "s32"}
    if task.output.dtype not in kinds:
        raise Unsupported(f"node `{task.node.origin}`: {op.kind} of {task.output.dtype}")
    name = f"hk_{kinds[task.output.dtype]}_{op.kind}"
    return Lowered(name, task.node.inputs, (f"{name}(x0, y, {outer}, {count}, {inner});",), "reduce.h")


@lower_operator.register
def _softmax(op: Softmax, task: Task) -> Lowered:
    shape = task.output.shape
    outer, inner = math.prod(shape[: op.axis]), math.prod(shape[op.axis + 1 :])
    call = f"hk_f32_softmax(x0, y, {outer}, {shape[op.axis]}, {inner}, {str(op.log).lower()});"
    return Lowered("hk_f32_softmax", task.node.inputs, (call,), "rows.h")


@lower_operator.register
def _normalize(op: Normalize, task: Task) -> Lowered:
    count = task.output.shape[-1]
    call = f"hk_f32_normalize(x0, x1, x2, y, {task.output.elements // count}, {count}, {literal(op.epsilon, 'float32')});"
    return Lowered("hk_f32_normalize", task.node.inputs, (call,), "rows.h")


def _copied(task: Task, shape: Sequence[int], views: Sequence[View]) -> Lowered:
    return Lowered("loops", task.node.inputs, tuple(loops(shape, views, lambda e: [f"{e[0]} = {e[1]};"])))


@lower_operator.register
def _reshape(op: Reshape, task: Task) -> Lowered:
    return _copied(task, op.shape, [View(name, strides_of(op.shape)) for name in ("y", "x0")])


@lower_operator.register
def _transpose(op: Transpose, task: Task) -> Lowered:
    strides = strides_of(task.x_memory[0])
    views = [View("y", strides_of(task.y_memory)), View("x0", tuple(strides[axis] for axis in op.axes))]
    return _copied(task, task.output.shape, views)


@lower_operator.register
def _slice(op: Slice, task: Task) -> Lowered:
    strides = strides_of(task.x_memory[0])
    steps = tuple(step * stride for step, stride in zip(op.steps, strides, strict=True))
    offset = sum(start * stride for start, stride in zip(op.starts, strides, strict=True))
    return _copied(task, op.sizes, [View("y", strides_of(task.y_memory)), View("x0", steps, offset)])


@lower_operator.register
def _concat(op: Concat, task: Task) -> Lowered:
    strides, start = strides_of(task.y_memory), 0
    lines: list[str] = []
    for index, (part, memory) in enumerate(zip(task.inputs, task.x_memory, strict=True)):
        views = [View("y", strides, start * strides[op.axis]), View(f"x{index}", strides_of(memory))]
        lines += loops(part.shape, views, lambda e: [f"{e[0]} = {e[1]};"])
        start += part.shape[op.axis]
    return Lowered("loops", task.node.inputs, tuple(lines))


@lower_operator.register
def _pad(op: Pad, task: Task) -> Lowered:
    shape, strides = task.inputs[0].shape, strides_of(task.output.shape)
    itemsize = np.dtype(task.output.dtype).itemsize
    value, byte = np.asarray(op.value, task.output.dtype), byte_of(op.value, task.output.dtype)
    if byte is not None and task.node.output in task.frames:
        return _border(task, added(op), byte, itemsize)
    if byte is not None and is_around_image(op):
        row = shape[3] * itemsize
        sizes = (shape[0], shape[1], shape[2] * row, op.before[1], op.after[1], op.before[2] * row, op.after[2] * row)
        call = f"hk_pad(x0, y, {', '.join(map(str, sizes))}, {byte}, share);"
        return Lowered("hk_pad", task.node.inputs, (call,), "moves.h")
    fill = loops(task.output.shape, [View("y", strides)], lambda e: [f"{e[0]} = {literal(value.item(), task.output.dtype)};"])
    offset = sum(before * stride for before, stride in zip(op.before, strides, strict=True))
    copy = loops(shape, [View("y", strides, offset), View("x0", strides_of(shape))], lambda e: [f"{e[0]} = {e[1]};"])
    return Lowered("loops", task.node.inputs, (ALONE, *fill, *copy))  # what one thread has copied, another may not fill


def _border(task: Task, pad: Frame, byte: int, itemsize: int) -> Lowered:
    """The image lies within its padding already."""
    (n, h, w, c), (_, height, width, _) = task.inputs[0].shape, task.y_memory
    place = c * itemsize
    sizes = (n, height * width * place, h, w * place, width * place, pad.top, pad.bottom, pad.left * place, pad.right * place)
    return Lowered("hk_border", (), (f"hk_border(y, {', '.join(map(str, sizes))}, {byte});",), "moves.h")


@lower_operator.register
def _gather(op: Gather, task: Task) -> Lowered:
    x, places = task.inputs
    outer = math.prod(x.shape[: op.axis])
    row = math.prod(x.shape[op.axis + 1 :]) * np.dtype(x.dtype).itemsize
    name = "hk_gather_s64" if places.dtype == "int64" else "hk_gather_s32"
    call = f"{name}(x0, x1, y, {outer}, {x.shape[op.axis]}, {row}, {places.elements});"
    return Lowered(name, task.node.inputs, (call,), "moves.h")
