"""What the zeros of a layer's weights look like: the pattern by which they were pruned, found in the weights themselves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.compiler.ir import Array

Mask = npt.NDArray[np.bool_]

KERNELS = (32, 16, 8, 4, 2)
"""Outputs whose kernels of one input channel are kept or dropped whole together: 1xN (Lin et al. 2022)."""
BLOCKS = ((16, 16), (8, 16), (16, 4), (8, 4), (4, 4), (16, 1), (8, 1), (4, 1))
"""Outputs x input channels that are kept or dropped together at each place of the window, the largest first: block-punched (YOLObile)."""
TILES = ((16, 16), (8, 8), (4, 4))
"""Outputs x entries of the matrix [outputs, (place, channel)] in which whole rows and columns are dropped."""
MOST_PATTERNS = 56
"""Of a pattern-pruned layer: 4 of 9 places with the centre among them can be chosen in that many ways (PatDNN, Niu et al. 2020)."""
STRAY = 0.01
"""The part of a layer's weights that may be zero, or of a block's, without meaning anything: training and rounding make zeros too."""


class Zeros(NamedTuple):
    pattern: str
    """`dense`, `filter`, `channel` (inputs too), `1x16`, `block-punched 8x4`, `block 4x4` (rows and columns of a tile), `pattern 4:9`, `2:4` (of
    input channels), `unstructured`: as `harness/compression/numerics/regularity.py` names what pruned so."""
    density: float
    """Non-zero weights of all."""


def zeros_of(weights: Array) -> Zeros:
    """Of [kh, kw, channels, outputs]: the coarsest pattern that explains the zeros."""
    mask: Mask = weights != 0
    density = float(mask.mean()) if mask.size else 1.0
    if density >= 1 - STRAY:
        return Zeros("dense", density)
    found = _channels(mask) or _blocks(mask) or _tiles(mask) or _kernels(mask) or _groups(mask)
    return Zeros(found or "unstructured", density)


def _is_full(kept: Mask, mask: Mask) -> bool:
    """Whether what is kept as a whole is nearly all non-zero, and leaves something out: a mask that keeps all explains nothing."""
    total = int(kept.sum())
    return total < mask.size and int(mask.sum()) >= (1 - STRAY) * total


def _channels(mask: Mask) -> str:
    inputs, outputs = np.asarray(mask.any((0, 1, 3))), np.asarray(mask.any((0, 1, 2)))
    kept = inputs[:, None] & outputs
    if not _is_full(np.broadcast_to(kept, mask.shape), mask):
        return ""
    return "filter" if inputs.all() else "channel"


def _blocks(mask: Mask) -> str:
    c, o = mask.shape[2:]
    kernels: Mask = np.asarray(mask.any((0, 1), keepdims=True))
    for outputs in KERNELS:
        if outputs <= o and _is_full(np.broadcast_to(_spread(kernels, outputs, 1), mask.shape), mask):
            return f"1x{outputs}"
    for outputs, inputs in BLOCKS:
        if outputs <= o and inputs <= c and _is_full(_spread(mask, outputs, inputs), mask):
            return f"block-punched {outputs}x{inputs}"
    return ""


def _tiles(mask: Mask) -> str:
    """Where rows and columns of a tile that hold anything meet, everything is kept; a single weight a tile is no pattern."""
    matrix = mask.reshape(-1, mask.shape[3]).T
    for rows, columns in TILES:
        if rows <= matrix.shape[0] and columns <= matrix.shape[1]:
            filled = np.pad(matrix, ((0, -matrix.shape[0] % rows), (0, -matrix.shape[1] % columns)))
            tiles = filled.reshape(filled.shape[0] // rows, rows, -1, columns)
            meet = np.asarray(tiles.any(3, keepdims=True) & tiles.any(1, keepdims=True))
            if _is_full(meet, tiles) and int(mask.sum()) >= 2 * int(tiles.any((1, 3)).sum()):
                return f"block {rows}x{columns}"
    return ""


def _spread(mask: Mask, outputs: int, inputs: int) -> Mask:
    """The mask of the blocks in which there is anything, as large as `mask`; blocks at the end may be smaller."""
    kh, kw, c, o = mask.shape
    filled = np.pad(mask, ((0, 0), (0, 0), (0, -c % inputs), (0, -o % outputs)))
    blocks = filled.reshape(kh, kw, -1, inputs, filled.shape[3] // outputs, outputs).any((3, 5))
    spread: Mask = blocks.repeat(inputs, 2).repeat(outputs, 3)[:, :, :c, :o]
    return spread


def _kernels(mask: Mask) -> str:
    """Every kernel that is not dropped whole keeps as many places, and they are chosen in few ways."""
    kh, kw = mask.shape[:2]
    kernels = mask.reshape(kh * kw, -1).T
    kernels = kernels[kernels.any(1)]
    if kh * kw < 4 or not len(kernels):
        return ""
    kept = kernels.sum(1)
    ways = len(np.unique(kernels, axis=0))
    is_few = ways <= MOST_PATTERNS and 4 * ways <= len(kernels)
    return f"pattern {kept[0]}:{kh * kw}" if is_few and kept[0] < kh * kw and (kept == kept[0]).all() else ""


def _groups(mask: Mask) -> str:
    """At most n of m neighbouring input channels, and hardly anywhere fewer."""
    kh, kw, c, o = mask.shape
    for m in (4, 8, 16):
        if c % m == 0:
            kept = mask.reshape(kh, kw, c // m, m, o).sum(3)
            n = int(kept.max())
            if n < m and kept.sum() >= (1 - STRAY) * n * kept.size:
                return f"{n}:{m}"
    return ""
