"""The one training loop: seeded, resumable, with progress. Every network and every fine-tuning goes through it.

All that is random in an epoch (order, augmentation, drop-out) is drawn from generators derived from the seed and the epoch's number. So
nothing depends on global state, and a journal needs only the weights and the optimizer's state at the end of an epoch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from harness.criterion import CLASSIFICATION, Criterion
from harness.errors import BuildError
from results.quality import QUALITIES

if TYPE_CHECKING:
    import torch
    from torch import nn

    from harness.data import Batch, Data

EVALUATION_BATCH = 500
PADDING = 4
"""Pixels of background added on each side before a random crop (He et al. 2016, sec. 4.2)."""

Augment = Literal["none", "shift", "crop_flip"]
"""`shift`: random translation by up to 1 pixel in 8; `crop_flip`: pad 4, random crop, horizontal flip."""


class Log(Protocol):
    def __call__(self, event: str, **facts: Any) -> None:
        """Keep an event of the training log."""


class Loss(Protocol):
    """What is minimised in place of the criterion's own mean loss: a penalty or a teacher's answers added to it."""

    def __call__(self, module: nn.Module, inputs: torch.Tensor, outputs: torch.Tensor, plain: torch.Tensor, /) -> torch.Tensor:
        """Scalar, of one batch: `outputs` is what the module answered to `inputs` [n, ...], `plain` the criterion's mean loss of it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train by the model's criterion: plain, with a cosine schedule."""

    epochs: int = 10
    batch_size: int = 64
    optimizer: Literal["sgd", "adamw"] = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 1e-4
    """On weights of two and more dimensions; never on biases and batch-norm parameters."""
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    augment: Augment = "none"
    threads: int = 1
    """Threads it computes with. Part of the recipe: another count sums in another order, so gives other weights."""
    ridge_head: str = ""
    """Name of a linear layer that is fitted in closed form to the training split after a checkpoint was loaded, which need not hold it."""
    epoch_examples: int = 0
    """Examples of the training split that an epoch sees, drawn anew for each; 0: all of them."""

    def fine_tuning(self, epochs: int) -> Recipe:
        """The same recipe for some epochs after compression: the learning rate starts again at its peak, without warm-up.

        Rewinding the learning rate beats a small constant one (Renda, Frankle, Carbin 2020, arXiv:2003.02389).
        """
        return dataclasses.replace(self, epochs=epochs, warmup_epochs=0.0)

    def rate(self, epoch: float) -> float:
        """Learning rate after `epoch` epochs, parts of one included: linear warm-up, then half a cosine down to 0."""
        if epoch < self.warmup_epochs:
            return self.learning_rate * epoch / self.warmup_epochs
        share = (epoch - self.warmup_epochs) / max(self.epochs - self.warmup_epochs, 1e-9)
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))


@dataclass(frozen=True, slots=True)
class Hooks:
    """What `train` calls in each step beside its own work."""

    loss: Loss | None
    before_step: Callable[[nn.Module], None] | None
    after_step: Callable[[nn.Module], None] | None


def derived_seed(seed: int, *names: object) -> int:
    """A 63-bit seed of its own for each named use, so that adding a use never shifts another."""
    digest = hashlib.sha256(":".join(map(str, (seed, *names))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def train(
    module: nn.Module,
    data: Data,
    recipe: Recipe,
    *,
    seed: int,
    criterion: Criterion = CLASSIFICATION,
    journal: Path | None = None,
    on_progress: Callable[[str, float], None] | None = None,
    loss: Loss | None = None,
    before_step: Callable[[nn.Module], None] | None = None,
    after_step: Callable[[nn.Module], None] | None = None,
    log: Log | None = None,
) -> None:
    """Train in place on the training split and leave the module in eval mode.

    `before_step` runs between the gradients and the optimizer's step, `after_step` behind it. A hook that remembers something from step
    to step keeps it in buffers of the module: they are journalled with it.

    With a `journal` (a folder) each finished epoch is kept; after a kill the same call goes on from there and ends with the same bits.
    A journal file's name holds the hash of all that decides the training, so another training never takes it up.
    """
    import torch

    batch = data.load("train")
    labels = torch.tensor(batch.labels)
    hooks = Hooks(loss, before_step, after_step)
    optimizer = _optimizer(module, recipe)
    path = None if journal is None else journal / f"train-{_identity(module, data, recipe, criterion, seed)[:16]}.pt"
    epochs = [] if path is None else _resume(path, module, optimizer)
    for epoch in range(len(epochs), recipe.epochs):
        if on_progress:
            on_progress("train", epoch / recipe.epochs)
        epochs.append(_train_epoch(module, optimizer, batch.inputs, labels, recipe, criterion, epoch, seed, hooks))
        if path is not None:
            _save(path, module, optimizer, epochs)
    if on_progress:
        on_progress("train", 1.0)
    if log:
        log("train", examples=len(batch), seed=seed, **dataclasses.asdict(recipe))
        for facts in epochs:
            log("epoch", **facts)
    module.eval()


def evaluate(module: nn.Module, batch: Batch, criterion: Criterion = CLASSIFICATION) -> dict[str, float]:
    """Each metric of the criterion (shares, 0..1) and `loss`, in eval mode; the module's mode is given back."""
    import torch

    outputs, loss = [], 0.0
    with in_eval_mode(module), torch.no_grad():
        for start in range(0, len(batch), EVALUATION_BATCH):
            inputs, labels = (torch.tensor(array[start : start + EVALUATION_BATCH]) for array in (batch.inputs, batch.labels))
            outputs.append(module(inputs))
            loss += float(mean_loss(criterion, outputs[-1], inputs, labels)) * len(labels)
    answers = torch.cat(outputs).numpy()
    found: dict[str, float] = {
        metric: QUALITIES[metric].estimate(criterion.judge(metric, answers, batch)) for metric in criterion.metrics
    }
    return found | {"loss": loss / len(batch)}


