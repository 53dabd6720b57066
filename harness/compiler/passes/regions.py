"""Puts images into regions where convolutions gain more by skipping single zero weights than moving the images there and back takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace

from harness.compiler.blocklist import entries_mask
from harness.compiler.choice import MARGIN, MOVE, Vectors, best_list, best_region_list, costs_of, lane_cost, most_places
from harness.compiler.ir import Graph, Node
from harness.compiler.operators import Conv, Pad
from harness.compiler.passes.simplify import simplify
from harness.compiler.regions import FromRegions, RegionConv, Regions, ToRegions, reaches, regions_of

Layouts = Mapping[str, set[Regions | None]]
"""In which ways each tensor is wanted; None: channels last."""


@dataclass(frozen=True)
class Candidate:
    """A convolution that could run over regions."""

    op: RegionConv
    x: str
    """What it reads, before padding."""
    gain: float
    """By that alone, in products of the dense kernel."""


def in_regions(graph: Graph, vectors: Vectors) -> Graph:
    """After padding has become steps of its own, which regions do without."""
    found = _candidates(graph, vectors)
    chosen = _chosen(graph, found, MOVE * costs_of("float32", vectors).moves)
    return _rewritten(graph, {output: found[output] for output in chosen}) if chosen else graph


def _candidates(graph: Graph, vectors: Vectors) -> dict[str, Candidate]:
    makers, found = graph.makers(), {}
    for node in graph.nodes:
        if (
            not isinstance(node.op, Conv)
            or node.op.requantize
            or node.op.groups > 1
            or not graph.constants.keys() >= {*node.inputs[1:3]}
        ):
            continue
        weights, maker = graph.constants[node.inputs[1]], makers.get(node.inputs[0])
        x, window = node.inputs[0], node.op.window
        if maker is not None and isinstance(maker.op, Pad) and maker.op.value == 0 and not any(_beside(maker.op)):
            (top, left), (bottom, right) = maker.op.before[1:3], maker.op.after[1:3]
            x, window = maker.inputs[0], replace(window, pads=(top, left, bottom, right))
        best = best_region_list(weights != 0, vectors)
        if best.width is None or not reaches(window):
            continue
        batch, rows, columns, _ = graph.types[node.output].shape
        made = regions_of(rows, columns, vectors.lanes)
        given = made.scaled(window.strides[0], *graph.types[x].shape[1:3])
        most = most_places(window.strides[1] * weights.shape[2] * 4)
        mask = entries_mask(weights, 1)
        now = min(best_list(mask, "float32", most, vectors).cost, lane_cost(mask, vectors)) * rows * columns
        gain = batch * (MARGIN * now - best.cost * math.prod(made.size) * made.lanes)
        if gain > 0:
            found[node.output] = Candidate(RegionConv(window, given, made, node.op.clamp), x, gain)
    return found


def _beside(op: Pad) -> tuple[int, ...]:
    """What it adds to batch and channels."""
    return op.before[0], op.after[0], op.before[3], op.after[3]


def _chosen(graph: Graph, found: Mapping[str, Candidate], move: float) -> set[str]:
    """All that gain, then one after the other in or out, and whole groups, while that is better."""
    chosen, best = set(found), _worth(graph, found, found, move)
    is_better = True
    while is_better:
        is_better = False
        for change in [*({output} for output in found), *_groups(graph, found, chosen)]:
            trial = chosen - change if change <= chosen else chosen | change
            if (worth := _worth(graph, found, trial, move)) > best:
                chosen, best, is_better = trial, worth, True
    return chosen


def _groups(graph: Graph, found: Mapping[str, Candidate], chosen: Set[str]) -> list[set[str]]:
    """Those that read or write the same images: one alone may not pay to leave though all of them do."""
    groups: list[tuple[set[str], set[str]]] = []
    for node in graph.nodes:
        if node.output in chosen:
            outputs, images = {node.output}, {node.output, found[node.output].x, *node.inputs[3:]}
            for group in [group for group in groups if group[1] & images]:
                groups.remove(group)
                outputs, images = outputs | group[0], images | group[1]
            groups.append((outputs, images))
    return [outputs for outputs, _ in groups]


def _worth(graph: Graph, found: Mapping[str, Candidate], chosen: Iterable[str], move: float) -> float:
    """What all save, less what the moves take, `move` each value."""
    taken = {output: found[output] for output in chosen}
    moved = 0.0
    for name, layouts in _wanted(graph, taken).items():
        has = taken[name].op.made if name in taken else None
        if moves := layouts - {has}:
            shape = graph.types[name].shape
            moved += graph.types[name].elements if has is not None else 0
            moved += sum(shape[0] * shape[-1] * layout.elements for layout in moves if layout is not None)
    return sum(candidate.gain for candidate in taken.values()) - move * moved


def _wanted(graph: Graph, taken: Mapping[str, Candidate]) -> Layouts:
    wanted: dict[str, set[Regions | None]] = {name: {None} for name in graph.outputs}
    dead = _paddings_only(graph, taken)
    for node in graph.nodes:
        if node.output in dead:
            continue
        candidate = taken.get(node.output)
        if candidate is None:
            for name in node.inputs:
                wanted.setdefault(name, set()).add(None)
        else:
            wanted.setdefault(candidate.x, set()).add(candidate.op.given)
            for name in node.inputs[3:]:
                wanted.setdefault(name, set()).add(candidate.op.made)
    return wanted


def _paddings_only(graph: Graph, taken: Mapping[str, Candidate]) -> set[str]:
    """Padded images that only convolutions in regions read."""
    readers = graph.readers()
    padded = {node.output for node in graph.nodes if isinstance(node.op, Pad)} - {*graph.outputs}
    return {name for name in padded if all(_does_without(taken.get(node.output), node, name) for node in readers[name])}


def _does_without(candidate: Candidate | None, node: Node, padded: str) -> bool:
    return candidate is not None and padded not in (candidate.x, *node.inputs[3:])


def _rewritten(graph: Graph, taken: Mapping[str, Candidate]) -> Graph:
    nodes: list[Node] = []
    made: dict[tuple[str, Regions | None], str] = {}

    def placed(name: str, layout: Regions | None, origin: str) -> str:
        has = taken[name].op.made if name in taken else None
        if layout == has:
            return f"{name}.regions" if has else name
        if (name, layout) not in made:
            if layout is None:
                assert has is not None
                nodes.append(Node(FromRegions(has), (placed(name, has, origin),), name, origin))
                made[name, None] = name
            else:
                output = f"{name}.regions{len(made)}"
                nodes.append(Node(ToRegions(layout), (placed(name, None, origin),), output, origin))
                made[name, layout] = output
        return made[name, layout]

    dead = _paddings_only(graph, taken)
    for node in graph.nodes:
        if node.output in dead:
            continue
        if (candidate := taken.get(node.output)) is None:
            nodes.append(replace(node, inputs=tuple(placed(name, None, node.origin) for name in node.inputs)))
            continue
        op = candidate.op
        residual = [placed(name, op.made, node.origin) for name in node.inputs[3:]]
        inputs = (placed(candidate.x, op.given, node.origin), *node.inputs[1:3], *residual)
        nodes.append(Node(op, inputs, f"{node.output}.regions", node.origin))
    for name in graph.outputs:
        placed(name, None, name)
    return simplify(graph.with_nodes(nodes))
