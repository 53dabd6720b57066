"""What a network costs on paper: multiply-accumulates, parameters and bytes, counted and not measured."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy.typing as npt
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness.compiler.smallest import Stored, smallest
from harness.compression import Claims
from harness.errors import BuildError
from harness.train import in_eval_mode

aten = torch.ops.aten
PRODUCTS = {aten.mm.default: (0, 1), aten.addmm.default: (1, 2), aten.bmm.default: (0, 1), aten.baddbmm.default: (1, 2)}
"""Matrix products that a linear layer comes down to: which of the arguments are multiplied."""
WITHOUT_PRODUCTS = {aten.embedding.default: (0,), aten.add.Tensor: (0, 1)}
"""Operations that take a parameter and multiply nothing: a look-up, and what is added to each position of a text."""


def claims(
    module: nn.Module,
    example: npt.NDArray[Any],
    *,
    weight_bits: int = 32,
    sparse: bool = False,
    scales: Mapping[str, int] = MappingProxyType({}),
    stored_bits: Mapping[str, int] = MappingProxyType({}),
) -> Claims:
    """Count one inference of `example` [1, *input_shape].

    `weight_bytes`: weights of convolutions and linear layers at `weight_bits`, all other parameters and `scales` quantization scales a
    weight at 4 bytes. With `sparse`, each layer is stored in the smallest format that the pattern of its zeros allows (`compiler/smallest.py`).
    `stored_bits`: what whole weights take, by parameter name, where a method has a format of its own for them (indices and tables counted).
    """
    uses = weight_uses(module, example)
    sizes = {name: parameter.numel() for name, parameter in module.named_parameters()}
    nonzeros = {name: int(torch.count_nonzero(parameter)) for name, parameter in module.named_parameters()}
    stored = {name: _stored(module.get_parameter(name), weight_bits, sparse) for name in uses if name not in stored_bits}
    bits = {name: found.bits for name, found in stored.items()} | dict(stored_bits)
    others = sum(size for name, size in sizes.items() if name not in uses)
    return Claims(
        macs=sum(uses[name] * sizes[name] for name in uses),
        nonzero_macs=sum(uses[name] * nonzeros[name] for name in uses),
        params=sum(sizes.values()),
        nonzero_params=sum(nonzeros.values()),
        weight_bits=sum(bits.values()) / sum(sizes[name] for name in uses) if stored_bits else float(weight_bits),
        weight_bytes=math.ceil(sum(bits.values()) / 8) + 4 * (others + sum(scales.values())),
        formats=dict(Counter(found.format for found in stored.values())),
        stored_bits=dict(stored_bits),
        scales=dict(scales),
    )


def weight_uses(module: nn.Module, example: npt.NDArray[Any]) -> dict[str, int]:
    """Weight's name -> how often one inference uses each of its elements: output pixels of a convolution, 1 for a vector into a linear layer.

    Counted where the operations arrive, so that it does not matter how a network is written; a layer that is called twice counts twice.
    Left out are embeddings, of which nothing is multiplied. A parameter of two and more dimensions that no known operation uses is a
    BuildError: its MACs would be missing.
    """
    weights = {_place(p): name for name, p in module.named_parameters() if p.dim() >= 2}
    counter = _Macs()
    with in_eval_mode(module), torch.no_grad(), counter:
        module(torch.from_numpy(example))
    for place, name in weights.items():
        if place not in counter.macs:
            shape = list(module.get_parameter(name).shape)
            raise BuildError(
                f"MACs of `{name}` {shape} cannot be counted: only convolutions, linear layers and embeddings are known"
            )
    return {name: counter.macs[place] // place[2] for place, name in weights.items() if counter.macs[place]}


class _Macs(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Multiply-accumulates by the place in memory of the operands: a weight keeps its place when it is transposed or expanded."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: Counter[tuple[int, int, int]] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is aten.convolution.default:
            inputs, weight, transposed = args[0], args[1], args[6]
            self.macs[_place(weight)] += (inputs if transposed else result).numel() * weight[0].numel()
        elif func in PRODUCTS:
            left, right = (args[index] for index in PRODUCTS[func])
            for operand in (left, right):
                self.macs[_place(operand)] += result.numel() * left.shape[-1]
        elif func in WITHOUT_PRODUCTS:
            self.macs.update(
                {_place(args[index]): 0 for index in WITHOUT_PRODUCTS[func] if isinstance(args[index], torch.Tensor)}
            )
        return result


def _place(tensor: torch.Tensor) -> tuple[int, int, int]:
    """Where a tensor's memory starts, and how many elements of it are its own (an expanded dimension repeats the same)."""
    own = math.prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride != 0)
    return tensor.untyped_storage().data_ptr(), int(tensor.storage_offset()), own


def _stored(weight: torch.Tensor, weight_bits: int, sparse: bool) -> Stored:
    return smallest(weight.detach().numpy(), weight_bits) if sparse else Stored("dense", weight.numel() * weight_bits)
