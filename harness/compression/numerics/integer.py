"""A float network made an int8 network: folded, weights on their grid, activations ranged by calibration inputs (Jacob et al. 2018, arXiv:1712.05877)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from harness.compression import Compressed, Quantization
from harness.compression.numerics.calibration import sha256_of
from harness.compression.numerics.counting import claims
from harness.compression.numerics.fake_quant import put_weights_on_grid
from harness.compression.numerics.fold import fold_batchnorm
from harness.compression.numerics.layers import batchnorms
from harness.compression.numerics.simulate import simulated

if TYPE_CHECKING:
    from harness.context import Context
    from harness.data import Data


def as_int8(
    module: nn.Module, inputs: npt.NDArray[np.float32], per_channel: bool, data: Data, context: Context, *, sparse: bool = False
) -> Compressed:
    """`inputs` [n, *input_shape] give the ranges of the activations; `sparse` counts what zeros save. The module itself is not edited."""
    network = fold_batchnorm(module)
    context.log("validation", stage="folded float32", **context.evaluate(network))
    scales = put_weights_on_grid(network, per_channel)
    reference = simulated(network, torch.tensor(inputs))
    context.log("validation", stage="int8 simulation", **context.evaluate(reference))
    return Compressed.single(
        network,
        claims(network, data.spec.example(), weight_bits=8, sparse=sparse, scales=scales),
        reference=reference,
        numeric="int8",
        quantization=Quantization(8, 8, per_channel, len(inputs), sha256_of(inputs)),
        calibration=inputs,
        log=tuple(context.events),
        left_alone=dict.fromkeys(
            batchnorms(network), "batch-norm without a layer of its own to fold into: its parameters stay float"
        ),
    )
