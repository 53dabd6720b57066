"""Structural lottery tickets: which weights of a network win, and the structure that is made of them (Chen et al. 2022, arXiv:2202.04736).

Iterative magnitude pruning leaves single weights. *Refilling* makes whole filters of as many (the others leave, with all that depends on them),
*regrouping* dense blocks of filters x inputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from harness.compression.numerics.dependency import dependencies
from harness.compression.numerics.layers import Layer
from harness.compression.numerics.masks import keep_largest
from harness.compression.numerics.permute import permute
from harness.compression.numerics.shrink import whole
from harness.errors import UserError
from harness.train import in_eval_mode

Bools = npt.NDArray[np.bool_]
Masks = dict[str, torch.Tensor]
"""bool [as weight] by layer, True where it stays."""


class Block(NamedTuple):
    """Weights of these filters at these columns (input channel, place) of a layer, all of them kept."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]


def remaining(weights: Mapping[str, torch.Tensor], masks: Mapping[str, torch.Tensor], density: float) -> Masks:
    """The largest weights of all layers together that still stay, until `density` of all weights is left; what is out stays out."""
    scores = {name: weight.detach().abs().masked_fill(~masks[name], -1.0) for name, weight in weights.items()}
    return keep_largest(scores, 1 - density, "global")


def unfilled(kept: torch.Tensor, size: int, scores: torch.Tensor, extra: float = 0.0, round_to: int = 1) -> tuple[int, ...]:
    """The channels that leave so that as many stay whole as the weights `kept` [channels] would fill, each of `size`, and one at least.

    Those of the largest `scores` [channels] stay. `extra`: the share of the others that comes back, too (refill+); `round_to`: as many more as
    make a multiple.
    """
    filters = max(int(kept.sum()) // size, 1)
    filters = whole(filters + int((len(kept) - filters) * extra), round_to, len(kept))
    return tuple(sorted(torch.argsort(scores, descending=True, stable=True)[filters:].tolist()))


def activity(
    network: nn.Module, layers: Mapping[str, Layer], inputs: torch.Tensor, loss: Callable[[torch.Tensor], torch.Tensor] | None
) -> dict[str, torch.Tensor]:
    """[out] float64 of each layer, from its filters' answers y to `inputs` [n, ...] in eval mode: the mean of |y|.

    With `loss` (of the network's outputs): what it would change without the filter, in first order, the mean over examples of
    |mean of y * dloss/dy| (Molchanov et al. 2017, arXiv:1611.06440, eq. 8).
    """
    answers: dict[str, list[torch.Tensor]] = {name: [] for name in layers}

    def keep(name: str, answer: torch.Tensor) -> None:
        answer.retain_grad()
        answers[name].append(answer)

    handles = [
        layer.register_forward_hook(lambda _layer, _given, answer, name=name: keep(name, answer))
        for name, layer in layers.items()
    ]
    try:
        with in_eval_mode(network):
            outputs = network(inputs)
            if loss is not None:
                loss(outputs).backward()  # type: ignore[no-untyped-call]
    finally:
        network.zero_grad()
        for handle in handles:
            handle.remove()
    found = {name: torch.zeros(len(layer.weight), dtype=torch.float64) for name, layer in layers.items()}
    for name, given in answers.items():
        for answer in given:
            weighed_by = answer.sign() if loss is None else answer.grad
            if weighed_by is None:  # the outputs do not depend on it
                continue
            values = answer.detach() * weighed_by.detach()
            by_channel = values.movedim(-1 if isinstance(layers[name], nn.Linear) else 1, 1)
            found[name] += by_channel.reshape(*by_channel.shape[:2], -1).double().mean(2).abs().mean(0)
    return found


def regrouped(mask: torch.Tensor, rows: int, widest: int, outweigh: float) -> list[Block]:
    """Dense blocks of at least `rows` filters and up to `widest` columns, which hold most of the kept weights.

    Filters that keep the same columns are put into one part. Of each part the fullest columns are taken until what they keep is more than
    `outweigh` times what the part's other columns keep; what these keep is lost, and what the taken ones lack comes back.
    """
    matrix = mask.flatten(1).numpy()
    found = []
    for part in partition(matrix, max(len(matrix) // rows, 1)):
        counts = matrix[part].sum(0)
        fullest = np.argsort(-counts, kind="stable")
        taken = counts[fullest].cumsum()
        if taken[-1] == 0:
            continue
        columns = np.sort(fullest[: int(np.argmax(taken > outweigh * (taken[-1] - taken))) + 1])
        found += [Block(tuple(part), tuple(columns[first : first + widest].tolist())) for first in range(0, len(columns), widest)]
    return found


def of_blocks(blocks: Sequence[Block], shape: torch.Size) -> torch.Tensor:
    """bool `shape` of a weight: the union of the blocks."""
    mask = torch.zeros(shape[0], shape[1:].numel(), dtype=torch.bool)
    for block in blocks:
        mask[torch.tensor(block.rows)[:, None], torch.tensor(block.columns)] = True
    return mask.view(shape)


def partition(matrix: Bools, parts: int) -> list[list[int]]:
    """Rows in `parts` groups of equal size (but for one row) that keep the same columns: the more pairs of a group's rows share, the better.

    A column is a hyperedge over the rows that keep it, and counts as the clique of these. Each group grows around the fullest row that is
    left; then two rows change places as long as that is better, so that no exchange is, at the end.
    """
    shared = matrix.astype(np.float64) @ matrix.T.astype(np.float64)
    np.fill_diagonal(shared, 0.0)
    group = _grown(matrix.sum(1), shared, parts)
    while True:
        to = shared @ np.eye(parts)[group]  # [rows, parts] what each row shares with each group
        moved = to[:, group] - to[np.arange(len(group)), group][:, None]  # [r, s] what r gains by going where s is
        gains = np.where(group[:, None] == group, -np.inf, moved + moved.T - 2 * shared)
        one, other = divmod(int(gains.argmax()), len(group))
        if gains[one, other] <= 0:
            return [np.flatnonzero(group == part).tolist() for part in range(parts)]
        group[one], group[other] = group[other], group[one]


def _grown(kept: npt.NDArray[np.int64], shared: npt.NDArray[np.float64], parts: int) -> npt.NDArray[np.int64]:
    """[rows] the group of each."""
    group = np.full(len(kept), -1)
    for part, places in enumerate(np.array_split(group, parts)):
        for number in range(len(places)):
            score = kept if number == 0 else shared[:, group == part].sum(1)
            group[int(np.where(group < 0, score, -1.0).argmax())] = part
    return group


def gathered(
    network: nn.Module, masks: Masks, blocks: Mapping[str, Sequence[Block]], example: npt.NDArray[Any]
) -> tuple[Masks, list[str]]:
    """The network's filters reordered, in place, so that those of a block are neighbours: masks in the new order, and the layers it was done to.

    Only where one layer alone makes the channels: those of a residual stream belong to several.
    """
    pattern, done = copy.deepcopy(network), []
    for name, mask in masks.items():
        pattern.get_parameter(f"{name}.weight").data.copy_(mask)
    for group in dependencies(network, example).groups:
        makers = [found for found in group.dependencies if found.node.axis == "out" and found.node.layer in blocks]
        if len(makers) == 1:
            rows = [row for indices in makers[0].indices for row in indices]
            beside = dict.fromkeys(row for block in blocks[makers[0].node.layer] for row in block.rows)
            place = {row: number for number, row in enumerate(beside)}
            order = sorted(range(group.channels), key=lambda channel: place.get(rows[channel], len(place)))
            for each in (network, pattern):
                permute(each, group, order)
            done.append(makers[0].node.layer)
    return {name: pattern.get_parameter(f"{name}.weight").detach().bool() for name in masks}, done


def drawn_anew(network: nn.Module, seed: int) -> None:
    """All weights, in place, as if the network had just been made. UserError where a part cannot say how its own are drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, part in reversed(list(network.named_modules())):  # the outer may draw what the inner have drawn once more
            reset = getattr(part, "reset_parameters", None)
            if reset is not None:
                reset()
            elif next(part.parameters(recurse=False), None) is not None:
                raise UserError(
                    f"the weights of `{name}` cannot be drawn anew: its class {type(part).__name__} has no `reset_parameters`"
                )
