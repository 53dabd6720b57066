"""Fine-grained structured pruning, a scheme a layer: blocks, punched blocks, patterns, filters or single weights (arXiv:2111.11581).

What leaves is decided at once by the size of the weights, or after a training that pushes whole units towards zero: a reweighted group
lasso, or ADMM.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Lt

from harness.compression import Compressed, Numeric
from harness.compression.numerics.tuning import Tuning
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from harness.compression.numerics.scheme import Scheme
    from harness.context import Context
    from harness.data import Data


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemePrune(Tuning):
    """Stem and classifier are pruned only if `layers` names them."""

    numeric: ClassVar[Numeric] = "float32"

    sparsity: Annotated[float, Gt(0), Lt(1)]
    """Share of the units removed, of all layers that `layers` does not name."""
    scheme: str = "block-punched 8x4"
    """How: `unstructured`, `1x16`, `block-punched 8x4`, `block 16x4`, `pattern`, `pattern 5:9`, `2:4`, `filter`; `dense` prunes none."""
    layers: tuple[str, ...] = ()
    """Layers with a scheme of their own: `layer1.0.conv1: 1x16@0.5`, `layer1.0.conv2: dense`."""
    scope: Literal["local", "global"] = "local"
    """`local`: every layer loses the same share; `global`: the smallest units of all layers together leave."""
    training: Literal["none", "reweighted", "admm"] = "none"
    """What comes before pruning: `reweighted`: a group lasso that is weighed anew each round; `admm`: drawn to the nearest pruned weights."""
    rounds: Annotated[int, Ge(1)] = 4
    round_epochs: Annotated[int, Ge(1)] = 1
    """Epochs of a round, of as many examples as those of fine-tuning."""
    strength: Annotated[float, Gt(0)] = 1e-4
    """Of the penalty: lambda of `reweighted`; the first rho of `admm`, ten times as much each round."""
    bn_reset: bool = False
    """Estimate batch-norm statistics again on calibration inputs, last of all."""
    calibration_samples: Annotated[int, Ge(1)] = 512
    """Training examples for `bn_reset`."""

    def __post_init__(self) -> None:
        named, uniform = self._schemes()
        if self.training != "none" and uniform is None and not any(named.values()):
            raise UserError(f"`training: {self.training}` has nothing to push: every layer is dense by its scheme")
        if self.scope == "global" and (named or uniform is None or not uniform.regularity.has_tiles):
            raise UserError(
                "`scope: global` ranks units of one kind: it goes with a scheme of blocks, filters or single weights for all"
            )

    def compress(self, module: nn.Module, data: Data, context: Context) -> Compressed:
        from harness.compression.numerics.counting import claims
        from harness.compression.numerics.retrain import prune_and_retrain
        from harness.compression.numerics.scheme import assign, scheme_masks

        network = copy.deepcopy(module).eval()
        named, uniform = self._schemes()
        schemes, left_alone = assign(network, data.spec, uniform, named)
        if not schemes and (uniform or any(named.values())):
            raise UserError(
                f"scheme_prune: no layer can be pruned: {'; '.join(f'{name}: {why}' for name, why in left_alone.items())}"
            )
        self._regularize(network, schemes, context)
        masks = scheme_masks(network, schemes, self.scope)
        samples = self.calibration_samples if self.bn_reset else 0
        prune_and_retrain(network, masks, module, data, context, self, samples)
        counted = claims(network, data.spec.example(), sparse=True)
        return Compressed.single(network, counted, log=tuple(context.events), left_alone=left_alone)

    def _schemes(self) -> tuple[Mapping[str, Scheme | None], Scheme | None]:
        """Of the layers that are named, and of the others."""
        from harness.compression.numerics.scheme import parse_map, parse_scheme
        from harness.latency_table import DENSE

        return parse_map(self.layers), parse_scheme(DENSE if self.scheme == DENSE else f"{self.scheme}@{self.sparsity!r}")

    def _regularize(self, network: nn.Module, schemes: Mapping[str, Scheme], context: Context) -> None:
        """Train in place with a penalty, so that there are units that are small."""
        from harness.compression.numerics.penalty import Admm, reweighted

        recipe = self.recipe(context, self.round_epochs)
        if self.training == "reweighted":
            for _ in range(self.rounds):
                context.train(network, recipe, loss=reweighted(network, schemes, self.strength))
        elif self.training == "admm":
            admm = Admm(network, schemes, self.strength)
            for number in range(self.rounds):
                context.train(network, recipe, loss=admm.loss())
                context.log("admm", round=number + 1, distance=admm.update(network))


METHOD = SchemePrune
