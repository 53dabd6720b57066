"""Images cut into a grid of regions, one for each lane of a vector: the layout of `harness/kernels/f32_region_conv.h`, and the operators on it.

Lane l of a vector holds a place of region l. So a weight that is multiplied with neighbouring places is multiplied with whole vectors, and any
single zero weight can be skipped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.compiler.ir import Array, Type
from harness.compiler.operators import NO_CLAMP, Clamp, Conv, Window

BORDER = 1
"""Places of its neighbours that each region holds on every side."""


@dataclass(frozen=True, slots=True)
class Regions:
    """How an image is cut. The last regions of a row and of a column may lie partly beyond the image."""

    height: int
    width: int
    grid: tuple[int, int]
    """Regions below and beside each other."""
    size: tuple[int, int]
    """Rows and columns of one."""
    lanes: int

    @property
    def vectors(self) -> tuple[int, int]:
        """Rows and columns with the border."""
        return self.size[0] + 2 * BORDER, self.size[1] + 2 * BORDER

    @property
    def elements(self) -> int:
        """Of one channel."""
        return math.prod(self.vectors) * self.lanes

    def type(self, batch: int, channels: int) -> Type:
        return Type("float32", (batch, channels, *self.vectors, self.lanes))

    def places(self) -> Array:
        """int32 [rows, columns, lanes] with the border: the number of the image's place that is there, -1 where there is none."""
        (down, across), (rows, columns) = self.grid, self.size
        lanes = np.arange(self.lanes)
        y = np.arange(-BORDER, rows + BORDER)[:, None, None] + lanes // across * rows
        x = np.arange(-BORDER, columns + BORDER)[:, None] + lanes % across * columns
        is_there = (y >= 0) & (y < self.height) & (x >= 0) & (x < self.width) & (lanes < down * across)
        return np.where(is_there, y * self.width + x, -1).astype(np.int32)

    def elements_of_places(self) -> Array:
        """int32 [height * width]: which element of a channel holds each place; one that is no border, if there is one."""
        everywhere, inner = self.places(), np.full((*self.vectors, self.lanes), -1, np.int32)
        own = (slice(BORDER, -BORDER), slice(BORDER, -BORDER))
        inner[own] = everywhere[own]
        found = np.zeros(self.height * self.width, np.int32)
        for places in (everywhere.ravel(), inner.ravel()):
            (elements,) = np.nonzero(places >= 0)
            found[places[elements]] = elements
        return found

    def scaled(self, stride: int, height: int, width: int) -> Regions:
        """An image of this size cut alike, into regions `stride` times as large."""
        return Regions(height, width, self.grid, (self.size[0] * stride, self.size[1] * stride), self.lanes)


def regions_of(height: int, width: int, lanes: int) -> Regions:
    """With the fewest vectors, and of those with the least border."""
    found = []
    for down in range(1, min(lanes, height) + 1):
        across = min(lanes // down, width)
        size = math.ceil(height / down), math.ceil(width / across)
        grid = math.ceil(height / size[0]), math.ceil(width / size[1])
        found.append(Regions(height, width, grid, size, lanes))
    return min(found, key=lambda r: (math.prod(r.size), r.elements))


@dataclass(frozen=True, slots=True)
class ToRegions:
    """x [n, h, w, c] -> [n, c, rows, columns, lanes]."""

    regions: Regions

    def infer(self, types: Sequence[Type]) -> Type:
        (x,) = types
        if x != Type("float32", (x.shape[0], self.regions.height, self.regions.width, x.shape[3])):
            raise ValueError(f"{x} is not what {self.regions} are cut from")
        return self.regions.type(x.shape[0], x.shape[3])


@dataclass(frozen=True, slots=True)
class FromRegions:
    """x [n, c, rows, columns, lanes] -> [n, h, w, c]."""

    regions: Regions

    def infer(self, types: Sequence[Type]) -> Type:
        (x,) = types
        if x != self.regions.type(*x.shape[:2]):
            raise ValueError(f"{x} does not lie in {self.regions}")
        return Type("float32", (x.shape[0], self.regions.height, self.regions.width, x.shape[1]))


@dataclass(frozen=True, slots=True)
class RegionConv:
    """Conv, in one group, over an image in regions: x, weights [kh, kw, c, outputs], bias [outputs], perhaps a residual like the results."""

    window: Window
    given: Regions
    """x's; as many as of the results."""
    made: Regions
    clamp: Clamp = NO_CLAMP

    @property
    def conv(self) -> Conv:
        return Conv(self.window, 1, self.clamp)

    def infer(self, types: Sequence[Type]) -> Type:
        x, *rest = types
        image = FromRegions(self.given).infer([x])
        residual = [FromRegions(self.made).infer([t]) for t in rest[2:]]
        found = ToRegions(self.made).infer([self.conv.infer([image, *rest[:2], *residual])])
        if not reaches(self.window) or self.given != self.made.scaled(
            self.window.strides[0], self.given.height, self.given.width
        ):
            raise ValueError(f"windows {self.window} reach beyond the borders of {self.given}")
        return found


def reaches(window: Window) -> bool:
    """Whether a border of one place is enough, above and left of a region's first window, and below and right of its last."""
    (stride, other), (top, left, *_) = window.strides, window.pads
    ends = [d * (k - 1) - before for d, k, before in zip(window.dilations, window.kernel, (top, left), strict=True)]
    return stride == other and max(top, left) <= BORDER and max(ends) <= stride - 1 + BORDER
