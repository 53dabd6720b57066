"""Optimal brain surgery on the layers of a network: what can be done to a layer, and its weight after that.

Layers are independent of each other: each is solved for the outputs that the dense network gives on calibration inputs.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from harness.compiler.smallest import smallest
from harness.compression.numerics import obq, obs
from harness.compression.numerics.journal import once
from harness.compression.numerics.layers import Layer
from harness.compression.numerics.refit import can_refit, second_moments
from harness.compression.numerics.regularity import NOfM, Regularity, Unstructured
from harness.errors import BuildError

if TYPE_CHECKING:
    from harness.compression.numerics.post_training import Solver

MOMENTS_BYTES = 2**30
"""Of second moments that are held at once; a network with more is run through again for the next layers."""


@dataclass(frozen=True, slots=True)
class Option:
    """What is done to a layer: pruned, then put on a grid of its own for each filter. It prints as a short label."""

    sparsity: float = 0.0
    regularity: Regularity = Unstructured()  # noqa: RUF009 - frozen
    bits: int | None = None
    """Of each weight; None: float32."""
    symmetric: bool = True

    def __str__(self) -> str:
        pruned = f"{self.regularity} {self.sparsity:.4g}" if self.sparsity else "dense"
        return pruned if self.bits is None else f"{pruned}, {self.bits} bit{'' if self.symmetric else ' asymmetric'}"


@dataclass(frozen=True, eq=False)
class Operation:
    """A layer to operate on."""

    name: str
    weight: torch.Tensor
    """[out, in/groups, *kernel] float32, dense."""
    moments: torch.Tensor
    """[groups, d, d] sum of x x^T of the layer's inputs, float64."""
    damping: float
    """Share of the mean of each diagonal that is added to it."""

    @functools.cached_property
    def hessians(self) -> tuple[obs.Hessian, ...]:
        try:
            return tuple(obs.hessian(moment, self.damping) for moment in self.moments)
        except BuildError as error:
            raise BuildError(f"layer `{self.name}`: {error}") from error

    @functools.cached_property
    def rows(self) -> tuple[torch.Tensor, ...]:
        """[out/groups, d] float64 of each group."""
        return self.weight.double().flatten(1).chunk(len(self.moments))

    def error(self, weight: torch.Tensor) -> float:
        """Squared error of the layer's outputs with this weight, as a share of the outputs' own squares; 0 for outputs that are all 0."""
        pairs = list(zip(self.rows, weight.double().flatten(1).chunk(len(self.moments)), self.moments, strict=True))
        lost = sum(float(((rows - now) @ moment * (rows - now)).sum()) for rows, now, moment in pairs)
        whole = sum(float((rows @ moment * rows).sum()) for rows, _, moment in pairs)
        return lost / whole if whole > 0 else 0.0

    def solutions(self, options: Iterable[Option], solver: Solver) -> Iterator[torch.Tensor]:
        """[as weight] for each option; those of one regularity share one trace."""
        traces: dict[Regularity, tuple[obs.Units, obs.Trace]] = {}
        with one_thread():
            for option in options:
                kept = None
                if option.sparsity and solver == "obs":
                    if option.regularity not in traces:
                        traces[option.regularity] = self._traced(option.regularity)
                    kept = self._chosen(option, *traces[option.regularity])
                elif option.sparsity:
                    kept = option.regularity.mask(self.weight, option.sparsity).flatten(1)
                yield self._solved(option, None if kept is None else kept.chunk(len(self.moments)), solver)

    def _solved(self, option: Option, kept: tuple[torch.Tensor, ...] | None, solver: Solver) -> torch.Tensor:
        """`kept`: bool [out/groups, d] for each group."""
        solved = self.rows
        if kept is not None and solver == "plain":
            solved = tuple(rows * keep for rows, keep in zip(solved, kept, strict=True))
        elif kept is not None:
            given = zip(solved, kept, self.hessians, strict=True)
            solved = tuple(obs.compensated(rows, keep, h) for rows, keep, h in given)
        if option.bits is not None:
            grids = [obq.grid(rows, option.bits, symmetric=option.symmetric) for rows in solved]
            if solver == "obs":
                solved = tuple(obq.quantized(rows, h, on) for rows, h, on in zip(solved, self.hessians, grids, strict=True))
            else:
                solved = tuple(on.nearest(rows) for rows, on in zip(solved, grids, strict=True))
        return torch.cat(solved).to(self.weight.dtype).view_as(self.weight)

    def _traced(self, regularity: Regularity) -> tuple[obs.Units, obs.Trace]:
        """Of all rows of all groups, until nothing is left that may go."""
        of = obs.units(regularity, self.weight.shape)
        found = [obs.traces(rows, h, of, int(of.limit.sum())) for rows, h in zip(self.rows, self.hessians, strict=True)]
        return of, obs.Trace(*(torch.cat(parts) for parts in zip(*found, strict=True)))

    def _chosen(self, option: Option, of: obs.Units, found: obs.Trace) -> torch.Tensor:
        """bool [out, d]: exactly round(sparsity * units) go, wherever in the layer they cost the least; of n:m, what each row's trace says."""
        option.regularity.check_sparsity(option.sparsity)
        units = len(found.order) * len(of.group)
        removed = found.order.numel() if isinstance(option.regularity, NOfM) else round(option.sparsity * units)
        return obs.kept_weights(obs.kept_units(found, len(of.group), removed), of, len(self.weight))


