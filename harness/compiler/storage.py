"""Where each tensor lies: with the caller, in the arena, or in the place of another tensor that it may overwrite or that it only renames."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from harness.compiler.frames import NO_FRAME, Frame
from harness.compiler.ir import Graph, Node
from harness.compiler.memory import Buffer, Plan, plan
from harness.compiler.operators import Conv, Dense, Map, Normalize, Pad, Reshape


class Storage(NamedTuple):
    holder: Mapping[str, str]
    """Tensor -> the tensor in whose place it lies; itself, if it has a place of its own."""
    offset: Mapping[str, int]
    """Of the holders in the arena; the others are inputs, outputs and constants."""
    plan: Plan
    frames: Mapping[str, Frame]
    """Of the images that lie in larger ones."""


def stored(graph: Graph, frames: Mapping[str, Frame] | None = None) -> Storage:
    frames = frames or {}
    last = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    last |= dict.fromkeys(graph.outputs, len(graph.nodes))
    holder = {name: name for name in graph.types}
    lives_until = dict(last)
    for index, node in enumerate(graph.nodes):
        for name in _may_take(node, graph, frames):
            taken = holder[name]
            if taken in graph.constants or taken in graph.inputs:
                is_free = isinstance(node.op, Reshape) and node.output not in graph.outputs
            else:
                is_alone = sum(holder[i] == taken for i in node.inputs) == 1
                is_free = isinstance(node.op, Reshape | Pad) or (lives_until[taken] == index and is_alone)
                is_free &= not ({node.output, taken} <= set(graph.outputs) or _holds_output(graph, holder, taken, node.output))
            if is_free:
                holder[node.output] = taken
                lives_until[taken] = max(lives_until[taken], last.get(node.output, index))
                break
    holder = _led_by_outputs(graph, holder)
    return _placed(graph, holder, last, frames)


def _may_take(node: Node, graph: Graph, frames: Mapping[str, Frame]) -> tuple[str, ...]:
    """Inputs whose place the output may have: those of which each element is read before the same element is written, and images that lie
    within what the output is."""
    if isinstance(node.op, Pad):
        return node.inputs if node.output in frames else ()
    if isinstance(node.op, Reshape | Normalize):
        return node.inputs[:1]
    if isinstance(node.op, Map):
        found = graph.types[node.output]
        return tuple(
            name
            for name in node.inputs
            if graph.types[name] == found and _frame_of(frames, name) == _frame_of(frames, node.output)
        )
    is_layer = isinstance(node.op, Conv | Dense) and node.op.requantize is None
    residual = node.inputs[3:4] if is_layer else ()
    return tuple(name for name in residual if _frame_of(frames, name) == _frame_of(frames, node.output))


def _frame_of(frames: Mapping[str, Frame], name: str) -> Frame:
    return frames.get(name, NO_FRAME)


def _holds_output(graph: Graph, holder: Mapping[str, str], taken: str, output: str) -> bool:
    """Whether an output would share its place with another."""
    return output in graph.outputs and any(holder[name] == taken for name in graph.outputs if name != output)


def _led_by_outputs(graph: Graph, holder: Mapping[str, str]) -> dict[str, str]:
    """The same places, named by the output that lies there, if one does: it is the caller's memory from the beginning."""
    leader = {holder[name]: name for name in graph.outputs}
    return {name: leader.get(place, place) for name, place in holder.items()}


def _placed(graph: Graph, holder: Mapping[str, str], last: Mapping[str, int], frames: Mapping[str, Frame]) -> Storage:
    spans: dict[str, Buffer] = {}
    for index, node in enumerate(graph.nodes):
        place = holder[node.output]
        if place in graph.outputs or place in graph.inputs or place in graph.constants:
            continue
        before = spans.get(place, Buffer(0, index, index))
        until = max(before.last, last.get(node.output, index))
        found = graph.types[node.output]
        size_bytes = math.prod(_frame_of(frames, node.output).around(found.shape)) * np.dtype(found.dtype).itemsize
        spans[place] = Buffer(max(before.size_bytes, size_bytes), before.first, until)
    made = plan(tuple(spans.values()))
    return Storage(holder, dict(zip(spans, made.offsets, strict=True)), made, frames)
