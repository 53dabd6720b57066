"""How pruned weights can be stored, and what each way takes: an encoder, a decoder and a calculator a format. Index bits count.

Weights are [outputs, places, channels]: the places of a window, 1 of a linear layer's (`places_first`). A number of an index is kept in the
narrowest of 1, 2 and 4 bytes that holds the greatest that its array may have; masks are bits, filled up to whole bytes an array.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from harness.compiler.ir import Array
from harness.compiler.sparsity import Mask

Shape = tuple[int, ...]


class Size(NamedTuple):
    values: int
    """Weights that are written, zeros that a format cannot leave out among them."""
    index_bits: int

    def bits(self, weight_bits: float) -> int:
        return math.ceil(self.values * weight_bits) + self.index_bits


class Packed(NamedTuple):
    values: Array
    indices: tuple[Array, ...]
    """Unsigned numbers, and masks as bits in bytes."""


class Format(Protocol):
    """A frozen dataclass; its text is its name."""

    def size(self, mask: Mask) -> Size:
        """Of weights that are not zero where [outputs, places, channels] says so: by formula, nothing is encoded."""

    def encode(self, weights: Array) -> Packed: ...

    def decode(self, packed: Packed, shape: Shape) -> Array: ...


def places_first(weights: Array) -> Array:
    """[outputs, channels, *kernel] -> [outputs, places, channels]."""
    return weights.reshape(*weights.shape[:2], -1).swapaxes(1, 2)


def bits_for(greatest: int) -> int:
    return 8 if greatest < 1 << 8 else 16 if greatest < 1 << 16 else 32


def numbers(found: Array, greatest: int) -> Array:
    return found.astype(f"uint{bits_for(greatest)}")


def whole_bytes(bits: int) -> int:
    """As bits, in whole bytes."""
    return 8 * math.ceil(bits / 8)


@dataclass(frozen=True, slots=True)
class Dense:
    def __str__(self) -> str:
        return "dense"

    def size(self, mask: Mask) -> Size:
        return Size(mask.size, 0)

    def encode(self, weights: Array) -> Packed:
        return Packed(weights.ravel(), ())

    def decode(self, packed: Packed, shape: Shape) -> Array:
        return packed.values.reshape(shape)


@dataclass(frozen=True, slots=True)
class Coo:
    """Each weight with its row and its column of [outputs, places * channels]."""

    def __str__(self) -> str:
        return "COO"

    def size(self, mask: Mask) -> Size:
        kept = int(np.count_nonzero(mask))
        return Size(kept, kept * (bits_for(len(mask) - 1) + bits_for(mask[0].size - 1)))

    def encode(self, weights: Array) -> Packed:
        flat = weights.reshape(len(weights), -1)
        rows, columns = flat.nonzero()
        return Packed(flat[rows, columns], (numbers(rows, len(flat) - 1), numbers(columns, flat.shape[1] - 1)))

    def decode(self, packed: Packed, shape: Shape) -> Array:
        flat = np.zeros((shape[0], math.prod(shape[1:])), packed.values.dtype)
        flat[packed.indices] = packed.values
        return flat.reshape(shape)


@dataclass(frozen=True, slots=True)
class Bsr:
    """Block sparse rows, each block `outputs` x `inputs` at one place, or the whole kernels of `outputs` outputs and one input (1xN, Lin et
    al. 2022). Of one weight a block it is CSR. Blocks at the end are filled up with zeros."""

    outputs: int = 1
    inputs: int = 1
    whole_kernels: bool = False

    def __str__(self) -> str:
        if self.whole_kernels:
            return f"1x{self.outputs}"
        return "CSR" if self.outputs == self.inputs == 1 else f"BSR {self.outputs}x{self.inputs}"

    def _blocks(self, weights: Array) -> Array:
        """-> [rows, columns, weights of a block]."""
        found, inputs = (weights.swapaxes(1, 2), weights.shape[1]) if self.whole_kernels else (weights, self.inputs)
        filled = np.pad(found, ((0, -len(found) % self.outputs), (0, 0), (0, -found.shape[2] % inputs)))
        rows, places, columns = len(filled) // self.outputs, filled.shape[1], filled.shape[2] // inputs
        split = filled.reshape(rows, self.outputs, places, columns, inputs)
        return split.transpose(0, 2, 3, 1, 4).reshape(rows, places * columns, self.outputs * inputs)

    def size(self, mask: Mask) -> Size:
        blocks = self._blocks(mask)
        kept = int(blocks.any(2).sum())
        starts = (len(blocks) + 1) * bits_for(kept)
        return Size(kept * blocks.shape[2], starts + kept * bits_for(blocks.shape[1] - 1))

    def encode(self, weights: Array) -> Packed:
        blocks = self._blocks(weights)
        kept = np.asarray(blocks.any(2))
        starts = np.concatenate(([0], np.cumsum(kept.sum(1))))
        return Packed(blocks[kept], (numbers(starts, starts[-1]), numbers(kept.nonzero()[1], blocks.shape[1] - 1)))

    def decode(self, packed: Packed, shape: Shape) -> Array:
        starts, columns = packed.indices
        outer = (shape[0], shape[2], shape[1]) if self.whole_kernels else shape
        inputs = shape[1] if self.whole_kernels else self.inputs
        across = math.ceil(outer[2] / inputs)
        blocks = np.zeros((len(starts) - 1, outer[1] * across, self.outputs * inputs), packed.values.dtype)
        blocks[np.repeat(np.arange(len(blocks)), starts[1:].astype(np.int64) - starts[:-1]), columns] = packed.values
        split = blocks.reshape(len(blocks), outer[1], across, self.outputs, inputs).transpose(0, 3, 1, 2, 4)
        found = split.reshape(len(blocks) * self.outputs, outer[1], across * inputs)[: outer[0], :, : outer[2]]
        return found.swapaxes(1, 2) if self.whole_kernels else found


@dataclass(frozen=True, slots=True)
class Punched:
    """A bit for each block of `outputs` x `inputs` at each place (block-punched, YOLObile), then the weights of the blocks that are kept. Of
    one weight a block it is a bitmap."""

    outputs: int = 1
    inputs: int = 1

    def __str__(self) -> str:
        return "bitmap" if self.outputs == self.inputs == 1 else f"block-punched {self.outputs}x{self.inputs}"

    def _kept(self, mask: Mask) -> Mask:
        """[blocks of outputs, places, blocks of inputs]."""
        o, p, c = mask.shape
        filled = np.pad(mask, ((0, -o % self.outputs), (0, 0), (0, -c % self.inputs)))
        blocks = filled.reshape(-1, self.outputs, p, filled.shape[2] // self.inputs, self.inputs)
        return np.asarray(blocks.any((1, 4)))

    def _spread(self, kept: Mask, shape: Shape) -> Mask:
        found: Mask = kept.repeat(self.outputs, 0).repeat(self.inputs, 2)[: shape[0], :, : shape[2]]
        return found

    def size(self, mask: Mask) -> Size:
        kept = self._kept(mask)
        return Size(int(self._spread(kept, mask.shape).sum()), whole_bytes(kept.size))

    def encode(self, weights: Array) -> Packed:
        kept = self._kept(weights != 0)
        return Packed(weights[self._spread(kept, weights.shape)], (np.packbits(kept),))

    def decode(self, packed: Packed, shape: Shape) -> Array:
        kept = (math.ceil(shape[0] / self.outputs), shape[1], math.ceil(shape[2] / self.inputs))
        bits = np.unpackbits(packed.indices[0], count=math.prod(kept)).reshape(kept).astype(bool)
        found = np.zeros(shape, packed.values.dtype)
        found[self._spread(bits, shape)] = packed.values
        return found


@dataclass(frozen=True, slots=True)
class Grouped:
    """N:M: `kept` of each `of` neighbouring channels with their places among them. A group of fewer is filled up with zeros."""

    kept: int
    of: int

    def __str__(self) -> str:
        return f"{self.kept}:{self.of}"

    def _groups(self, weights: Array) -> Array:
        filled = np.pad(weights, ((0, 0), (0, 0), (0, -weights.shape[2] % self.of)))
        return filled.reshape(-1, self.of)

    @property
    def _place_bits(self) -> int:
        return (self.of - 1).bit_length()

    def size(self, mask: Mask) -> Size:
        kept = self._groups(mask).sum(1).size * self.kept
        return Size(kept, whole_bytes(kept * self._place_bits))

    def encode(self, weights: Array) -> Packed:
        groups = self._groups(weights)
        if ((groups != 0).sum(1) > self.kept).any():
            raise ValueError(f"there are more than {self} weights in a group")
        order = np.argsort(groups == 0, 1, kind="stable")[:, : self.kept]
        bits = order[..., None] >> np.arange(self._place_bits) & 1
        return Packed(np.take_along_axis(groups, order, 1).ravel(), (np.packbits(bits.astype(np.uint8)),))

    def decode(self, packed: Packed, shape: Shape) -> Array:
        filled = shape[2] + -shape[2] % self.of
        groups = np.zeros((shape[0] * shape[1] * filled // self.of, self.of), packed.values.dtype)
        bits = np.unpackbits(packed.indices[0], count=len(groups) * self.kept * self._place_bits)
        order = (bits.reshape(len(groups), self.kept, -1).astype(np.int64) << np.arange(self._place_bits)).sum(2)
        np.put_along_axis(groups, order, packed.values.reshape(order.shape), 1)
        return groups.reshape(shape[0], shape[1], filled)[..., : shape[2]]
