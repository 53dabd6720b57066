"""Every layer's options, what each costs of a resource and of quality, and the choice of one for each layer that keeps a budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from harness.compression.numerics.allocation import spdy
from harness.compression.numerics.counting import weight_uses
from harness.compression.numerics.layers import weighted_layers
from harness.compression.numerics.surgery import Option, scales, stored_bits
from harness.latency_table import DENSE, LatencyTable
from harness.search import Cost, Policy, Search

if TYPE_CHECKING:
    from collections.abc import Iterator

Resource = Literal["macs", "bops", "bytes", "latency"]
UNITS: Mapping[Resource, str] = {"macs": "MACs", "bops": "bit operations", "bytes": "bytes", "latency": "s"}
FLOAT_BITS = 32


@dataclass(frozen=True)
class Solved:
    """A layer's options, that of least error first, with the weights that each leads to."""

    options: tuple[Option, ...]
    weights: tuple[torch.Tensor, ...]
    errors: tuple[float, ...]
    """Share of the layer's squared outputs that each loses."""

    def only(self, which: Sequence[int]) -> Solved:
        """These, in this order."""
        return Solved(
            tuple(self.options[i] for i in which), tuple(self.weights[i] for i in which), tuple(self.errors[i] for i in which)
        )


Database = Mapping[str, Solved]


def resource_cost(
    resource: Resource, network: nn.Module, example: npt.NDArray[Any], database: Database, table: LatencyTable | None
) -> Cost:
    """What each option takes of a resource; layers that have none, and whatever else takes some, are `fixed`.

    macs: products with a weight that is not zero. bops: these times the bits of the weight and of a float32 activation. bytes: of the weights in
    their smallest format, and the grids. latency: the upper end of what the table says,
    at the density that the weights really have.
    """
    if resource == "latency":
        assert table is not None
        others = math.fsum(table.layer_most_s(name, DENSE, 1.0) for name in table.layers if name not in database)
        parts = [[_most_s(table, name, option, w) for option, w in _pairs(found)] for name, found in database.items()]
        return Cost(resource, UNITS[resource], tuple(map(tuple, parts)), table.most_rest_s + others)
    uses = weight_uses(network, example)

    def taken(name: str, option: Option, weight: torch.Tensor) -> float:
        if resource == "bytes":
            return stored_bits(weight, option) / 8 + 4 * scales(weight, option)
        macs = uses.get(f"{name}.weight", 0) * int(torch.count_nonzero(weight))
        return macs if resource == "macs" else macs * (option.bits or FLOAT_BITS) * FLOAT_BITS

    rest = [(name, layer.weight.detach()) for name, layer in weighted_layers(network).items() if name not in database]
    return Cost(
        resource,
        UNITS[resource],
        tuple(tuple(taken(name, option, w) for option, w in _pairs(found)) for name, found in database.items()),
        math.fsum(taken(name, Option(), weight) for name, weight in rest),
    )


def timed(database: Database, table: LatencyTable) -> tuple[Database, dict[str, list[str]]]:
    """Each layer's options but those that could not be measured when the table was made; these, by layer. The order stays."""
    kept, dropped = {}, {}
    for name, found in database.items():
        untimed = [i for i, (option, w) in enumerate(_pairs(found)) if table.was_left_out(name, *_looked_up(option, w))]
        kept[name] = found.only([i for i in range(len(found.options)) if i not in untimed])
        if untimed:
            dropped[name] = [str(found.options[i]) for i in untimed]
    return kept, dropped


def uniform_policies(database: Database) -> Iterator[Policy]:
    """The same option for all layers; the first, which changes nothing, for those that lack it."""
    for option in dict.fromkeys(option for found in database.values() for option in found.options):
        yield tuple(found.options.index(option) if option in found.options else 0 for found in database.values())


def losses_alone(database: Database, evaluate: Callable[[Policy], float]) -> list[list[float]]:
    """[layer][option] how much less quality the network has when this layer alone takes the option."""
    dense = (0,) * len(database)
    whole = evaluate(dense)
    return [
        [
            0.0 if not option else whole - evaluate((*dense[:layer], option, *dense[layer + 1 :]))
            for option in range(len(found.options))
        ]
        for layer, found in enumerate(database.values())
    ]


def sensitivities(search: Search, rng: np.random.Generator) -> None:
    """SPDY as a searcher: half of the trials for the random beginning, the others for the local search."""
    cost = search.goal.cost
    rounds = max(math.ceil(len(cost.parts) / 10), 1)
    first = max(search.left // 2, 1)
    spdy(
        cost.parts,
        search.goal.limit - cost.fixed,
        lambda policy: -search.try_(policy).quality,
        rng,
        sampled=first,
        resampled=max(search.left - first, 0) // rounds,
    )


def _pairs(found: Solved) -> Sequence[tuple[Option, torch.Tensor]]:
    return list(zip(found.options, found.weights, strict=True))


def _most_s(table: LatencyTable, name: str, option: Option, weight: torch.Tensor) -> float:
    return table.layer_most_s(name, *_looked_up(option, weight))


def _looked_up(option: Option, weight: torch.Tensor) -> tuple[str, float]:
    """Scheme, and the density that the weights really have."""
    return (str(option.regularity), float(torch.count_nonzero(weight)) / weight.numel()) if option.sparsity else (DENSE, 1.0)
