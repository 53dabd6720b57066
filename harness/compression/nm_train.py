"""N:M sparsity trained in: SR-STE (Zhou et al. 2021, arXiv:2102.04010), each N from the one before (Fang et al. 2022, STA, arXiv:2208.06118)."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_types import Ge

from harness.compression import Compressed, Numeric
from harness.compression.numerics.tuning import Tuning
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    """Begin at n+1:m, which begins at n+2:m, up to m-1:m, `fine_tune_epochs` each; False: n:m at once, for as many epochs in all."""
    decay: Annotated[float, Ge(0)] = 2e-4
    """Of the weights that are pruned at the moment."""

    def __post_init__(self) -> None:
        if self.n >= self.m:
            raise UserError(f"n = {self.n} of m = {self.m} leaves nothing out; take a smaller n")

    @property
    def begins_at(self) -> Mapping[str, Any] | None:
        return {"n": self.n + 1} if self.inherit and self.n + 1 < self.m else None

    def compress(self, module: nn.Module, data: Data, context: Context) -> Compressed:
        from harness.compression.numerics.counting import claims
        from harness.compression.numerics.layers import weighted_layers
        from harness.compression.numerics.represented import represented
        from harness.compression.numerics.sr_ste import SparseRefined

        network = copy.deepcopy(self._start(module, data, context)).eval()
        layers = weighted_layers(network)
        left_alone = {name: reason for name, layer in layers.items() if (reason := self._refusal(layer))}
        pruned = layers.keys() - left_alone.keys()
        if not pruned:
            raise UserError(f"nm_train: no layer's input channels are a multiple of m = {self.m}; take a smaller m")
        epochs = self.fine_tune_epochs * (1 if self.inherit else self.m - self.n)
        with represented(network, {name: SparseRefined(self.n, self.m, self.decay) for name in sorted(pruned)}):
            context.log("validation", stage=f"{self.n}:{self.m} pruned", **context.evaluate(network))
            if epochs:
                context.train(network, self.recipe(context, epochs), loss=self.loss(module, context))
        context.log("validation", stage=f"{self.n}:{self.m}", **context.evaluate(network))
        counted = claims(network, data.spec.example(), sparse=True)
        return Compressed.single(network, counted, log=tuple(context.events), left_alone=left_alone)

    def _start(self, module: nn.Module, data: Data, context: Context) -> nn.Module:
        """The network that this one begins at, made here where the harness has not made it."""
        if context.start is not None or self.begins_at is None:
            return context.start or module
        return dataclasses.replace(self, **self.begins_at).compress(module, data, context).members[0].module

    def _refusal(self, layer: Layer) -> str | None:
        from harness.compression.numerics.regularity import NOfM

        return NOfM(self.n, self.m).applies_to(layer)


METHOD = NmTrain
