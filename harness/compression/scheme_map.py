"""Scheme mapping: each layer gets its own pruning regularity and strength, by what a latency table says of the device (arXiv:2111.11581).

`assay latency-table` measures the table.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from harness.compression import Compressed, Numeric
from harness.compression.numerics.regularity import parse
from harness.compression.numerics.tuning import Tuning

if TYPE_CHECKING:
    from torch import nn

    from harness.compression.numerics.layers import Layer
    from harness.compression.numerics.mapping import SchemeMap
    from harness.context import Context
    from harness.data import Data
    from harness.latency_table import LatencyTable

Map = Literal["uniform", "rule", "random", "reinforce", "allocation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemeMapping(Tuning):
    """`uniform` prunes every layer by `scheme`, `rule` by what the layer is; the others search, each with as many trials, and begin at the rules' map."""

    numeric: ClassVar[Numeric] = "float32"
    files: ClassVar[tuple[str, ...]] = ("table",)

    sparsity: Annotated[float, Gt(0), Lt(1)]
    """Share of the weights that leave each layer of a uniform map, and of the rules' where no `latency` is asked for."""
    map: Map = "uniform"
    scheme: str = "unstructured"
    """Regularity of a uniform map: `unstructured`, `1x16`, `block-punched 16x1`, `pattern`, `2:4` ..."""
    table: str = ""
    """Latency table of the device, a file; every map but a uniform one needs it."""
    latency: Annotated[float, Gt(0), Le(1)] | None = None
    """Most that the network may take, as a share of what the dense network took when the table was measured; the map is planned with the
    upper end of what the table says. None: a search may take what the rules' map takes."""
    beta: Annotated[float, Ge(0)] = 0.2
    """The rules take the smallest block that is at most so much slower than the largest one."""
    hard: bool = False
    """Of the data: the rules then give 3x3 convolutions patterns rather than punched blocks."""
    trials: Annotated[int, Ge(1)] = 100
    """Maps that a search may evaluate."""
    search_examples: Annotated[int, Ge(1)] = 512
    """Validation examples that a map is evaluated on, and the network after pruning and after fine-tuning."""
    calibration_samples: Annotated[int, Ge(1)] = 512
    """Training examples that batch-norm statistics are estimated on, in the search and last of all."""
    skip: tuple[str, ...] = ()
    """Dotted names of layers to leave dense."""

    def __post_init__(self) -> None:
        if self.map == "uniform":
            parse(self.scheme).check_sparsity(self.sparsity)
            if self.latency is not None:
                raise ValueError(
                    "`latency` limits what the rules or a search may take; a uniform map takes what its `sparsity` leaves"
                )
        elif not self.table:
            raise ValueError(
                f"`map: {self.map}` needs a latency table: name its file in `table`, `assay latency-table` makes one"
            )

    def compress(self, module: nn.Module, data: Data, context: Context) -> Compressed:
        from harness.compression.numerics.counting import claims
        from harness.compression.numerics.layers import weighted_layers, without
        from harness.compression.numerics.retrain import prune_and_retrain
        from harness.compression.numerics.scheme import scheme_masks

        network = copy.deepcopy(module).eval()
        layers = without(weighted_layers(network), self.skip)
        chosen, left_alone = self._chosen(network, layers, data, context)
        masks = scheme_masks(network, chosen)
        prune_and_retrain(network, masks, module, data, context, self, self.calibration_samples, self.search_examples)
        left_alone |= dict.fromkeys(self.skip, "named in `skip`")
        counted = claims(network, data.spec.example(), sparse=True)
        return Compressed.single(network, counted, log=tuple(context.events), left_alone=left_alone)

    def _chosen(
        self, network: nn.Module, layers: dict[str, Layer], data: Data, context: Context
    ) -> tuple[SchemeMap, dict[str, str]]:
        """What each layer gets, and which get nothing and why; logged with what the table predicts."""
        from harness.compression.numerics.layers import shapes
        from harness.compression.numerics.mapping import at_densities, rule_map, rule_within, uniform_map
        from harness.latency_table import load_table

        if self.map == "uniform" and not self.table:
            return uniform_map(layers, self.scheme, self.sparsity)
        table = load_table(self.table)
        table.check_fits(shapes(network))
        limit_s = None if self.latency is None else self.latency * table.dense_s
        if self.map == "uniform":
            chosen, left_alone = uniform_map(layers, self.scheme, self.sparsity)
        elif limit_s is None:
            chosen, left_alone = rule_map(layers, table, self.sparsity, beta=self.beta, is_hard=self.hard)
        else:
            chosen, left_alone = rule_within(layers, table, limit_s, beta=self.beta, is_hard=self.hard)
        if self.map not in ("uniform", "rule"):
            limit_s = table.most_s(at_densities(layers, chosen)) if limit_s is None else limit_s
            chosen = self._searched(network, layers, table, limit_s, chosen, data, context)
            left_alone = dict.fromkeys((name for name in layers if name not in chosen), "the search keeps it dense")
        context.log(
            "map",
            table=table.facts(),
            layers={name: str(scheme) for name, scheme in chosen.items()},
            predicted_s=table.latency_s(at_densities(layers, chosen)),
            most_s=table.most_s(at_densities(layers, chosen)),
            dense_s=table.dense_s,
            limit_s=limit_s,
            gap=table.gap._asdict(),
        )
        return chosen, left_alone

    def _searched(
        self,
        network: nn.Module,
        layers: dict[str, Layer],
        table: LatencyTable,
        limit_s: float,
        start: SchemeMap,
        data: Data,
        context: Context,
    ) -> SchemeMap:
        import torch

        from harness.compression.numerics.calibration import calibration_inputs
        from harness.compression.numerics.mapping import Allocation, Space, one_shot
        from harness.search import Goal, Reinforce, Searcher, random_search, searched

        space = Space(layers, table)
        searchers: dict[str, Searcher] = {
            "random": random_search,
            "reinforce": Reinforce(),
            "allocation": Allocation(space.losses()),
        }
        inputs = torch.tensor(calibration_inputs(data, self.calibration_samples, context.rng("calibration")))
        metric = context.criterion.metrics[0]
        evaluate = one_shot(network, space, inputs, lambda pruned: context.evaluate(pruned, self.search_examples)[metric])
        goal = Goal(space.cost, limit_s, self.trials, space.policy(start))
        search = searched(searchers[self.map], goal, evaluate, context.rng(f"search {self.map}"), context.journal)
        for trial in search.trials:
            context.log("trial", number=trial.number, policy=trial.policy, most_s=trial.cost, **{metric: trial.quality})
        context.log("search", by=self.map, best=search.best.number, **{metric: search.best.quality})
        return space.chosen(search.best.policy)


METHOD = SchemeMapping