def mean_loss(
    criterion: Criterion, outputs: torch.Tensor, inputs: torch.Tensor, labels: torch.Tensor, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Mean over examples of the cross-entropy, in nats, or of the squared error of a reconstruction."""
    from torch.nn import functional

    if criterion.outputs == "reconstruction":
        return functional.mse_loss(outputs, inputs)
    return functional.cross_entropy(outputs, labels, label_smoothing=label_smoothing)


@contextlib.contextmanager
def in_eval_mode(module: nn.Module) -> Iterator[None]:
    """Every part in eval mode for a while; afterwards each has the mode it had."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def augmented(inputs: npt.NDArray[Any], augment: str, rng: np.random.Generator) -> npt.NDArray[Any]:
    """[n, channels, height, width] moved (and mirrored) each by a draw of its own; what comes in from outside is background, 0."""
    if augment == "none":
        return inputs
    count, _, height, width = inputs.shape
    pad_y, pad_x = (PADDING, PADDING) if augment == "crop_flip" else (max(height // 8, 1), max(width // 8, 1))
    padded = np.pad(inputs, ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)))
    rows = rng.integers(0, 2 * pad_y + 1, (count, 1)) + np.arange(height)
    columns = rng.integers(0, 2 * pad_x + 1, (count, 1)) + np.arange(width)
    if augment == "crop_flip":
        mirrored = rng.random(count) < 0.5
        columns[mirrored] = columns[mirrored, ::-1]
    moved = padded[np.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # [n, height, width, channels]
    return np.ascontiguousarray(moved.transpose(0, 3, 1, 2))


def _train_epoch(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: npt.NDArray[Any],
    labels: torch.Tensor,
    recipe: Recipe,
    criterion: Criterion,
    epoch: int,
    seed: int,
    hooks: Hooks,
) -> dict[str, float]:
    """One pass over the training split. Batches differ by at most one example: none is so small that batch-norm has nothing to average."""
    import torch

    rng = np.random.default_rng(derived_seed(seed, "epoch", epoch))
    drawn = rng.permutation(len(labels))[: recipe.epoch_examples or None]
    batches = np.array_split(drawn, math.ceil(len(drawn) / recipe.batch_size))
    total = 0.0
    module.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "torch", epoch))
        for step, chosen in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate(epoch + (step + 1) / len(batches))
            given = torch.from_numpy(augmented(inputs[chosen], recipe.augment, rng))
            outputs = module(given)
            loss = mean_loss(criterion, outputs, given, labels[chosen], recipe.label_smoothing)
            if hooks.loss:
                loss = hooks.loss(module, given, outputs, loss)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if hooks.before_step:
                hooks.before_step(module)
            optimizer.step()
            if hooks.after_step:
                hooks.after_step(module)
            total += float(loss.detach()) * len(chosen)
    mean = total / len(drawn)
    if not math.isfinite(mean):
        raise BuildError(
            f"training diverged in epoch {epoch + 1} (mean loss {mean}); lower learning_rate ({recipe.learning_rate:g})"
        )
    return {"epoch": epoch + 1, "loss": mean}


def _optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    import torch

    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999))


def _identity(module: nn.Module, data: Data, recipe: Recipe, criterion: Criterion, seed: int) -> str:
    """sha256 over the first weights, the data, the recipe, the criterion and the seed."""
    facts = [dataclasses.asdict(recipe), dataclasses.asdict(criterion), seed, data.fingerprint()]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _save(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, epochs: list[dict[str, float]]) -> None:
    """Written whole and to the disk under another name first: a kill leaves the state of the epoch before."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.part")
    with temporary.open("wb") as file:
        torch.save({"module": module.state_dict(), "optimizer": optimizer.state_dict(), "epochs": epochs}, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _resume(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> list[dict[str, float]]:
    """Load the state of the last finished epoch, if there is one; what was logged of each finished epoch."""
    import torch

    if not path.is_file():
        return []
    try:
        state: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, EOFError, KeyError, ValueError, OSError, pickle.UnpicklingError) as error:
        raise BuildError(f"{path}: this training journal is damaged ({error}); delete it to train from the start") from error
    return list(state["epochs"])
