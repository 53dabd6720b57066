"""One layer cut out of a saved program, with what it is given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import BuildError, nearest
from harness.forms.conversion import conversion
from harness.forms.form import Floats
from harness.forms.program import in_eval_mode, read_program

if TYPE_CHECKING:
    from torch import nn

_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
"""Arguments of aten.conv2d in their order; all from `stride` on have the defaults of nn.Conv2d."""


def cut_layer(path: Path, layer: str, inputs: Floats) -> tuple[nn.Module, Floats]:
    """One layer of a saved program, by its dotted module name, and what it is given [n, ...] when the network is given `inputs`.

    A layer that is called several times is cut at its first call. BuildError if it is not there, or takes more than one tensor.
    """
    import torch

    with conversion(f"cutting out layer `{layer}`"):
        network = torch.export.unflatten(read_program(path))
        layers = {name: module for name, module in network.named_modules() if name}
        if layer not in layers:
            raise BuildError(f"the compressed network has no layer `{layer}`.{nearest(layer, layers)}")
        calls: list[tuple[object, ...]] = []
        handle = layers[layer].register_forward_pre_hook(
            lambda _module, args, kwargs: calls.append((*args, *kwargs.values())), with_kwargs=True
        )
        with torch.inference_mode():
            network(torch.from_numpy(inputs))
        handle.remove()
        if not calls:
            raise BuildError(f"layer `{layer}` is part of the compressed network, and never called")
        if len(calls[0]) != 1 or not isinstance(calls[0][0], torch.Tensor):
            raise BuildError(
                f"layer `{layer}` takes {len(calls[0])} inputs; only a layer that takes one tensor can be measured alone"
            )
        return _alone(layers[layer]), np.asarray(calls[0][0].numpy(), dtype=np.float32)


def _alone(layer: nn.Module) -> nn.Module:
    """The layer behind one named input: torch.export cannot give a dynamic batch to the bare `*args` of an unflattened module."""
    from torch import Tensor, nn

    restored = _restored(layer)
    if restored is not layer:
        return in_eval_mode(restored)

    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = restored

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.layer(x)
            return found

    return in_eval_mode(Alone())


def _restored(module: nn.Module) -> nn.Module:
    """Modules that are one convolution or linear operator as the nn.Conv2d or nn.Linear they were, so that they can be counted."""
    for name, child in list(module.named_children()):
        setattr(module, name, _restored(child))
    graph = getattr(module, "graph", None)
    calls = [] if graph is None else [node for node in graph.nodes if node.op not in ("placeholder", "get_attr", "output")]
    if len(calls) != 1 or calls[0].op != "call_function":
        return module
    operator = str(calls[0].target)
    if operator in ("aten.conv2d.default", "aten.conv2d.padding"):
        return _convolution(module, {**dict(zip(_CONVOLUTION, calls[0].args, strict=False)), **calls[0].kwargs})
    return _linear(module) if operator == "aten.linear.default" else module


def _convolution(module: nn.Module, given: dict[str, Any]) -> nn.Module:
    from torch import Tensor, nn

    weight = module.weight
    assert isinstance(weight, Tensor)
    outputs, inputs, *kernel = weight.shape
    groups = given.get("groups", 1)
    settings = {name: given[name] for name in ("stride", "padding", "dilation") if name in given}
    settings = {name: tuple(value) if isinstance(value, list | tuple) else value for name, value in settings.items()}
    return _with_parameters(
        nn.Conv2d(inputs * groups, outputs, (kernel[0], kernel[1]), groups=groups, bias=_has_bias(module), **settings), module
    )


def _linear(module: nn.Module) -> nn.Module:
    from torch import Tensor, nn

    weight = module.weight
    assert isinstance(weight, Tensor)
    return _with_parameters(nn.Linear(weight.shape[1], weight.shape[0], bias=_has_bias(module)), module)


def _has_bias(module: nn.Module) -> bool:
    return getattr(module, "bias", None) is not None


def _with_parameters(layer: nn.Module, source: nn.Module) -> nn.Module:
    for name, _ in list(layer.named_parameters()):
        setattr(layer, name, getattr(source, name))
    return layer
