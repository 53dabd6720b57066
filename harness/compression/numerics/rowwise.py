"""Regularities that optimal brain surgery can work on: their units lie within one filter. Free of torch: checked before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable

from harness.compression.numerics.regularity import BlockPunched, NOfM, Regularity, Unstructured, parse
from harness.errors import UserError

WIDEST = 32
"""Weights of a block, at most: what the C loop keeps aside."""


def parse_rowwise(label: str, sparsities: Iterable[float]) -> Regularity:
    """What prints as the label; UserError if it is none of these, or cannot remove one of these shares."""
    found = parse(label)
    check_rowwise(found)
    for sparsity in sparsities:
        found.check_sparsity(sparsity)
    return found


def check_rowwise(regularity: Regularity) -> None:
    one_filter = isinstance(regularity, Unstructured | NOfM) or (isinstance(regularity, BlockPunched) and regularity.filters == 1)
    if not one_filter:
        raise UserError(f"`{regularity}`: every filter is pruned by itself here: unstructured, n:m, or block-punched 1xN")
    if isinstance(regularity, BlockPunched) and regularity.channels > WIDEST:
        raise UserError(f"`{regularity}`: up to {WIDEST} weights can leave together")
