"""Lottery tickets: prune a little, go back to early weights, train again, over and over; then whole filters or blocks (arXiv:2202.04736)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Lt

from harness.compression import Compressed, Numeric
from harness.compression.numerics.tuning import Tuning
from harness.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from harness.compression.numerics.groups import Edit
    from harness.compression.numerics.layers import Layer
    from harness.context import Context
    from harness.data import Data


SCORED = 512
"""Training examples whose answers say which filters `refill` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket(Tuning):
    """Each round trains for `fine_tune_epochs`, as does the ticket in the end. Stem and classifier lose no weights."""

    numeric: ClassVar[Numeric] = "float32"

    rounds: Annotated[int, Ge(1)] = 3
    prune: Annotated[float, Gt(0), Lt(1)] = 0.2
    """Share of the remaining weights that leaves in each round: the smallest of all layers together."""
    rewind_epochs: Annotated[int, Ge(0)] = 0
    """Weights are drawn anew and trained for so many epochs: there each round begins. 0: each begins at the weights of the trained network."""
    structure: Literal["none", "refill", "regroup"] = "none"
    """What is made of the last round's weights: `refill`: whole filters, the others leave the network with all that depends on them (what an
    addition ties leaves together); `regroup`: dense blocks of filters that keep the same inputs."""
    by: Literal["count", "weight", "activation", "gradient", "random"] = "count"
    """Which filters `refill` takes: those that keep the most weights, or the largest sum of magnitudes; those that answer most, or whose answers
    the loss depends on most, in the network of the last round; `random` is the baseline."""
    extra: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of the other filters that `refill` brings back, too (refill+)."""
    round_to: Annotated[int, Ge(1)] = 1
    """`refill` keeps a multiple of so many filters, for kernels that work on vectors; rounds towards keeping."""
    block_rows: Annotated[int, Ge(2)] = 8
    """Filters of a block of `regroup`, at least, where the layer has as many."""
    block_columns: Annotated[int, Ge(1)] = 32
    """Columns of a block of `regroup`, at most."""
    outweigh: Annotated[float, Gt(0)] = 1.5
    """`regroup`: the kept weights that blocks hold are more than so many times those that are lost."""

    def compress(self, module: nn.Module, data: Data, context: Context) -> Compressed:
        import torch

        from harness.compression.numerics.counting import claims
        from harness.compression.numerics.retrain import prune_and_retrain
        from harness.compression.numerics.tickets import drawn_anew, remaining
        from harness.train import derived_seed

        network = copy.deepcopy(module).eval()
        layers, left_alone = self._layers(network, data)
        if self.rewind_epochs:
            drawn_anew(network, derived_seed(context.seed, "ticket"))
            context.train(network, self.recipe(context, self.rewind_epochs), loss=self.loss(module, context))
        start = copy.deepcopy(network.state_dict())
        masks = {name: torch.ones_like(layer.weight, dtype=torch.bool) for name, layer in layers.items()}
        for number in range(1, self.rounds + 1):
            network.load_state_dict(start)
            prune_and_retrain(network, masks, module, data, context, self, 0)
            masks = remaining({name: layer.weight for name, layer in layers.items()}, masks, (1 - self.prune) ** number)
        scores = self._scores(network, layers, masks, data, context) if self.structure == "refill" else {}
        network.load_state_dict(start)
        if self.structure == "regroup":
            masks = self._regrouped(network, masks, data, context)
        elif self.structure == "refill":
            network, fixed = self._refilled(network, scores, masks, data, context)
            masks, left_alone = {}, left_alone | fixed
        prune_and_retrain(network, masks, module, data, context, self, 0)
        counted = claims(network, data.spec.example(), sparse=True)
        return Compressed.single(network, counted, log=tuple(context.events), left_alone=left_alone)

    def _layers(self, network: nn.Module, data: Data) -> tuple[dict[str, Layer], dict[str, str]]:
        """What is pruned, and what is not and why."""
        from harness.compression.numerics.layers import is_classifier, is_stem, weighted_layers

        layers, left_alone = weighted_layers(network), dict[str, str]()
        for name, layer in layers.items():
            if is_stem(name, layer, layers, data.spec):
                left_alone[name] = "the stem"
            elif is_classifier(name, layer, layers, data.spec):
                left_alone[name] = "the classifier"
            elif getattr(layer, "groups", 1) > 1:
                left_alone[name] = "the filters of a convolution in groups share no inputs"
        pruned = {name: layer for name, layer in layers.items() if name not in left_alone}
        if not pruned:
            raise UserError(f"ticket: no layer can be pruned: {_each(left_alone)}")
        return pruned, left_alone

    def _regrouped(
        self, network: nn.Module, masks: dict[str, torch.Tensor], data: Data, context: Context
    ) -> dict[str, torch.Tensor]:
        """The masks of the ticket; the network's filters, in place, in the ticket's order."""
        from harness.compression.numerics.tickets import gathered, of_blocks, regrouped

        blocks = {name: regrouped(mask, self.block_rows, self.block_columns, self.outweigh) for name, mask in masks.items()}
        unions = {name: of_blocks(found, masks[name].shape) for name, found in blocks.items()}
        masks, moved = gathered(network, unions, blocks, data.spec.example())
        context.log("regrouped", blocks={name: len(found) for name, found in blocks.items()}, neighbours=moved)
        return masks

    def _scores(
        self, network: nn.Module, layers: dict[str, Layer], masks: dict[str, torch.Tensor], data: Data, context: Context
    ) -> dict[str, torch.Tensor]:
        """[out, ...] of each layer, by whose sums filters are taken. The network: as the last round trained it."""
        import torch

        from harness.compression.numerics.tickets import activity
        from harness.train import mean_loss

        if self.by == "count":
            return dict(masks)
        if self.by == "weight":
            return {name: layer.weight.detach().abs() * masks[name] for name, layer in layers.items()}
        if self.by == "random":
            return {
                name: torch.from_numpy(context.rng(f"refill {name}").random(len(layer.weight))) for name, layer in layers.items()
            }
        batch = data.load("train", SCORED)
        inputs, labels = torch.tensor(batch.inputs), torch.tensor(batch.labels)
        of_gradient = self.by == "gradient"
        loss = (lambda outputs: mean_loss(context.criterion, outputs, inputs, labels)) if of_gradient else None
        return activity(network, layers, inputs, loss)

    def _refilled(
        self, network: nn.Module, scores: dict[str, torch.Tensor], masks: dict[str, torch.Tensor], data: Data, context: Context
    ) -> tuple[nn.Module, dict[str, str]]:
        """The network without the filters that lost, and all that depends on them; and whose cannot leave, and why."""
        import torch

        from harness.compression.numerics.dependency import dependencies
        from harness.compression.numerics.shrink import channel_sums, check_runs, makers, shrunk
        from harness.compression.numerics.tickets import unfilled

        tied = dependencies(network, data.spec.example())
        edits: list[Edit] = []
        for group in tied.groups:
            if any(name in masks for name in makers(group)):
                size = channel_sums(group, {name: torch.ones_like(mask) for name, mask in masks.items()})[0]
                kept = channel_sums(group, masks)
                edits += group.edits(unfilled(kept, int(size), channel_sums(group, scores), self.extra, self.round_to))
        if not edits:
            raise UserError(f"ticket: no filter can leave: {_each(tied.left_alone)}")
        context.log("edits", edits=[str(edit) for edit in edits if edit.indices])
        smaller = shrunk(network, edits)
        check_runs(smaller, network, data.spec.example())
        return smaller, {name: why for name, why in tied.left_alone.items() if name in masks}


METHOD = Ticket


def _each(reasons: dict[str, str]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in reasons.items())
