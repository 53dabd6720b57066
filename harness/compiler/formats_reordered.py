"""Ways to store pruned weights that put outputs, and what they keep, in another order: as `harness/compiler/formats.py` describes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.compiler.formats import Packed, Shape, Size, bits_for, numbers, whole_bytes
from harness.compiler.ir import Array
from harness.compiler.sparsity import Mask


@dataclass(frozen=True, slots=True)
class Fkw:
    """Filter, kernel, weight (PatDNN, Niu et al. 2020): the patterns of the kernels' places; where each filter begins, which it is (those
    with equally many kernels follow each other), where each pattern's kernels begin in it, and each kernel's channel."""

    def __str__(self) -> str:
        return "FKW"

    def _patterns(self, mask: Mask) -> tuple[Array, Array]:
        """[patterns, places], none of them empty; and which a kernel has [outputs, channels], -1 for an empty one."""
        o, p, c = mask.shape
        found, which = np.unique(mask.swapaxes(1, 2).reshape(-1, p), axis=0, return_inverse=True)
        first = int(not found[0].any())
        return found[first:], (which - first).reshape(o, c)

    def size(self, mask: Mask) -> Size:
        patterns, which = self._patterns(mask)
        kernels, (o, c) = int((which >= 0).sum()), which.shape
        strides = o * (len(patterns) + 1) * bits_for(c)
        filters = (o + 1) * bits_for(kernels) + o * bits_for(o - 1)
        return Size(int(np.count_nonzero(mask)), whole_bytes(patterns.size) + filters + strides + kernels * bits_for(c - 1))

    def encode(self, weights: Array) -> Packed:
        patterns, which = self._patterns(weights != 0)
        o, c = which.shape
        counts = (which >= 0).sum(1)
        reorder = np.argsort(counts, kind="stable")
        offsets = np.concatenate(([0], np.cumsum(counts[reorder])))
        ordered = np.argsort(np.where(which < 0, len(patterns), which), 1, kind="stable")  # by pattern, the empty ones last
        strides = np.stack([(which[f, :, None] < np.arange(len(patterns) + 1)).sum(0) - (which[f] < 0).sum() for f in reorder])
        channels = [ordered[f, : counts[f]] for f in reorder]
        values = [
            weights[f, patterns[which[f, k]].astype(bool), k] for f, kept in zip(reorder, channels, strict=True) for k in kept
        ]
        index = (
            np.packbits(patterns),
            numbers(offsets, offsets[-1]),
            numbers(reorder, o - 1),
            numbers(strides, c),
            numbers(np.concatenate(channels), c - 1),
        )
        return Packed(np.concatenate(values) if values else weights[:0].ravel(), index)

    def decode(self, packed: Packed, shape: Shape) -> Array:
        bits, offsets, reorder, strides, channels = packed.indices
        patterns = np.unpackbits(bits, count=(strides.shape[1] - 1) * shape[1]).reshape(-1, shape[1]).astype(bool)
        found, at = np.zeros(shape, packed.values.dtype), 0
        for row, output in enumerate(reorder):
            for number, pattern in enumerate(patterns):
                for kernel in range(int(strides[row, number]), int(strides[row, number + 1])):
                    channel, count = channels[int(offsets[row]) + kernel], int(pattern.sum())
                    found[output, pattern, channel] = packed.values[at : at + count]
                    at += count
        return found


@dataclass(frozen=True, slots=True)
class Bcrc:
    """Block-based column-row compact (GRIM): outputs that keep the same columns follow each other and share one list of them."""

    def __str__(self) -> str:
        return "BCRC"

    def _sets(self, mask: Mask) -> tuple[Array, Array]:
        """[sets, columns], and which an output has."""
        rows = np.packbits(mask.reshape(len(mask), -1), axis=1)
        found, which = np.unique(rows, axis=0, return_inverse=True)
        return np.unpackbits(found, axis=1, count=mask[0].size).astype(bool), which.ravel()

    def size(self, mask: Mask) -> Size:
        sets, _ = self._sets(mask)
        o, kept, columns = len(mask), int(np.count_nonzero(mask)), int(sets.sum())
        rows = o * bits_for(o - 1) + (o + 1) * bits_for(kept)
        groups = (len(sets) + 1) * (bits_for(o) + bits_for(columns))
        return Size(kept, rows + groups + columns * bits_for(mask[0].size - 1))

    def encode(self, weights: Array) -> Packed:
        sets, which = self._sets(weights != 0)
        flat, o = weights.reshape(len(weights), -1), len(weights)
        reorder = np.argsort(which, kind="stable")
        lengths = sets.sum(1)
        offsets = np.concatenate(([0], np.cumsum(lengths[which[reorder]])))
        occurrence = np.concatenate(([0], np.cumsum(np.bincount(which, minlength=len(sets)))))
        strides = np.concatenate(([0], np.cumsum(lengths)))
        index = (
            numbers(reorder, o - 1),
            numbers(offsets, offsets[-1]),
            numbers(occurrence, o),
            numbers(strides, strides[-1]),
            numbers(sets.nonzero()[1], flat.shape[1] - 1),
        )
        return Packed(np.concatenate([flat[row, sets[which[row]]] for row in reorder]), index)

    def decode(self, packed: Packed, shape: Shape) -> Array:
        reorder, offsets, occurrence, strides, columns = packed.indices
        flat = np.zeros((shape[0], math.prod(shape[1:])), packed.values.dtype)
        for number in range(len(occurrence) - 1):
            kept = columns[int(strides[number]) : int(strides[number + 1])]
            for row in range(int(occurrence[number]), int(occurrence[number + 1])):
                flat[reorder[row], kept] = packed.values[int(offsets[row]) : int(offsets[row + 1])]
        return flat.reshape(shape)
