"""Regularities: which weights of a layer are kept or dropped together. Each prints as a short label and is read from it.

Weights are [out, in/groups, *kernel]. A unit's score is per weight, so that units of different sizes (a short block at the end, a layer
with a smaller kernel) compare. Free of torch at the top: a suite's labels are checked before anything is computed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.compression.numerics.tiles import Tile, as_matrix, as_weight, three
from harness.errors import UserError, nearest

if TYPE_CHECKING:
    import torch

    from harness.compression.numerics.layers import Layer

ONE = Tile(1, 1, 1)


@dataclass(frozen=True, slots=True)
class Regularity:
    """Units are the tiles of the weight, unless a regularity says otherwise."""

    has_tiles: ClassVar[bool] = True
    """Whether units are tiles, which may be ranked together with those of other layers."""

    @property
    def tile(self) -> Tile:
        return ONE

    def scores(self, weight: torch.Tensor) -> torch.Tensor:
        """One a unit, float64, any shape: mean |w|."""
        return self.tile.means(weight.detach().double().abs())

    def spread(self, units: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        """As large as the weight: for each weight what `units` (as `scores` gives them) says of its unit."""
        return self.tile.spread(units, shape)

    def mask(self, weight: torch.Tensor, sparsity: float) -> torch.Tensor:
        """bool [as weight], True where it stays; exactly round(sparsity * units) go, of equal ones the first."""
        from harness.compression.numerics.masks import keep_largest

        self.check_sparsity(sparsity)
        kept = keep_largest({"": self.scores(weight)}, sparsity, "local")[""]
        return self.spread(kept, weight.shape)

    def energy(self, weight: torch.Tensor) -> torch.Tensor:
        """[as weight] for each weight the sum of squares of its unit, ||W_g||^2: what a group lasso weighs it by."""
        return self.tile.spread(self.tile.sums(weight.detach().double().square()), weight.shape)

    def applies_to(self, layer: Layer) -> str | None:
        """Why a layer cannot be pruned so, or None."""
        (outputs, inputs), tile = layer.weight.shape[:2], self.tile
        if getattr(layer, "groups", 1) > 1 and tile != ONE:
            return f"`{self}`: the filters of a convolution of {layer.groups} groups share no input channels"
        if outputs < (tile.outputs or 1) or inputs < (tile.inputs or 1):
            return f"`{self}`: {outputs} filters of {inputs} input channels do not fill a block"
        return None

    def check_sparsity(self, sparsity: float) -> None:
        """UserError unless this share of the weights can be removed."""

    def strengths(self, sparsities: Iterable[float], /) -> tuple[float, ...]:
        """The shares that may be asked for, of those given; 2:4 and the like have one of their own."""
        return tuple(sorted(sparsities))


@dataclass(frozen=True, slots=True)
class Unstructured(Regularity):
    """Each weight alone."""

    def __str__(self) -> str:
        return "unstructured"


@dataclass(frozen=True, slots=True)
class OneByN(Regularity):
    """The kernels of N neighbouring filters at one input channel (Lin et al. 2022, arXiv:2105.14713)."""

    n: int

    def __str__(self) -> str:
        return f"1x{self.n}"

    @property
    def tile(self) -> Tile:
        return Tile(self.n, 1, None)


@dataclass(frozen=True, slots=True)
class BlockPunched(Regularity):
    """One place of all kernels of a block of filters x channels (arXiv:2111.11581)."""

    filters: int
    channels: int

    def __str__(self) -> str:
        return f"block-punched {self.filters}x{self.channels}"

    @property
    def tile(self) -> Tile:
        return Tile(self.filters, self.channels, 1)

    def scores(self, weight: torch.Tensor) -> torch.Tensor:
        """The L2 norm over the block's filters, summed over its channels; both as means."""
        norms = Tile(self.filters, 1, 1).means(weight.detach().double().square()).sqrt()
        return Tile(1, self.channels, 1).means(norms)


@dataclass(frozen=True, slots=True)
class Filter(Regularity):
    """Whole filters, left in place as zeros; `channel_prune` takes them out."""

    def __str__(self) -> str:
        return "filter"

    @property
    def tile(self) -> Tile:
        return Tile(1, None, None)


