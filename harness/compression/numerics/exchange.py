"""Weights as few small bases times sparse powers of two: W ~ Ce B (SmartExchange; Zhao et al. 2020, arXiv:2005.03403).

A slice of a layer's weights is a matrix [rows, width]. Entries of Ce [rows, width] are 0 or +-2^p with p one of -(exponents-1) ... 0, whole
rows may be zero; B [width, width] holds 8-bit integers times a power of two. So W comes back by shifts and additions of integers alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from harness.compression.numerics.layers import Layer
from harness.compression.numerics.represented import rounded

MOST_ROWS = 192
"""Of a slice: what shares a basis (as in the authors' code)."""
FOLDED = 3
"""Width of the slices of linear layers and kernels one wide."""
BASIS_BITS = 8
BASIS_EXPONENT_BITS = 8
ITERATIONS = 30


class Slicing(NamedTuple):
    """How a weight is cut into slices: each filter alone, as [inputs * kernel rows, kernel columns], or folded."""

    filters: int
    width: int
    rows: int
    """Of a filter; of a fold the last may be filled up with zeros."""
    cuts: int
    """Slices of a filter, of as equal rows as can be."""

    @staticmethod
    def of(shape: torch.Size) -> Slicing:
        columns = shape[-1] if len(shape) > 2 else 1
        width = columns if columns > 1 else FOLDED
        rows = -(-shape[1:].numel() // width)
        return Slicing(shape[0], width, rows, -(-rows // MOST_ROWS))

    @property
    def slice_rows(self) -> int:
        return -(-self.rows // self.cuts)

    def cut(self, weight: torch.Tensor) -> torch.Tensor:
        """[out, ...] -> [slices, slice_rows, width], zeros at the end of each filter."""
        flat = weight.flatten(1)
        filled = torch.nn.functional.pad(flat, (0, self.cuts * self.slice_rows * self.width - flat.shape[1]))
        return filled.view(-1, self.slice_rows, self.width)

    def joined(self, slices: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        return slices.reshape(self.filters, -1)[:, : shape[1:].numel()].reshape(shape)


class Factors(NamedTuple):
    coefficients: torch.Tensor
    """Ce [slices, rows, width]."""
    basis: torch.Tensor
    """B [slices, width, width]."""
    error: float
    """|W - Ce B| / |W|, Frobenius, over all slices."""

    def product(self) -> torch.Tensor:
        return self.coefficients @ self.basis


def powers_of_two(values: torch.Tensor, exponents: int) -> torch.Tensor:
    """The nearest of 0 and +-2^p, p = -(exponents-1) ... 0; of two as near the larger."""
    lowest = 1 - exponents
    magnitude = values.abs()
    exponent = torch.floor(torch.log2(magnitude.clamp(min=2.0 ** (lowest - 2))))
    exponent = (exponent + (magnitude >= 1.5 * torch.exp2(exponent))).clamp(lowest, 0)
    return torch.where(magnitude >= 2.0 ** (lowest - 1), torch.exp2(exponent) * values.sign(), torch.zeros_like(values))


def on_basis_grid(basis: torch.Tensor) -> torch.Tensor:
    """[slices, width, width] to -127 ... 127 times each slice's own power of two; gradients pass."""
    largest = basis.detach().abs().amax((1, 2), keepdim=True).clamp(min=1e-30)
    step = torch.exp2(torch.ceil(torch.log2(largest / 127)))
    return rounded(basis / step) * step


def kept_rows(slices: torch.Tensor, sparsity: float) -> torch.Tensor:
    """bool [slices, rows, 1]: without round(sparsity * rows) of the smallest rows of the whole layer."""
    from harness.compression.numerics.masks import keep_largest

    return keep_largest({"": slices.square().sum(2, keepdim=True)}, sparsity, "local")[""]


def factors(slices: torch.Tensor, kept: torch.Tensor, exponents: int, iterations: int = ITERATIONS) -> Factors:
    """The best of some rounds of: Ce to powers of two, B by least squares, Ce by least squares. In float64.

    The rounds do not always get better, so the best counts; the first one alone is the nearest powers of two to the weights, by column.
    """
    wanted = slices.double()
    free, best = wanted, None
    for _ in range(iterations):
        size = free.abs().amax(1, keepdim=True).clamp(min=1e-30)
        coefficients = powers_of_two(free / size, exponents) * kept
        basis = on_basis_grid(torch.linalg.pinv(coefficients) @ wanted)
        found = Factors(coefficients, basis, float((wanted - coefficients @ basis).norm() / wanted.norm().clamp(min=1e-30)))
        if best is None or found.error < best.error:
            best = found
        free = wanted @ torch.linalg.pinv(basis)
    assert best is not None
    return Factors(best.coefficients.to(slices.dtype), best.basis.to(slices.dtype), best.error)


class Fit(NamedTuple):
    """What a layer's weight became."""

    kept: torch.Tensor
    """bool [slices, rows, 1]"""
    found: Factors

    def tensors(self) -> tuple[torch.Tensor, ...]:
        return self.kept, self.found.coefficients, self.found.basis, torch.tensor(self.found.error, dtype=torch.float64)

    @staticmethod
    def of(kept: torch.Tensor, coefficients: torch.Tensor, basis: torch.Tensor, error: torch.Tensor) -> Fit:
        """The inverse of `tensors`."""
        return Fit(kept, Factors(coefficients, basis, float(error)))


def fit_weights(weight: torch.Tensor, sparsity: float, exponents: int) -> Fit:
    """The largest rows, and the factors that come nearest to the weights (as published)."""
    slices = Slicing.of(weight.shape).cut(weight.detach())
    kept = kept_rows(slices, sparsity)
    return Fit(kept, factors(slices, kept, exponents))


class Exchanged(nn.Module):
    """A layer's weight as Ce B while it is trained: B by its gradients, Ce by `stepped`."""

    def __init__(self, shape: torch.Size, fit: Fit, exponents: int) -> None:
        super().__init__()
        self.shape, self.exponents = shape, exponents
        self.slicing = Slicing.of(shape)
        self.kept: torch.Tensor
        self.signs: torch.Tensor
        self.register_buffer("kept", fit.kept)
        self.register_buffer("signs", torch.zeros(fit.found.coefficients.shape))
        self.found = fit.found

    def right_inverse(self, _weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.found.coefficients, self.found.basis

    def forward(self, coefficients: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
        return self.slicing.joined(coefficients @ on_basis_grid(basis), self.shape)

    def stepped(self, coefficients: torch.Tensor, gradient: torch.Tensor, bar: int) -> torch.Tensor:
        """Ce after one step of SmartDeal (Chen et al. 2021, arXiv:2101.01163).

        Signs of gradients are summed; an entry whose sum reaches `bar` goes one power of two against it (over zero, never outside the
        range, never in a row that is zero) and starts at 0 again.
        """
        self.signs += gradient.sign()
        moves = (self.signs.abs() >= bar) & self.kept
        level = levels(coefficients, self.exponents) - torch.where(moves, self.signs.sign(), torch.zeros_like(self.signs))
        self.signs.masked_fill_(moves, 0.0)
        return of_levels(level.clamp(-self.exponents, self.exponents), self.exponents)


def levels(coefficients: torch.Tensor, exponents: int) -> torch.Tensor:
    """0 or +-2^p -> 0 or +-(p + exponents): 1 is the smallest power, `exponents` is 1.0."""
    magnitude = torch.log2(coefficients.abs().clamp(min=2.0**-exponents)) + exponents
    return magnitude.round() * coefficients.sign()


def of_levels(level: torch.Tensor, exponents: int) -> torch.Tensor:
    return torch.exp2(level.abs() - exponents) * level.sign()


def coefficient_bits(exponents: int) -> int:
    """A code for zero and two for each power."""
    return (2 * exponents).bit_length()


def stored_bits(shape: torch.Size, kept: int, exponents: int) -> int:
    """Of a layer: the coefficients of kept rows, one bit a row that says which those are, the bases with their exponents."""
    slicing = Slicing.of(shape)
    basis = BASIS_BITS * slicing.width**2 + BASIS_EXPONENT_BITS
    return (
        kept * slicing.width * coefficient_bits(exponents)
        + slicing.filters * slicing.rows
        + slicing.filters * slicing.cuts * basis
    )


def refusal(layer: Layer) -> str | None:
    """Why a layer's weights gain nothing by it, or None."""
    shape = layer.weight.shape
    bits = stored_bits(shape, shape.numel() // Slicing.of(shape).width, 1)
    if bits >= 8 * shape.numel():
        return f"bases and coefficients would take as much as its {shape[1:].numel()} weights a filter in 8 bits"
    return None
