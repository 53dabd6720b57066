from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.compiler.formats import Bsr, Coo
from harness.compiler.formats_reordered import Bcrc, Fkw

Array = npt.NDArray[Any]


def patterned(filters: int, channels: int, shared: int) -> Array:
    """Half of the kernels are dropped, the others keep 4 of 9 places in one of eight ways; `shared` neighbouring filters alike."""
    rng = np.random.default_rng(0)
    ways_of = np.zeros((8, 9), np.float32)
    for way in ways_of:
        way[[4, *rng.choice([0, 1, 2, 3, 5, 6, 7, 8], 3, replace=False)]] = 1
    chosen = rng.integers(0, 8, (filters // shared, channels)).repeat(shared, 0)
    kept = (rng.random((filters // shared, channels)) < 0.5).repeat(shared, 0)
    return (ways_of[chosen] * kept[..., None]).swapaxes(1, 2)


def test_index_bits_are_ordered_as_the_papers_say() -> None:
    """FKW < BCRC < CSR < COO, where two filters share their kernels; where none do, BCRC lists as much as CSR, and its order beside it."""
    mask = patterned(64, 64, 2) != 0
    bits = [way.size(mask).index_bits for way in (Fkw(), Bcrc(), Bsr(), Coo())]
    assert bits == sorted(bits) and len(set(bits)) == 4
    alone = patterned(64, 64, 1) != 0
    assert Fkw().size(alone).index_bits < Bsr().size(alone).index_bits < Bcrc().size(alone).index_bits
    kernels = int(alone.any(1).sum())
    assert Fkw().size(alone).index_bits == 8 * 9 + (65 * 16 + 64 * 8) + 64 * 9 * 8 + kernels * 8


def test_fkw_groups_filters_by_their_kernels_and_sorts_kernels_by_pattern() -> None:
    """So that work a thread is even, and the inner loop knows its pattern."""
    weights = patterned(16, 8, 1)
    _, offsets, reorder, strides, channels = Fkw().encode(weights).indices
    counts = np.diff(offsets.astype(int))
    assert (np.diff(counts) >= 0).all() and sorted(reorder) == list(range(16))
    assert counts.tolist() == [int(weights[f].any(0).sum()) for f in reorder]
    for row, (first, output) in enumerate(zip(offsets, reorder, strict=False)):
        for start, end in zip(strides[row, :-1], strides[row, 1:], strict=True):
            kernels = {weights[output, :, channels[first + k]].astype(bool).tobytes() for k in range(start, end)}
            assert len(kernels) <= 1
