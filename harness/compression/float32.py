"""The network as it was trained, in float32: the baseline that every other method is compared with."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.compression import Compressed, Numeric

if TYPE_CHECKING:
    from torch import nn

    from harness.context import Context
    from harness.data import Data


@dataclass(frozen=True, slots=True)
class Float32:
    numeric: ClassVar[Numeric] = "float32"

    def compress(self, module: nn.Module, data: Data, context: Context) -> Compressed:
        from harness.compression.numerics.counting import claims

        network = copy.deepcopy(module).eval()
        context.log("validation", stage="dense", **context.evaluate(network))
        return Compressed.single(network, claims(network, data.spec.example()), log=tuple(context.events))


METHOD = Float32
