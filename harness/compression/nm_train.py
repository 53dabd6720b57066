"""N:M sparsity trained in: SR-STE (Zhou et al. 2021, arXiv:2102.04010), each N from the one before (Fang et al. 2022, STA, arXiv:2208.06118)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge

from harness.compression import Compressed, Numeric
from harness.compression.numerics.tuning import Tuning
from harness.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from harness.compression.numerics.layers import Layer
    from harness.context import Context
    from harness.data import Data


@dataclass(frozen=True, slots=True, kw_only=True)
class NmTrain(Tuning):
    """Of m neighbouring input channels n stay, at each place of a kernel. Embeddings and normalisations stay dense."""

    numeric: ClassVar[Numeric] = "float32"

    n: Annotated[int, Ge(1)] = 2
    m: Annotated[int, Ge(2)] = 4
    inherit: bool = True
    """Train m-1:m, then m-2:m from it, down to n:m, `fine_tune_epochs` each; False: n:m at once, for as many epochs in all."""
    decay: Annotated[float, Ge(0)] = 2e-4
    """Of the weights that are pruned at the moment."""

    def __post_init__(self) -> None:
        if self.n >= self.m:
            raise UserError(f"n = {self.n} of m = {self.m} leaves nothing out; take a smaller n")

    def compress(self, module: nn.Module, data: Data, context: Context) -> Compressed:
        from harness.compression.numerics.counting import claims
        from harness.compression.numerics.layers import weighted_layers
        from harness.compression.numerics.represented import represented
        from harness.compression.numerics.sr_ste import SparseRefined

        network = copy.deepcopy(module).eval()
        layers = weighted_layers(network)
        left_alone = {name: reason for name, layer in layers.items() if (reason := self._refusal(layer))}
        pruned = layers.keys() - left_alone.keys()
        if not pruned:
            raise UserError(f"nm_train: no layer's input channels are a multiple of m = {self.m}; take a smaller m")
        loss = self.loss(module, context)
        for n, epochs in self._stages():
            with represented(network, {name: SparseRefined(n, self.m, self.decay) for name in sorted(pruned)}):
                context.log("validation", stage=f"{n}:{self.m} pruned", **context.evaluate(network))
                if epochs:
                    context.train(network, self.recipe(context, epochs), loss=loss)
            context.log("validation", stage=f"{n}:{self.m}", **context.evaluate(network))
        counted = claims(network, data.spec.example(), sparse=True)
        return Compressed.single(network, counted, log=tuple(context.events), left_alone=left_alone)

    def _stages(self) -> list[tuple[int, int]]:
        """(n, epochs) in their order."""
        if self.inherit:
            return [(n, self.fine_tune_epochs) for n in range(self.m - 1, self.n - 1, -1)]
        return [(self.n, self.fine_tune_epochs * (self.m - self.n))]

    def _refusal(self, layer: Layer) -> str | None:
        from harness.compression.numerics.regularity import NOfM

        return NOfM(self.n, self.m).applies_to(layer)


METHOD = NmTrain
