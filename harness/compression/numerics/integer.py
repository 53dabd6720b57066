"""A float network made an int8 network: folded, weights on their grid, activations ranged by calibration inputs (Jacob et al. 2018, arXiv:1712.05877)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from harness.check import FLOOR_SQNR_DB, check
from harness.compression import Compressed, Quantization, Tensors
from harness.compression.numerics.calibration import sha256_of
from harness.compression.numerics.counting import claims
from harness.compression.numerics.fake_quant import put_weights_on_grid
from harness.compression.numerics.fold import fold_batchnorm
from harness.compression.numerics.layers import batchnorms, weighted_layers
from harness.compression.numerics.simulate import BATCH, simulated
from harness.errors import Unsupported

if TYPE_CHECKING:
    from harness.context import Context
    from harness.data import Data


def as_int8(
    module: nn.Module,
    inputs: npt.NDArray[np.float32],
    per_channel: bool,
    data: Data,
    context: Context,
    *,
    sparse: bool = False,
    tensors: Tensors = "all",
) -> Compressed:
    """`inputs` [n, *input_shape] give the ranges of the activations; `sparse` counts what zeros save. The module itself is not edited."""
    network = fold_batchnorm(module)
    if tensors == "linear" and (other := [n for n, part in weighted_layers(network).items() if not isinstance(part, nn.Linear)]):
        raise Unsupported(f"integer kernels of convolutions give integers, and `{other[0]}` is one: take `tensors: all`")
    if batchnorms(module):
        context.log("validation", stage="folded float32", **context.evaluate(network))
    scales = put_weights_on_grid(network, per_channel)
    reference = simulated(network, torch.tensor(inputs), tensors)
    _require_a_signal(network, reference, torch.tensor(inputs[:BATCH]))
    context.log("validation", stage="int8 simulation", **context.evaluate(reference))
    return Compressed.single(
        network,
        claims(network, data.spec.example(), weight_bits=8, sparse=sparse, scales=scales),
        reference=reference,
        numeric="int8",
        quantization=Quantization(8, 8, per_channel, len(inputs), sha256_of(inputs), tensors),
        calibration=inputs,
        log=tuple(context.events),
        left_alone=dict.fromkeys(
            batchnorms(network), "batch-norm without a layer of its own to fold into: its parameters stay float"
        ),
    )


def _require_a_signal(network: nn.Module, reference: nn.Module, inputs: torch.Tensor) -> None:
    """Unsupported where rounding leaves so little of the answers that no check could tell a right program's from a wrong one's."""
    with torch.no_grad():
        found = check([reference(inputs).numpy()], [network(inputs).numpy()], "int8")
    if found.sqnr_db is not None and found.sqnr_db < FLOOR_SQNR_DB:
        raise Unsupported(
            f"8-bit activations leave {found.sqnr_db:.1f} dB of this network's answers, and below {FLOOR_SQNR_DB:g} dB a right program "
            "cannot be told from a wrong one. A transformer may do with `int8_ptq: {tensors: linear}`"
        )
