"""Post-training int8: weights symmetric, activations asymmetric by smallest and largest value (Jacob et al. 2018, sec. 2-3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge

from harness.compression import Compressed, Numeric, Quantization

if TYPE_CHECKING:
    from torch import nn

    from harness.context import Context
    from harness.data import Data


@dataclass(frozen=True, slots=True)
class Int8Ptq:
    """The module keeps float arithmetic with weights on the int8 grid: a backend that quantizes them again finds the same codes."""

    numeric: ClassVar[Numeric] = "int8"

    per_channel: bool = True
    """Weight [out, in, ...] -> one scale an output channel; False: one scale a layer."""
    calibration_samples: Annotated[int, Ge(1)] = 256
    """Training examples that give the ranges of the activations."""

    def compress(self, module: nn.Module, data: Data, context: Context) -> Compressed:
        import torch

        from harness.compression.numerics.calibration import calibration_inputs, sha256_of
        from harness.compression.numerics.counting import claims
        from harness.compression.numerics.fake_quant import put_weights_on_grid
        from harness.compression.numerics.fold import fold_batchnorm
        from harness.compression.numerics.layers import batchnorms
        from harness.compression.numerics.simulate import simulated

        inputs = calibration_inputs(data, self.calibration_samples, context.rng("calibration"))
        network = fold_batchnorm(module)
        context.log("validation", stage="folded float32", **context.evaluate(network))
        scales = put_weights_on_grid(network, self.per_channel)
        reference = simulated(network, torch.tensor(inputs))
        context.log("validation", stage="int8 simulation", **context.evaluate(reference))
        return Compressed.single(
            network,
            claims(network, data.spec.example(), weight_bits=8, scales=scales),
            reference=reference,
            numeric=self.numeric,
            quantization=Quantization(8, 8, self.per_channel, len(inputs), sha256_of(inputs)),
            calibration=inputs,
            log=tuple(context.events),
            left_alone=dict.fromkeys(
                batchnorms(network), "batch-norm without a layer of its own to fold into: its parameters stay float"
            ),
        )


METHOD = Int8Ptq
