"""SmartExchange: weights as sparse powers of two times small bases, so that storage is exchanged for shifts (Zhao et al. 2020, arXiv:2005.03403)."""

from __future__ import annotations

import copy
import dataclasses
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le, Lt

from harness.compression import Compressed, Numeric
from harness.compression.numerics.post_training import PostTraining
from harness.compression.numerics.tuning import Tuning
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import torch
    from torch import nn

    from harness.compression.numerics.exchange import Exchanged, Fit
    from harness.context import Context
    from harness.data import Data


@dataclass(frozen=True, slots=True, kw_only=True)
class SmartExchange(PostTraining, Tuning):
    """Kernels of each filter [inputs * rows, columns] share a basis [columns, columns]; linear layers and 1x1 kernels are folded to width 3.

    `solver`: `plain` is the published fit, to the weights; `refit` fits its bases to each layer's outputs, `obs` rows and coefficients too.
    """

    numeric: ClassVar[Numeric] = "float32"

    sparsity: Annotated[float, Ge(0), Lt(1)] = 0.3
    """Share of the rows of coefficients that are zero in each layer."""
    exponents: Annotated[int, Ge(1), Le(15)] = 7
    """Powers of two a coefficient may be: 7 fit into 4 bits with sign and zero."""
    training: Literal["alternate", "on_grid"] = "alternate"
    """`alternate`: an epoch of free weights, then fitted again, over and over; `on_grid` (SmartDeal; Chen et al. 2021, arXiv:2101.01163):
    coefficients stay powers of two and move by the summed signs of their gradients, bases learn."""
    switch_bar: Annotated[int, Ge(1)] = 16
    """`on_grid`: so many more gradients one way than the other move a coefficient to the next power."""

    def compress(self, module: nn.Module, data: Data, context: Context) -> Compressed:
        from harness.compression.numerics.counting import claims
        from harness.compression.numerics.exchange import stored_bits

        network = copy.deepcopy(module).eval()
        inputs = self.calibration(data, context)
        forms, left_alone = self._fitted(network, self._left_alone(network), inputs, context, 0)
        if self.training == "on_grid":
            self._train_on_grid(network, forms, module, context)
        else:
            forms = self._alternate(network, forms, left_alone, inputs, module, context)
        self.finish(network, module, inputs, context)
        bits = {f"{name}.weight": stored_bits(form.shape, int(form.kept.sum()), self.exponents) for name, form in forms.items()}
        context.log("energy", **_energy(forms.values(), sum(bits.values())))
        counted = claims(network, data.spec.example(), stored_bits=bits)
        return Compressed.single(network, counted, log=tuple(context.events), left_alone=left_alone)

    def _left_alone(self, network: nn.Module) -> dict[str, str]:
        """The layers that are, with the reasons; UserError where they are all."""
        from harness.compression.numerics.exchange import refusal
        from harness.compression.numerics.layers import weighted_layers, without
        from harness.compression.numerics.surgery import unfit

        layers = weighted_layers(network)
        left_alone = dict.fromkeys(self.skip, "named in `skip`")
        for name, layer in without(layers, self.skip).items():
            if reason := refusal(layer) or (unfit(layer) if self.solver != "plain" else None):
                left_alone[name] = reason
        if layers.keys() <= left_alone.keys():
            raise UserError("smart_exchange: no layer has filters large enough to share a basis; take a larger network")
        return left_alone

    def _fitted(
        self, network: nn.Module, left_alone: dict[str, str], inputs: torch.Tensor, context: Context, epochs: int
    ) -> tuple[dict[str, Exchanged], dict[str, str]]:
        """Each layer's weight replaced, in place, by its fit; and what is left alone then. `epochs` were trained before."""
        import torch

        from harness.compression.numerics.exchange import Exchanged, Fit, fit_weights
        from harness.compression.numerics.exchange_outputs import fit_outputs
        from harness.compression.numerics.journal import once
        from harness.compression.numerics.layers import weighted_layers
        from harness.compression.numerics.surgery import UNREACHED, operations

        layers = {name: layer for name, layer in weighted_layers(network).items() if name not in left_alone}
        work: Iterator[tuple[str, Callable[[], Fit]]]
        if self.solver == "plain":
            work = (
                (name, functools.partial(fit_weights, layer.weight, self.sparsity, self.exponents))
                for name, layer in layers.items()
            )
        else:
            work = (
                (each.name, functools.partial(fit_outputs, each, self.sparsity, self.exponents, surgery=self.solver == "obs"))
                for each in operations(copy.deepcopy(network), list(layers), inputs, self.damping)
            )
        fits = {}
        for number, (name, fit) in enumerate(work):
            context.on_progress("fit", number / len(layers))
            fits[name] = Fit.of(
                *once(context.journal, f"exchange {name} after {epochs} epochs", functools.partial(_tensors, fit))
            )
        forms = {name: Exchanged(layers[name].weight.shape, fit, self.exponents) for name, fit in fits.items()}
        for name, form in forms.items():
            with torch.no_grad():
                layers[name].weight.copy_(form(*form.right_inverse(layers[name].weight)))
        context.log("fit", relative_error={name: form.found.error for name, form in forms.items()})
        context.log("validation", stage="fitted", **context.evaluate(network))
        return forms, left_alone | {name: UNREACHED for name in layers if name not in forms}

    def _alternate(
        self,
        network: nn.Module,
        forms: dict[str, Exchanged],
        left_alone: dict[str, str],
        inputs: torch.Tensor,
        dense: nn.Module,
        context: Context,
    ) -> dict[str, Exchanged]:
        """Each epoch is a training of its own, which begins at the learning rate that one long training would have then and ends at 0."""
        whole = self.recipe(context, self.fine_tune_epochs)
        for epoch in range(self.fine_tune_epochs):
            one = dataclasses.replace(whole, epochs=1, learning_rate=whole.rate(epoch))
            context.train(network, one, loss=self.loss(dense, context))
            forms, _ = self._fitted(network, left_alone, inputs, context, epoch + 1)
        return forms

    def _train_on_grid(self, network: nn.Module, forms: dict[str, Exchanged], dense: nn.Module, context: Context) -> None:
        import torch

        from harness.compression.numerics.represented import represented

        def before_step(trained: nn.Module) -> None:
            """Moves the coefficients and takes their gradients away, so that the optimizer leaves them alone."""
            with torch.no_grad():
                for name, form in forms.items():
                    coefficients = trained.get_parameter(f"{name}.parametrizations.weight.original0")
                    assert coefficients.grad is not None
                    coefficients.copy_(form.stepped(coefficients, coefficients.grad, self.switch_bar))
                    coefficients.grad = None

        with represented(network, forms):
            if self.fine_tune_epochs:
                recipe = self.recipe(context, self.fine_tune_epochs)
                context.train(network, recipe, loss=self.loss(dense, context), before_step=before_step)


def _tensors(fit: Callable[[], Fit]) -> tuple[torch.Tensor, ...]:
    return fit().tensors()


DRAM_J_PER_BYTE = 100e-12
ADDITION_J = 0.019e-12
"""Of 8 bits. Unit energies in 28 nm, rounded, as accelerators of this kind are judged by: a byte of DRAM costs as much as thousands of additions."""


def _energy(forms: Collection[Exchanged], bits: int) -> dict[str, Any]:
    """What reading these layers' weights costs by that table, in int8 and in this form; the rest of a machine is left out.

    A weight is rebuilt by at most as many additions as its slice is wide.
    """
    return {
        "origin": "estimated",
        "dram_int8_j": sum(form.shape.numel() for form in forms) * DRAM_J_PER_BYTE,
        "dram_j": bits / 8 * DRAM_J_PER_BYTE,
        "rebuild_j": sum(form.shape.numel() * form.slicing.width for form in forms) * ADDITION_J,
    }


METHOD = SmartExchange
