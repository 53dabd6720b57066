"""Quantization-aware training: weights of 1 to 8 bits or ternary, activations of 1 to 8 bits (surveyed by Roth et al. 2020, arXiv:2001.03048)."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Le

from harness.compression import Compressed, Member, Numeric
from harness.compression.numerics.tuning import Tuning

if TYPE_CHECKING:
    from torch import nn

    from harness.compression.numerics.quantizers import Bits
    from harness.context import Context
    from harness.data import Data


@dataclass(frozen=True, slots=True, kw_only=True)
class Qat(Tuning):
    """With 8-bit weights and activations an integer network, whose activations are ranged anew by calibration inputs as `int8_ptq` does; else
    float arithmetic, on weights and between activations of few bits."""

    weight_bits: Annotated[int, Ge(1), Le(8)] | Literal["ternary"] = 8
    """1: binary. One scale an output channel."""
    activation_bits: Annotated[int, Ge(1), Le(8)] | Literal["float"] = 8
    """Of what goes into each layer."""
    edge_bits: Annotated[int, Ge(2), Le(8)] = 8
    """The least that the first and the last layer have: the few bits of these cost most."""
    calibration_samples: Annotated[int, Ge(1)] = 256
    """Training examples that give the activations their first ranges."""

    @property
    def numeric(self) -> Numeric:
        return "int8" if (self.weight_bits, self.activation_bits) == (8, 8) else "float32"

    def compress(self, module: nn.Module, data: Data, context: Context) -> Compressed:
        import torch

        from harness.compression.numerics.calibration import calibration_inputs
        from harness.compression.numerics.counting import claims
        from harness.compression.numerics.integer import as_int8
        from harness.compression.numerics.layers import calls, weighted_layers
        from harness.compression.numerics.quantizers import code_bits, settled, with_activations, without_activations

        inputs = calibration_inputs(data, self.calibration_samples, context.rng("calibration"))
        network: nn.Module = copy.deepcopy(module).eval()
        layers, left_alone = list(weighted_layers(network)), dict[str, str]()
        if self.activation_bits != "float":
            steps = {name: max(self.activation_bits, least) for name, least in self._least(layers).items()}
            network = graph = with_activations(network, steps, torch.tensor(inputs))
            left_alone = {
                name: "its inputs stay float: its weight is used without calling it" for name in layers if not calls(graph, name)
            }
        widths = {name: self._weight_width(least) for name, least in self._least(layers).items()}
        self._train(network, widths, module, context)
        plain = without_activations(network)
        if self.numeric == "int8":
            integer = as_int8(plain, inputs, True, data, context)
            return dataclasses.replace(integer, left_alone=left_alone | integer.left_alone)
        weights = {name: plain.get_parameter(f"{name}.weight") for name in layers}
        stored = {f"{name}.weight": code_bits(widths[name]) * weight.numel() for name, weight in weights.items()}
        scales = {f"{name}.weight": len(weight) for name, weight in weights.items()}
        counted = claims(plain, data.spec.example(), stored_bits=stored, scales=scales)
        final = settled(network)
        unrounded = None if self.activation_bits == "float" else plain
        return Compressed((Member(final, final, counted, unrounded=unrounded),), log=tuple(context.events), left_alone=left_alone)

    def _train(self, network: nn.Module, widths: Mapping[str, Bits], dense: nn.Module, context: Context) -> None:
        """In place; leaves the weights on their grids."""
        from harness.compression.numerics.quantizers import weight_quantizer
        from harness.compression.numerics.represented import represented

        quantizers = {name: weight_quantizer(network.get_parameter(f"{name}.weight"), bits) for name, bits in widths.items()}
        with represented(network, quantizers):
            context.log("validation", stage="quantized", **context.evaluate(network))
            if self.fine_tune_epochs:
                context.train(network, self.recipe(context, self.fine_tune_epochs), loss=self.loss(dense, context))
            context.log("validation", stage="final", **context.evaluate(network))

    def _least(self, layers: Sequence[str]) -> dict[str, int]:
        """Bits that each layer has at least."""
        return {name: self.edge_bits if name in (layers[0], layers[-1]) else 1 for name in layers}

    def _weight_width(self, least: int) -> Bits:
        if self.weight_bits == "ternary":
            return "ternary" if least == 1 else least
        return max(self.weight_bits, least)


METHOD = Qat
