"""Weights that are trained in another form than they are used in: rounded, masked, factored, shared."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import nn
from torch.nn.utils import parametrize


@contextlib.contextmanager
def represented(network: nn.Module, forms: Mapping[str, nn.Module]) -> Iterator[None]:
    """The weight of each named layer is what its form's `forward` gives, in place; afterwards it is a plain parameter of that value.

    What is trained is the layer's own weight, or what the form's `right_inverse(weight)` makes of it.
    """
    for name, form in forms.items():
        parametrize.register_parametrization(network.get_submodule(name), "weight", form, unsafe=True)
    try:
        yield
    finally:
        for name in forms:
            layer = network.get_submodule(name)
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
            layer.weight = nn.Parameter(
                network.get_parameter(f"{name}.weight").detach().clone()
            )  # without what was trained in its place


def rounded(x: torch.Tensor) -> torch.Tensor:
    """To the nearest integer; the gradient passes as if nothing had happened (straight-through; Bengio et al. 2013, arXiv:1308.3432)."""
    return passing(x.round(), x)


def passing(value: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """`value` forward, exactly; the gradient of `x` backward."""
    return value.detach() + (x - x.detach())
