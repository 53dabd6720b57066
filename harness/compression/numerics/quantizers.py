"""Few-bit weights and activations in training, each with the gradient passed straight through (Roth et al. 2020, arXiv:2001.03048, sec. 3).

Binary: sign(w) mean|w| (Rastegari et al. 2016, arXiv:1603.05279). Ternary: {-a, 0, a} beyond 0.7 mean|w| (Li et al. 2016, arXiv:1605.04711).
k bits: uniform and symmetric, 2^k - 1 levels, with a learned step (Esser et al. 2020, arXiv:1902.08153). Scales are per output channel.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import fx, nn

from harness.compression.numerics.fake_quant import quantize_weight
from harness.compression.numerics.layers import traced
from harness.compression.numerics.represented import passing, rounded

Bits = int | Literal["ternary"]
TERNARY_THRESHOLD = 0.7
SHRINKS = tuple(step / 50 for step in range(10, 51))
"""Of the largest magnitude: where the first step of a uniform grid is looked for, by least squares."""


class BinaryWeight(nn.Module):
    """Gradients pass where |w| <= 1."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        size = by_channel(weight.detach().abs()).mean(1).view(-1, *[1] * (weight.dim() - 1))
        signs = torch.where(weight.detach() >= 0, 1.0, -1.0)
        return size * passing(signs, weight.clamp(-1, 1))


class TernaryWeight(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        magnitude = by_channel(weight.detach().abs())
        kept = magnitude > TERNARY_THRESHOLD * magnitude.mean(1, keepdim=True)
        size = (magnitude * kept).sum(1, keepdim=True) / kept.sum(1, keepdim=True).clamp(min=1)
        return passing((size * kept).view_as(weight) * weight.detach().sign(), weight)


class Int8Weight(nn.Module):
    """The grid of int8 kernels, which follows the largest magnitude: whoever quantizes the result again finds the same codes."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return passing(quantize_weight(weight, per_channel=True).dequantized(), weight)


class UniformWeight(nn.Module):
    """-(2^(k-1) - 1) ... 2^(k-1) - 1 times a step a channel. Its logarithm is learned, so that one learning rate suits any size of weights."""

    def __init__(self, weight: torch.Tensor, bits: int) -> None:
        super().__init__()
        self.most = 2 ** (bits - 1) - 1
        self.log_step = nn.Parameter(best_steps(by_channel(weight.detach()), self.most).log())

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        rows = by_channel(weight)
        step = damped(self.log_step, math.sqrt(rows.shape[1] * self.most)).exp()[:, None]
        return (rounded((rows / step).clamp(-self.most, self.most)) * step).view_as(weight)


class UniformActivation(nn.Module):
    """k bits of a tensor: 0 ... 2^k - 1 steps where nothing is negative, else symmetric (of 1 bit: both signs). What lies beyond is clipped.

    Its ends are learned (Choi et al. 2018, arXiv:1805.06085), again as a logarithm.
    """

    def __init__(self, values: torch.Tensor, bits: int) -> None:
        super().__init__()
        signed = bool((values < 0).any())
        self.most = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
        self.least = -self.most if signed else 0
        magnitudes = values.detach().abs().reshape(1, -1)
        first = magnitudes.mean(1) if self.most == 0 else best_steps(magnitudes, self.most)
        self.log_step = nn.Parameter(first.log()[0])
        self.damping = math.sqrt(values[0].numel() * max(self.most, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        step = damped(self.log_step, self.damping).exp()
        if self.most == 0:
            return step * passing(torch.where(x >= 0, 1.0, -1.0), (x / step).clamp(-1, 1))
        return rounded((x / step).clamp(self.least, self.most)) * step

    def settled(self) -> RoundedActivation:
        return RoundedActivation(float(self.log_step.detach().exp()), self.least, self.most)


class RoundedActivation(nn.Module):
    """The same when all is learned: what a runtime does."""

    def __init__(self, step: float, least: int, most: int) -> None:
        super().__init__()
        self.step, self.least, self.most = step, least, most

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.most == 0:
            return torch.where(x >= 0, self.step, -self.step)
        return (x / self.step).round().clamp(self.least, self.most) * self.step

    def extra_repr(self) -> str:
        return f"{self.least} ... {self.most} steps of {self.step:g}"


def weight_quantizer(weight: torch.Tensor, bits: Bits) -> nn.Module:
    if bits == "ternary":
        return TernaryWeight()
    if bits == 1:
        return BinaryWeight()
    return Int8Weight() if bits == 8 else UniformWeight(weight, bits)


def code_bits(bits: Bits) -> int:
    """Of one stored weight."""
    return 2 if bits == "ternary" else bits


def with_activations(module: nn.Module, bits: Mapping[str, int], inputs: torch.Tensor) -> fx.GraphModule:
    """A copy that rounds what goes into each named layer to its bits; layers that read one tensor at as many bits share its quantizer.

    `inputs` [n, ...] give each quantizer its first step.
    """
    graph = traced(module)
    seen: dict[fx.Node, torch.Tensor] = {}
    wanted = {node.args[0] for node in graph.graph.nodes if node.op == "call_module" and node.target in bits}

    class Observer(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            value = super().run_node(n)
            if n in wanted:
                seen[n] = value
            return value

    with torch.no_grad():
        Observer(graph).run(inputs)
    made: dict[tuple[fx.Node, int], fx.Node] = {}
    for node in list(graph.graph.nodes):
        if node.op == "call_module" and node.target in bits:
            source, width = node.args[0], bits[node.target]
            if (source, width) not in made:
                name = f"round_{source.name}_{width}"
                graph.add_submodule(name, UniformActivation(seen[source], width))
                with graph.graph.inserting_after(source):
                    made[source, width] = graph.graph.call_module(name, (source,))
            node.args = (made[source, width], *node.args[1:])
    graph.graph.lint()
    graph.recompile()
    return graph.eval()


def without_activations(network: nn.Module) -> nn.Module:
    """A copy in which activations are not rounded."""
    return _replaced(network, lambda _part: nn.Identity())


def settled(network: nn.Module) -> nn.Module:
    """A copy whose activations are rounded by constants, as it is exported."""
    return _replaced(network, UniformActivation.settled)


def _replaced(network: nn.Module, by: Callable[[UniformActivation], nn.Module]) -> nn.Module:
    copied = copy.deepcopy(network)
    for name, part in list(copied.named_modules()):
        if isinstance(part, UniformActivation):
            copied.set_submodule(name, by(part))
    return copied


def best_steps(rows: torch.Tensor, most: int) -> torch.Tensor:
    """[rows] the step of a symmetric grid of +-`most` steps that leaves each row the smallest squared error, among some."""
    largest = rows.abs().amax(1).clamp(min=1e-8)
    best, least = largest / most, torch.full_like(largest, math.inf)
    for shrink in SHRINKS:
        step = (shrink * largest / most)[:, None]
        error = ((rows / step).round().clamp(-most, most) * step - rows).square().sum(1)
        best, least = torch.where(error < least, step[:, 0], best), torch.minimum(error, least)
    return best


def by_channel(weight: torch.Tensor) -> torch.Tensor:
    return weight.flatten(1)


def damped(x: torch.Tensor, by: float) -> torch.Tensor:
    """x, whose gradient is divided: a step collects those of all it scales (Esser et al. 2020, sec. 2.2)."""
    return x / by + (x - x / by).detach()
