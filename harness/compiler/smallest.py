"""Which way of storing a layer's weights takes the least."""

from __future__ import annotations

import re
from typing import NamedTuple

from harness.compiler.formats import Bsr, Coo, Dense, Format, Grouped, Punched, places_first
from harness.compiler.formats_reordered import Bcrc, Fkw
from harness.compiler.ir import Array
from harness.compiler.sparsity import zeros_of

ANY: tuple[Format, ...] = (Dense(), Punched(), Bsr(), Coo(), Bcrc())
"""Those that any weights can be stored in."""


class Stored(NamedTuple):
    format: str
    bits: int


def smallest(weights: Array, weight_bits: float) -> Stored:
    """Of [outputs, channels, *kernel]: the format that their zeros allow and that takes the least."""
    found = places_first(weights)
    mask = found != 0
    pattern = zeros_of(found.transpose(1, 2, 0)[None]).pattern
    return min((Stored(str(way), way.size(mask).bits(weight_bits)) for way in ways(pattern)), key=lambda stored: stored.bits)


def ways(pattern: str) -> tuple[Format, ...]:
    """The formats worth trying for the zeros of a pattern (`zeros_of`): what is made for it, then those for any weights."""
    sizes = [int(text) for text in re.findall(r"\d+", pattern)]
    if pattern == "dense":
        return (Dense(),)
    if pattern.startswith("block-punched"):
        return (Punched(*sizes), Bsr(sizes[0], sizes[1]), *ANY)
    if pattern.startswith("1x"):
        return (Bsr(sizes[1], whole_kernels=True), Bsr(sizes[1]), *ANY)
    if pattern.startswith("pattern"):
        return (Fkw(), *ANY)
    return (Grouped(*sizes), *ANY) if ":" in pattern else ANY