@dataclass(frozen=True, slots=True)
class Block(Regularity):
    """Rows and columns inside each tile of the matrix [out, (place, in)]: for linear layers and 1x1 convolutions (arXiv:2111.11581).

    A weight stays while its row and its column do. A 1x1 tile is unstructured pruning, a tile of the whole matrix prunes filters and columns.
    """

    has_tiles: ClassVar[bool] = False

    rows: int
    columns: int

    def __str__(self) -> str:
        return f"block {self.rows}x{self.columns}"

    @property
    def parts(self) -> tuple[Tile, Tile]:
        """A row and a column of a tile."""
        return Tile(1, self.columns, 1), Tile(self.rows, 1, 1)

    def scores(self, weight: torch.Tensor) -> torch.Tensor:
        """Root mean square of the tiles' rows, then of the tiles' columns, in one vector."""
        import torch

        squares = as_matrix(weight.detach().double().square())
        return torch.cat([part.means(squares).flatten() for part in self.parts]).sqrt()

    def spread(self, units: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        """Where a row and a column meet, the smaller: False if either is."""
        import torch

        matrix = torch.Size((shape[0], shape.numel() // shape[0]))
        grids = [part.sizes(matrix).shape for part in self.parts]
        rows, columns = (
            part.spread(found.view(grid), matrix)
            for part, grid, found in zip(self.parts, grids, torch.split(units, [grid.numel() for grid in grids]), strict=True)
        )
        return as_weight(torch.minimum(rows, columns), shape)

    def mask(self, weight: torch.Tensor, sparsity: float) -> torch.Tensor:
        """Units go from the smallest on, while no more than round(sparsity * weights) weights leave: rows and columns overlap."""
        import torch

        order = torch.argsort(self.scores(weight), stable=True)

        def without(count: int) -> torch.Tensor:
            kept = torch.ones(len(order), dtype=torch.bool)
            kept[order[:count]] = False
            return self.spread(kept, weight.shape)

        fits, too_many = 0, len(order) + 1
        while too_many - fits > 1:
            middle = (fits + too_many) // 2
            if int((~without(middle)).sum()) <= round(sparsity * weight.numel()):
                fits = middle
            else:
                too_many = middle
        return without(fits)

    def energy(self, weight: torch.Tensor) -> torch.Tensor:
        """The smaller of its row's and its column's, which is the first to go."""
        import torch

        squares = as_matrix(weight.detach().double().square())
        return self.spread(torch.cat([part.sums(squares).flatten() for part in self.parts]), weight.shape)

    def applies_to(self, layer: Layer) -> str | None:
        outputs, inputs = len(layer.weight), layer.weight[0].numel()
        if outputs < self.rows or inputs < self.columns:
            return f"`{self}`: the matrix is {outputs}x{inputs}, smaller than a tile"
        if getattr(layer, "groups", 1) > 1:
            return f"`{self}`: a convolution of {layer.groups} groups is no one matrix"
        return None


@dataclass(frozen=True, slots=True)
class Pattern(Regularity):
    """Each 3x3 kernel keeps `keep` places by one of a few patterns, the centre among them, or leaves whole (Niu et al. 2020, PatDNN).

    A unit is one pattern in one kernel. The patterns of a layer are those that most of its kernels would choose.
    """

    has_tiles: ClassVar[bool] = False

    keep: int = 4
    library: int = 8
    """Patterns a layer has at most."""

    def __str__(self) -> str:
        return "pattern" if self.keep == 4 else f"pattern {self.keep}:9"

    @property
    def tile(self) -> Tile:
        """What leaves whole."""
        return Tile(1, 1, None)

    def candidates(self) -> torch.Tensor:
        """float64 [patterns, 9], 1 where a place is kept: every choice of `keep` places with the centre."""
        import torch

        chosen = [(4, *others) for others in itertools.combinations((0, 1, 2, 3, 5, 6, 7, 8), self.keep - 1)]
        return torch.zeros(len(chosen), 9, dtype=torch.float64).scatter_(1, torch.tensor(chosen), 1.0)

    def scores(self, weight: torch.Tensor) -> torch.Tensor:
        """[out, in, patterns] mean square of what each pattern keeps of each kernel."""
        return weight.detach().double().square().flatten(2) @ self.candidates().T / self.keep

    def spread(self, units: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        """Of `units` bool [out, in, patterns], at most one pattern a kernel."""
        return (units.double() @ self.candidates()).bool().view(shape)

    def mask(self, weight: torch.Tensor, sparsity: float) -> torch.Tensor:
        """Exactly round(share * kernels) leave so that `sparsity` of the weights do; each that stays has the library's best pattern for it."""
        import torch
        from torch.nn import functional

        from harness.compression.numerics.masks import keep_largest

        self.check_sparsity(sparsity)
        scores = self.scores(weight)
        wanted = torch.bincount(scores.argmax(-1).flatten(), minlength=scores.shape[-1])
        scores[..., torch.argsort(wanted, descending=True, stable=True)[self.library :]] = -1.0
        best, pattern = scores.max(-1)
        stays = keep_largest({"": best}, max(0.0, 1 - (1 - sparsity) * 9 / self.keep), "local")[""]
        return self.spread(functional.one_hot(pattern, scores.shape[-1]).bool() & stays[..., None], weight.shape)

    def applies_to(self, layer: Layer) -> str | None:
        if tuple(layer.weight.shape[2:]) != (3, 3):
            return f"`{self}`: only for 3x3 kernels"
        return Regularity.applies_to(self, layer)

    def check_sparsity(self, sparsity: float) -> None:
        least = 1 - self.keep / 9
        if sparsity < least - 1e-9:
            raise UserError(f"`{self}` alone removes {least:.4g} of the weights: ask for that or more, not {sparsity:g}")


@dataclass(frozen=True, slots=True)
class NOfM(Regularity):
    """The n largest of m neighbouring input channels at each place of the kernel. Units are weights."""

    has_tiles: ClassVar[bool] = False

    n: int
    m: int

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"

    def mask(self, weight: torch.Tensor, sparsity: float) -> torch.Tensor:
        """Exactly n of each m stay, of equal ones the last."""
        import torch

        self.check_sparsity(sparsity)
        outputs, inputs, places = three(weight.shape)
        groups = weight.detach().abs().reshape(outputs, inputs // self.m, self.m, places)
        removed = torch.argsort(groups, dim=2, stable=True)[:, :, : self.m - self.n]
        return torch.ones_like(groups, dtype=torch.bool).scatter_(2, removed, False).view(weight.shape)

    def applies_to(self, layer: Layer) -> str | None:
        inputs = layer.weight.shape[1]
        return f"`{self}`: {inputs} input channels are no multiple of {self.m}" if inputs % self.m else None

    def strengths(self, _: Iterable[float], /) -> tuple[float, ...]:
        return (1 - self.n / self.m,)

    def check_sparsity(self, sparsity: float) -> None:
        if abs(sparsity - (1 - self.n / self.m)) > 1e-9:
            raise UserError(f"`{self}` removes {1 - self.n / self.m:.4g} of the weights, not {sparsity:g}")


FORMS: dict[str, type[Regularity]] = {
    r"unstructured": Unstructured,
    r"1x([1-9]\d*)": OneByN,
    r"block-punched ([1-9]\d*)x([1-9]\d*)": BlockPunched,
    r"block ([1-9]\d*)x([1-9]\d*)": Block,
    r"pattern(?: ([1-8]):9)?": Pattern,
    r"([1-9]\d*):([1-9]\d*)": NOfM,
    r"filter": Filter,
}
EXAMPLES = ("unstructured", "1x16", "block-punched 8x4", "block 4x4", "pattern", "pattern 5:9", "2:4", "filter")


def parse(label: str) -> Regularity:
    """What prints as the label; UserError if nothing does."""
    for expression, kind in FORMS.items():
        if found := re.fullmatch(expression, label.strip()):
            numbers = [int(text) for text in found.groups() if text]
            if kind is NOfM and numbers[0] >= numbers[1]:
                raise UserError(f"regularity `{label}` leaves nothing out; take a smaller n of n:m")
            return kind(*numbers)
    raise UserError(f"unknown regularity `{label}`.{nearest(label, EXAMPLES) or ' Like these: ' + ', '.join(EXAMPLES)}")
