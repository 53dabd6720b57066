"""A weight [out, in, *kernel] cut into tiles: means over each, and back. A linear layer's kernel has one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch


class Tile(NamedTuple):
    """Outputs x input channels x places of the kernel; None: all there are. Tiles at the end may be smaller."""

    outputs: int | None
    inputs: int | None
    places: int | None

    def steps(self, shape: torch.Size) -> list[int]:
        return [step or size for step, size in zip(self, three(shape), strict=True)]

    def sizes(self, shape: torch.Size) -> torch.Tensor:
        """[tiles, tiles, tiles] float64: weights in each."""
        import torch

        outputs, inputs, places = (
            torch.tensor([min(step, size - start) for start in range(0, size, step)], dtype=torch.float64)
            for size, step in zip(three(shape), self.steps(shape), strict=True)
        )
        return outputs[:, None, None] * inputs[:, None] * places

    def sums(self, values: torch.Tensor) -> torch.Tensor:
        """Of each tile, [tiles, tiles, tiles]."""
        from torch.nn import functional

        flat, steps = values.reshape(three(values.shape)), self.steps(values.shape)
        missing = [-size % step for size, step in zip(flat.shape, steps, strict=True)]
        filled = functional.pad(flat, (0, missing[2], 0, missing[1], 0, missing[0]))
        o, i, p = (size // step for size, step in zip(filled.shape, steps, strict=True))
        return filled.reshape(o, steps[0], i, steps[1], p, steps[2]).sum((1, 3, 5))

    def means(self, values: torch.Tensor) -> torch.Tensor:
        return self.sums(values) / self.sizes(values.shape)

    def spread(self, units: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        """[tiles, tiles, tiles] -> `shape`: each weight has its tile's value."""
        full = units
        for axis, step in enumerate(self.steps(shape)):
            full = full.repeat_interleave(step, axis)
        o, i, p = three(shape)
        return full[:o, :i, :p].reshape(shape)


def three(shape: torch.Size) -> tuple[int, int, int]:
    """Outputs, input channels, places."""
    return shape[0], shape[1], shape[2:].numel()


def as_matrix(weight: torch.Tensor) -> torch.Tensor:
    """[out, in, *kernel] -> [out, (place, in)]: the order of columns in which layers are computed."""
    return weight.reshape(three(weight.shape)).transpose(1, 2).flatten(1)


def as_weight(matrix: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Back from `as_matrix`."""
    outputs, inputs, places = three(shape)
    return matrix.view(outputs, places, inputs).transpose(1, 2).reshape(shape)
