"""Weights as lists of what is not zero, one for each block of outputs: the format of `harness/kernels/*_list_conv.h`.

It is block sparse row storage whose column numbers are places in memory. One format serves whole channels, 1xN blocks, block-punched and
pattern-pruned layers: they differ in where their entries are, not in how they are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.compiler.ir import Array
from harness.compiler.operators import Window


class BlockList(NamedTuple):
    starts: Array
    """int32 [blocks + 1]: where the entries of each block begin; the last, where all end."""
    places: Array
    """int32 [kept]: which of a block's entries it is, or where its input lies."""
    values: Array
    """[kept, ...]: an entry's weights."""

    @property
    def size_bytes(self) -> int:
        return int(self.starts.nbytes + self.places.nbytes + self.values.nbytes)


def encoded(packed: Array, places: Array | None = None) -> BlockList:
    """packed [blocks, entries, ...]; `places` [entries] gives each entry's place, by default its number."""
    kept = np.asarray((packed != 0).any(tuple(range(2, packed.ndim))))
    numbers = np.arange(packed.shape[1]) if places is None else places
    starts = np.concatenate(([0], np.cumsum(kept.sum(1))))
    return BlockList(starts.astype(np.int32), np.broadcast_to(numbers, kept.shape)[kept].astype(np.int32), packed[kept])


def joined(lists: Sequence[BlockList]) -> BlockList:
    """The lists of all, one after the other."""
    ends = np.cumsum([0, *(len(part.places) for part in lists)])
    starts = np.concatenate([[0], *(part.starts[1:] + end for part, end in zip(lists, ends, strict=False))])
    places, values = (np.concatenate([part[field] for part in lists]) for field in (1, 2))
    return BlockList(starts.astype(np.int32), places, values)


def decoded(found: BlockList, entries: int) -> Array:
    """Back to [blocks, entries, ...]; places are numbers of entries."""
    blocks = len(found.starts) - 1
    packed = np.zeros((blocks, entries, *found.values.shape[1:]), found.values.dtype)
    packed[np.repeat(np.arange(blocks), np.diff(found.starts)), found.places] = found.values
    return packed


def entries_mask(weights: Array, step: int) -> Array:
    """bool [kh, kw, entries, outputs]: where [kh, kw, channels, outputs] has anything; an entry is `step` neighbouring channels."""
    kh, kw, _, outputs = weights.shape
    return np.asarray(weights.reshape(kh, kw, -1, step, outputs).any(3))


def entry_places(window: Window, width: int, channels: int, step: int) -> Array:
    """[entries]: how many values after a window's first each entry is, in an image [height, width, channels]."""
    (kh, kw), (dh, dw) = window.kernel, window.dilations
    rows, columns, inside = np.ogrid[:kh, :kw, :channels:step]
    return np.asarray(((rows * dh * width + columns * dw) * channels + inside).ravel())


def size_bytes(blocks: int, kept: int, entry_bytes: int) -> int:
    """What a list takes: 4 bytes where each block begins, 4 for each entry's place, and the entries."""
    return 4 * (blocks + 1) + kept * (4 + entry_bytes)
