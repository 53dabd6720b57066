"""Optimal brain compression for a budget: each layer gets the regularity, the sparsity and the bits that cost the network least (arXiv:2208.11580, sec. 6).

A database holds every layer under every option; dynamic programming chooses (SPDY, Frantar and Alistarh 2022, arXiv:2201.13096).
"""

from __future__ import annotations

import copy
import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from harness.compression import Compressed, Numeric
from harness.compression.numerics.post_training import Surgery, made, put
from harness.compression.numerics.removable import parse_removable
from harness.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from harness.compression.numerics.budget import Database
    from harness.compression.numerics.layers import Layer
    from harness.compression.numerics.surgery import Option
    from harness.context import Context
    from harness.data import Data
    from harness.latency_table import LatencyTable
    from harness.search import Cost, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class ObcMixed(Surgery):
    """Every layer may also stay as it is; one that no regularity fits may at least take fewer bits."""

    numeric: ClassVar[Numeric] = "float32"
    files: ClassVar[tuple[str, ...]] = ("table",)

    budget: Annotated[float, Gt(0), Lt(1)]
    """Most that the network may take of the resource, as a share of what the dense network takes."""
    resource: Literal["macs", "bops", "bytes", "latency"] = "macs"
    """macs: with weights that are not zero; bops: times the bits of weight and activation; bytes: of the weights; latency: by `table`, the upper end
    of what it says."""
    choose: Literal["error", "loss", "spdy", "random", "uniform"] = "error"
    """By what a layer's option is judged: its output error; the network's loss when it alone is changed; sensitivities that are searched. `random`
    searches as long as spdy does, from the cheapest options on; `uniform` is the gentlest option that all layers can take alike."""
    sparsities: tuple[Annotated[float, Gt(0), Lt(1)], ...] = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
    regularities: tuple[str, ...] = ("unstructured",)
    """What may leave together, as `obs_prune` has it: each layer gets one. n:m has the one sparsity that is its own."""
    bits: tuple[Annotated[int, Ge(2), Le(8)], ...] = ()
    """Widths that a layer's weights may take, pruned or not, beside float32."""
    symmetric: bool = True
    """Of the grids that `bits` gives each filter."""
    table: str = ""
    """Latency table of the device, a file: `assay latency-table` makes one."""
    trials: Annotated[int, Ge(1)] = 100
    """Networks that `spdy` and `random` may evaluate."""
    search_examples: Annotated[int, Ge(1)] = 512
    """Validation examples that a network is evaluated on while it is searched."""

    def __post_init__(self) -> None:
        for label in self.regularities:
            regularity = parse_removable(label)
            for sparsity in regularity.strengths(self.sparsities):
                regularity.check_sparsity(sparsity)
        self.check_trainable(self.bits)
        if (self.resource == "latency") != bool(self.table):
            raise ValueError("`resource: latency` and a latency table in `table` go together; `assay latency-table` makes one")
        if self.resource == "latency" and self.bits:
            raise ValueError("`bits` change no latency of float32 arithmetic: leave them out, or choose another resource")
        if not ((self.sparsities and self.regularities) or self.bits):
            raise ValueError("neither `sparsities` nor `bits`: there is nothing to choose from")

    def compress(self, module: nn.Module, data: Data, context: Context) -> Compressed:
        from harness.compression.numerics.budget import resource_cost, timed

        dense = copy.deepcopy(module).eval()
        network = copy.deepcopy(dense)
        table = self._table(dense)
        inputs = self.calibration(data, context)
        database, left_alone = self._database(dense, inputs, context)
        if table is not None:
            database, untimed = timed(database, table)
            if untimed:
                context.log("untimed", options=untimed, reasons=[dataclasses.asdict(left) for left in table.left_out])
        errors = {name: dict(zip(map(str, found.options), found.errors, strict=True)) for name, found in database.items()}
        context.log("database", errors=errors)
        cost = resource_cost(self.resource, dense, data.spec.example(), database, table)
        dense_takes = cost((0,) * len(database)) if table is None else table.dense_s
        limit = self.budget * dense_takes
        policy = self._policy(network, database, cost, limit, context)
        chosen = {name: found.options[option] for (name, found), option in zip(database.items(), policy, strict=True)}
        _stitch(network, database, policy)
        options = {name: str(option) for name, option in chosen.items()}
        reached = {"limit": limit, "reached": cost(policy), "dense": dense_takes}
        by = {} if table is None else {"table": table.facts(), "gap": table.gap._asdict()}
        context.log("budget", resource=self.resource, unit=cost.unit, options=options, **reached, **by)
        self.finish(network, dense, inputs, context)
        self.fine_tune(network, dense, chosen, context)
        return made(network, chosen, left_alone, data, context)

    def _table(self, dense: nn.Module) -> LatencyTable | None:
        """Read before anything is solved, which takes minutes."""
        from harness.compression.numerics.layers import shapes
        from harness.latency_table import load_table

        if not self.table:
            return None
        table = load_table(self.table)
        table.check_fits(shapes(dense))
        return table

    def _database(self, dense: nn.Module, inputs: torch.Tensor, context: Context) -> tuple[Database, dict[str, str]]:
        from harness.compression.numerics.budget import Solved
        from harness.compression.numerics.surgery import UNREACHED, operations, remembered

        plan, left_alone = self.layers(dense, self._options)
        database = {}
        for number, operation in enumerate(operations(dense, list(plan), inputs, self.damping)):
            context.on_progress("database", number / len(plan))
            options = tuple(plan[operation.name])
            weights = (operation.weight, *remembered(operation, options[1:], self.solver, context.journal))
            errors = [operation.error(weight) for weight in weights]
            order = sorted(range(len(options)), key=errors.__getitem__)
            database[operation.name] = Solved(options, weights, tuple(errors)).only(order)
        return database, left_alone | {name: UNREACHED for name in plan if name not in database}

    def _options(self, layer: Layer) -> tuple[Option, ...] | str:
        """The first is the layer as it is."""
        from harness.compression.numerics.removable import unremovable
        from harness.compression.numerics.surgery import Option

        regularities = [parse_removable(label) for label in self.regularities]
        reasons = [unremovable(regularity, layer) for regularity in regularities]
        if all(reasons) and not self.bits:
            return "; ".join(reason for reason in reasons if reason)
        fitting = [regularity for regularity, reason in zip(regularities, reasons, strict=True) if reason is None]
        pruned = [Option(sparsity, regularity) for regularity in fitting for sparsity in regularity.strengths(self.sparsities)]
        widths = (None, *sorted(self.bits, reverse=True))
        return tuple(
            dataclasses.replace(option, bits=width, symmetric=self.symmetric)
            for option in (Option(), *pruned)
            for width in widths
        )

    def _policy(self, network: nn.Module, database: Database, cost: Cost, limit: float, context: Context) -> Policy:
        """`network` is stitched anew for each policy that is evaluated."""
        from harness.compression.numerics.allocation import allocate
        from harness.compression.numerics.budget import losses_alone, sensitivities, uniform_policies
        from harness.search import Goal, random_search, searched

        def quality(policy: Policy) -> float:
            _stitch(network, database, policy)
            return -context.evaluate(network, self.search_examples)["loss"]

        errors = [list(found.errors) for found in database.values()]
        best = allocate(errors, cost.parts, limit - cost.fixed)
        if self.choose == "error":
            return best
        if self.choose == "loss":
            return allocate(losses_alone(database, quality), cost.parts, limit - cost.fixed)
        if self.choose == "uniform":
            within = [policy for policy in uniform_policies(database) if cost(policy) <= limit]
            if not within:
                raise UserError(
                    f"no option that all layers take alike keeps the budget of {limit:g} {cost.unit}: give stronger `sparsities` or fewer `bits`"
                )
            return min(within, key=lambda policy: math.fsum(e[o] for e, o in zip(errors, policy, strict=True)))
        by, start = (sensitivities, best) if self.choose == "spdy" else (random_search, cost.cheapest)
        search = searched(by, Goal(cost, limit, self.trials, start), quality, context.rng("search"), context.journal)
        context.log("search", by=self.choose, trials=[[trial.cost, trial.quality] for trial in search.trials])
        return search.best.policy


def _stitch(network: nn.Module, database: Database, policy: Policy) -> None:
    for (name, found), option in zip(database.items(), policy, strict=True):
        put(network, name, found.weights[option])


METHOD = ObcMixed
