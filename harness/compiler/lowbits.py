"""Float weights that take few values: found in the weights themselves, kept as bits, and when that pays (`harness/kernels/f32_lut_dense.h`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from harness.compiler.choice import MARGIN, Vectors
from harness.compiler.ir import Array
from harness.compiler.pack import BLOCK, by_block

MOST_BITS = 4
PART = 512
"""Inputs whose tables are kept at a time: HK_LUT_INPUTS."""
LOOKUP: Mapping[int, tuple[float, ...]] = {16: (0.8, 1.4, 2.1, 2.7), 8: (1.0, 1.9, 2.8, 3.7)}
"""Lanes of a vector -> what a looked-up product of weights of 1 to 4 bits takes, in products of the dense kernel that reads no weight from
afar (8 ps and 16 ps where this was measured). Vectors of other widths have no instruction that looks up floats."""
TABLES: Mapping[int, float] = {16: 85.0, 8: 45.0}
"""Likewise, what an input's part of the tables takes, for each place, however many outputs use them."""
READING = ((512 << 10, 3.0), (16 << 20, 5.5), (math.inf, 13.0))
"""Bytes of float weights, and what reading one takes with vectors of 16 lanes, in the same measure: from the second cache, the third, memory."""
CLOSE = 1e-6
"""How far a weight may be from its level, of the output's greatest: training rounds in float32."""


class Levels(NamedTuple):
    """weight[k, o] = step[o] * (level[k, o] - (2**bits - 1) / 2) + middle[o]"""

    bits: int
    level: Array
    """uint8 [inputs, outputs]"""
    step: Array
    """float32 [outputs]"""
    middle: Array
    """float32 [outputs]"""


def levels_of(weights: Array) -> Levels | None:
    """Of float32 [inputs, outputs]: each output's weights on an even grid of its own of at most 2**MOST_BITS levels; None where they are not."""
    if not np.isfinite(weights).all():
        return None
    lowest, steps, levels = [], [], []
    for column in weights.T:
        found = _grid(column.astype(np.float64))
        if found is None:
            return None
        lowest.append(found[0])
        steps.append(found[1])
        levels.append(found[2])
    bits = max(1, int(np.max(levels)).bit_length())
    step = np.array(steps)
    middle = np.array(lowest) + step * (2**bits - 1) / 2
    return Levels(bits, np.stack(levels, 1), step.astype(np.float32), middle.astype(np.float32))


def _grid(column: Array) -> tuple[float, float, Array] | None:
    """The least value, the step, and each value's level."""
    values = np.unique(column)
    if len(values) > 2**MOST_BITS:
        return None
    span = values[-1] - values[0]
    if span == 0:
        return float(values[0]), 0.0, np.zeros(len(column), np.uint8)
    for parts in range(len(values) - 1, 2**MOST_BITS):
        level = np.rint((values - values[0]) * (parts / span))
        if np.all(np.abs(values[0] + level * (span / parts) - values) <= CLOSE * np.abs(values).max()):
            return float(values[0]), float(span / parts), level[np.searchsorted(values, column)].astype(np.uint8)
    return None


def codes(found: Levels) -> Array:
    """uint8: for each part of inputs [blocks, inputs / 8, bits, 16], one after the other; bit i of a byte is that of input i of eight."""
    inputs, outputs = found.level.shape
    eights = np.pad(found.level, ((0, -inputs % 8), (0, 0))).reshape(-1, 8, outputs)
    planes = [np.packbits(eights >> bit & 1, 1, "little")[:, 0] for bit in range(found.bits)]
    packed = by_block(np.stack(planes, 1), 1)[0]
    return np.concatenate([packed[:, i : i + PART // 8].ravel() for i in range(0, packed.shape[1], PART // 8)])


def pays(found: Levels, places: int, vectors: Vectors) -> bool:
    """Whether looking sums up takes less time than multiplying, at so many places, by the dense kernel or by a list of what is not zero."""
    if vectors.lanes not in LOOKUP or not vectors.can_look_up:
        return False
    inputs, outputs = found.level.shape
    width = BLOCK * math.ceil(outputs / BLOCK)
    reading = next(cost for most, cost in READING if 4 * found.level.size <= most) / (16 / vectors.lanes)
    zero = np.abs(found.step * (found.level - (2**found.bits - 1) / 2) + found.middle) <= CLOSE * found.step
    multiplying = inputs * width * max(1.0, reading / places) * (1 - float(zero.mean()))
    looking = 8 * math.ceil(inputs / 8) * (width * LOOKUP[vectors.lanes][found.bits - 1] + TABLES[vectors.lanes])
    return bool(looking <= MARGIN * multiplying)
