"""Which layer is pruned how, and what that takes from it: one scheme for all layers, or a map with one for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from harness.compression.numerics.regularity import Regularity, parse
from harness.errors import UserError, nearest
from harness.latency_table import DENSE

if TYPE_CHECKING:
    import torch
    from torch import nn

    from harness.compression.numerics.masks import Scope
    from harness.data import DataSpec


class Scheme(NamedTuple):
    regularity: Regularity
    sparsity: float

    def __str__(self) -> str:
        return f"{self.regularity}@{self.sparsity:g}"

    def mask(self, weight: torch.Tensor) -> torch.Tensor:
        """bool [as weight], True where it stays."""
        return self.regularity.mask(weight, self.sparsity)


def parse_scheme(text: str) -> Scheme | None:
    """`1x16@0.5`; None for `dense`."""
    if text.strip() == DENSE:
        return None
    label, at, share = text.partition("@")
    try:
        sparsity = float(share)
    except ValueError:
        sparsity = -1.0
    if not at or not 0 < sparsity < 1:
        raise UserError(f"scheme `{text}`: expected a regularity and a sparsity between 0 and 1, as `1x16@0.5`, or `{DENSE}`")
    found = Scheme(parse(label), sparsity)
    found.regularity.check_sparsity(sparsity)
    return found


def parse_map(entries: Iterable[str]) -> dict[str, Scheme | None]:
    """`layer: scheme`, each layer once."""
    found: dict[str, Scheme | None] = {}
    for entry in entries:
        name, colon, text = (part.strip() for part in entry.partition(": "))
        if not colon or name in found:
            raise UserError(f"`{entry}`: expected `layer: scheme`, each layer once, as `layer1.0.conv1: 1x16@0.5`")
        found[name] = parse_scheme(text)
    return found


class Assigned(NamedTuple):
    schemes: dict[str, Scheme]
    left_alone: dict[str, str]


def assign(network: nn.Module, spec: DataSpec, uniform: Scheme | None, named: Mapping[str, Scheme | None]) -> Assigned:
    """A scheme for each layer that its regularity can be applied to: the one it is named with, else the uniform one.

    The stem and the classifier are pruned only if they are named.
    """
    from harness.compression.numerics.layers import is_classifier, is_stem, weighted_layers

    layers = weighted_layers(network)
    for name in named:
        if name not in layers:
            raise UserError(f"`{name}` is no layer with weights here.{nearest(name, layers)}")
    schemes: dict[str, Scheme] = {}
    left_alone: dict[str, str] = {}
    for name, layer in layers.items():
        scheme = named.get(name, uniform)
        if scheme is None:
            left_alone[name] = "dense by its scheme"
        elif name not in named and is_stem(name, layer, layers, spec):
            left_alone[name] = "the stem"
        elif name not in named and is_classifier(name, layer, layers, spec):
            left_alone[name] = "the classifier"
        elif reason := scheme.regularity.applies_to(layer):
            left_alone[name] = reason
        else:
            schemes[name] = scheme
    return Assigned(schemes, left_alone)


def scheme_masks(network: nn.Module, schemes: Mapping[str, Scheme], scope: Scope = "local") -> dict[str, torch.Tensor]:
    """bool [as weight] for each layer. `global`: one regularity and sparsity for all; the smallest units of all layers together leave."""
    from harness.compression.numerics.masks import keep_largest

    weights = {name: network.get_parameter(f"{name}.weight") for name in schemes}
    if scope == "local" or not schemes:
        return {name: schemes[name].mask(weight) for name, weight in weights.items()}
    (scheme,) = set(schemes.values())
    kept = keep_largest({name: scheme.regularity.scores(weight) for name, weight in weights.items()}, scheme.sparsity, "global")
    return {name: scheme.regularity.spread(kept[name], weight.shape) for name, weight in weights.items()}
