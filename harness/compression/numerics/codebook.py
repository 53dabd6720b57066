"""Weight sharing: a layer's weights are entries of one small table (Han et al. 2016, arXiv:1510.00149, sec. 3)."""

from __future__ import annotations

import torch
from torch import nn

ITERATIONS = 100


def shared(values: torch.Tensor, entries: int) -> tuple[torch.Tensor, torch.Tensor]:
    """k-means of a flat tensor: the table [entries], rising, and for each value the index of its nearest entry.

    It starts from entries evenly spaced between smallest and largest value, which keeps some for the few large weights; an entry that no value
    is nearest to stays where it is.
    """
    wanted = values.double()
    table = torch.linspace(float(wanted.min()), float(wanted.max()), entries, dtype=torch.float64)
    codes = _nearest(wanted, table)
    for _ in range(ITERATIONS):
        counts = torch.bincount(codes, minlength=entries)
        sums = torch.zeros(entries, dtype=torch.float64).index_add_(0, codes, wanted)
        table = torch.where(counts > 0, sums / counts.clamp(min=1), table)
        again = _nearest(wanted, table)
        if torch.equal(again, codes):
            break
        codes = again
    return table.to(values.dtype), codes


def _nearest(values: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Of a rising table; of two as near the smaller."""
    return torch.bucketize(values, (table[1:] + table[:-1]) / 2)


class Shared(nn.Module):
    """A weight as codes into a table while it is trained: an entry's gradient is the sum of those of its weights; codes stay."""

    def __init__(self, weight: torch.Tensor, bits: int) -> None:
        super().__init__()
        self.table, codes = shared(weight.detach().flatten(), 2**bits)
        self.codes: torch.Tensor
        self.register_buffer("codes", codes.view_as(weight))

    def right_inverse(self, _weight: torch.Tensor) -> torch.Tensor:
        return self.table

    def forward(self, table: torch.Tensor) -> torch.Tensor:
        return table[self.codes]


def stored_bits(weights: int, bits: int) -> int:
    """Codes and a table of float32."""
    return weights * bits + (32 << bits)