UNREACHED = "the network never calls it: its weight is used elsewhere"


def unfit(layer: Layer) -> str | None:
    """Why a layer cannot be operated on, or None."""
    return (
        None
        if can_refit(layer)
        else "its inputs cannot be laid out as columns: Conv2d (zero padding in numbers) and Linear are known"
    )


def stored_bits(weight: torch.Tensor, option: Option) -> int:
    """Of the layer's weight: dense, or in the smallest format for its zeros, indices counted."""
    bits = 32 if option.bits is None else option.bits
    return math.ceil(smallest(weight.detach().numpy(), bits).bits) if option.sparsity else bits * weight.numel()


def scales(weight: torch.Tensor, option: Option) -> int:
    """Numbers that the layer's grids need: a scale a filter, and a zero point where they are not symmetric."""
    return 0 if option.bits is None else len(weight) * (1 if option.symmetric else 2)


def operations(network: nn.Module, names: Sequence[str], inputs: torch.Tensor, damping: float) -> Iterator[Operation]:
    """The named layers that `inputs` [n, ...] reach, with the second moments these give them; the network stays as it is until all have been made."""
    layers = {name: network.get_submodule(name) for name in names}
    sizes = {name: _moment_bytes(layer) for name, layer in layers.items()}
    for part in _in_parts(sizes):
        moments = second_moments(network, part, inputs)
        for name in (name for name in part if name in moments):
            weight = layers[name].weight
            assert isinstance(weight, torch.Tensor)
            yield Operation(name, weight.detach().clone(), moments.pop(name), damping)


def remembered(operation: Operation, options: Sequence[Option], solver: Solver, journal: Path) -> list[torch.Tensor]:
    """`solutions`, kept in a journal folder: after a kill what was solved is there, and a large network's fit into memory."""
    facts = f"surgery {operation.name} {solver} {operation.damping} {[str(option) for option in options]}"
    return once(journal, facts, lambda: operation.solutions(options, solver))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes with one thread for a while: many small systems are solved faster so, and the C loops take all CPUs by themselves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _moment_bytes(layer: nn.Module) -> int:
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    groups = getattr(layer, "groups", 1)
    assert isinstance(groups, int)
    return 8 * groups * weight[0].numel() ** 2


def _in_parts(sizes: dict[str, int]) -> Iterator[list[str]]:
    """Names, in their order, as many at a time as have room; at least one."""
    part: list[str] = []
    for name, size in sizes.items():
        if part and sum(sizes[other] for other in part) + size > MOMENTS_BYTES:
            yield part
            part = []
        part.append(name)
    if part:
        yield part
