"""Images that lie in memory amid the padding that layers after them want: whoever makes such an image writes it there, and nobody copies it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.compiler.ir import Graph, Node
from harness.compiler.operators import Concat, Conv, Map, Pad, Pool, Slice, Transpose
from harness.compiler.regions import ToRegions

WRITERS = (Conv, Pool, Map, Concat, Transpose, Slice)
"""Operators whose kernels can write into a larger image."""
READERS = (*WRITERS, ToRegions)


class Frame(NamedTuple):
    """Rows and columns around an image in memory."""

    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0

    def around(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Of the memory in which an image [n, h, w, c] lies; any other tensor has no frame."""
        if self == NO_FRAME:
            return tuple(shape)
        n, h, w, c = shape
        return n, self.top + h + self.bottom, self.left + w + self.right, c

    def begins(self, shape: Sequence[int]) -> int:
        """Elements of that memory before the image's first."""
        return 0 if self == NO_FRAME else (self.top * self.around(shape)[2] + self.left) * shape[3]

    def less(self, pad: Pad) -> Frame:
        """What is left around the padded image."""
        return Frame(*(have - taken for have, taken in zip(self, added(pad), strict=True)))


NO_FRAME = Frame()


def added(op: Pad) -> Frame:
    return Frame(op.before[1], op.before[2], op.after[1], op.after[2])


def is_around_image(op: Pad) -> bool:
    """Whether it adds rows and columns to images, and nothing else."""
    return len(op.before) == 4 and not any((op.before[0], op.after[0], op.before[3], op.after[3]))


def byte_of(value: float, dtype: str) -> int | None:
    """The byte that memory consists of where all elements have this value."""
    found = set(np.asarray(value, dtype).tobytes())
    return found.pop() if len(found) == 1 else None


def frames_of(graph: Graph) -> dict[str, Frame]:
    """Of the images that lie in one, and of what padding them gives: padding whose result is none of them copies."""
    readers, found = graph.readers(), dict[str, Frame]()
    for node in graph.nodes:
        pads = {reader.output: reader.op for reader in readers[node.output] if isinstance(reader.op, Pad)}
        if not pads or not isinstance(node.op, WRITERS) or not _can_be_framed(graph, node.output, pads):
            continue
        frame = Frame(*map(max, zip(*map(added, pads.values()), strict=True)))
        left = {output: frame.less(pad) for output, pad in pads.items()}
        others = [reader for reader in readers[node.output] if reader.output not in pads]
        inside = [(output, reader) for output in pads if left[output] != NO_FRAME for reader in readers[output]]
        if all(_reads_within(reader, name) for name, reader in [*((node.output, other) for other in others), *inside]):
            found |= {node.output: frame, **left}
    return found


def _can_be_framed(graph: Graph, name: str, pads: Mapping[str, Pad]) -> bool:
    """All padding is alike, and neither the image nor what is padded is for the caller."""
    (value, *more) = {byte_of(pad.value, graph.types[name].dtype) for pad in pads.values()}
    return value is not None and not more and all(map(is_around_image, pads.values())) and not {name, *pads} & {*graph.outputs}


def _reads_within(reader: Node, name: str) -> bool:
    """Whether a layer can read an image from within a larger one: any but weights."""
    is_weights = isinstance(reader.op, Conv) and name in reader.inputs[1:3]
    return isinstance(reader.op, READERS) and not is_weights
