"""Regularities that optimal brain surgery can work on: what leaves together is one row's, or the same of neighbouring rows. Free of torch: checked
before anything is computed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness.compression.numerics.regularity import BlockPunched, NOfM, OneByN, Regularity, Unstructured, parse
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.compression.numerics.layers import Layer

WIDEST = 32
"""Weights of one row that leave together, at most: what the C loop keeps aside."""


def parse_removable(label: str, sparsities: Iterable[float] = ()) -> Regularity:
    """What prints as the label; UserError if it is none of these, or cannot remove one of these shares."""
    found = parse(label)
    check_removable(found)
    for sparsity in sparsities:
        found.check_sparsity(sparsity)
    return found


def check_removable(regularity: Regularity) -> None:
    if not isinstance(regularity, Unstructured | NOfM | OneByN | BlockPunched):
        raise UserError(f"`{regularity}`: surgery removes single weights, n:m, 1xN and punched blocks")
    if isinstance(regularity, BlockPunched) and regularity.channels > WIDEST:
        raise UserError(f"`{regularity}`: up to {WIDEST} weights of a filter can leave together")


def unremovable(regularity: Regularity, layer: Layer) -> str | None:
    """Why nothing can be removed from a layer so, or None."""
    places = layer.weight.shape[2:].numel()
    if isinstance(regularity, OneByN) and places > WIDEST:
        return f"`{regularity}`: kernels of {places} weights are too wide to leave whole, by surgery at most {WIDEST} do"
    return regularity.applies_to(layer)
