"""What the zeros of a layer's weights look like: the pattern by which they were pruned, found in the weights themselves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.compiler.ir import Array

Mask = npt.NDArray[np.bool_]

BLOCKS = ((16, 4), (8, 4), (16, 1), (8, 1), (4, 1))
"""Outputs x input channels that are kept or dropped together at each place of the window, the largest first. 8x4 is the block-punched
pruning of YOLObile; n x 1 is 1xN (Lin et al. 2022)."""
MOST_PATTERNS = 56
"""Of a pattern-pruned layer: 4 of 9 places with the centre among them can be chosen in that many ways (PatDNN, Niu et al. 2020)."""
STRAY = 0.01
"""The part of a layer's weights that may be zero, or of a block's, without meaning anything: training and rounding make zeros too."""


class Zeros(NamedTuple):
    pattern: str
    """`dense`, `channel`, `block 16x4` ... `block 4x1` (outputs x inputs), `pattern 4:9`, `2:4` (of input channels), `unstructured`."""
    density: float
    """Non-zero weights of all."""


def zeros_of(weights: Array) -> Zeros:
    """Of [kh, kw, channels, outputs]: the coarsest pattern that explains the zeros."""
    mask: Mask = weights != 0
    density = float(mask.mean()) if mask.size else 1.0
    if density >= 1 - STRAY:
        return Zeros("dense", density)
    return Zeros(_channels(mask) or _blocks(mask) or _kernels(mask) or _groups(mask) or "unstructured", density)


def _is_full(kept: Mask, mask: Mask) -> bool:
    """Whether what is kept as a whole is nearly all non-zero, and leaves something out: a mask that keeps all explains nothing."""
    total = int(kept.sum())
    return total < mask.size and int(mask.sum()) >= (1 - STRAY) * total


def _channels(mask: Mask) -> str:
    inputs, outputs = np.asarray(mask.any((0, 1, 3))), np.asarray(mask.any((0, 1, 2)))
    kept = inputs[:, None] & outputs
    return "channel" if _is_full(np.broadcast_to(kept, mask.shape), mask) else ""


def _blocks(mask: Mask) -> str:
    for outputs, inputs in BLOCKS:
        if outputs <= mask.shape[3] and inputs <= mask.shape[2] and _is_full(_spread(mask, outputs, inputs), mask):
            return f"block {outputs}x{inputs}"
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
