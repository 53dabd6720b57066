"""Weights on disk: one state dict a file, read without ever unpickling code, and refused by name where it does not fit."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from harness.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

SLACK_BYTES = 16 << 20
"""What a file may hold beside the module's own tensors; a checkpoint far larger than its network is not one."""


@runtime_checkable
class Translates(Protocol):
    """A network that also takes a checkpoint published with another implementation's names."""

    def translated(self, state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """The published tensors by the network's own names; its own as they are."""


def load_weights(module: nn.Module, path: Path | str, *, without: str = "") -> None:
    """Load a safetensors file, or a torch state dict (read with `weights_only=True`), in place; UserError names what does not fit.

    The layer named `without` keeps its own weights, whatever the file holds for it.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; give the path of a .safetensors file or of a torch state dict")
    expected = module.state_dict()
    limit = 4 * sum(t.numel() * t.element_size() for t in expected.values()) + SLACK_BYTES
    if path.stat().st_size > limit:
        raise UserError(
            f"{path}: {path.stat().st_size:,} bytes are too many for this network (at most {limit:,}); is it another's?"
        )
    state = _read(path)
    state = module.translated(state) if isinstance(module, Translates) else state
    # How many batches a batch-norm has seen decides nothing, and publishers leave it out.
    counters = {name: tensor for name, tensor in expected.items() if name.endswith("num_batches_tracked")}
    kept = {name: tensor for name, tensor in expected.items() if without and name.startswith(f"{without}.")}
    state = counters | dict(state) | kept
    problems = _differences(expected, state)
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise UserError(f"{path}: does not fit this network: {shown}; use the checkpoint of the same model and parameters")
    module.load_state_dict(state)


def save_weights(module: nn.Module, path: Path) -> None:
    """Write the state dict as safetensors, whole or not at all."""
    from safetensors.torch import save

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    temporary.write_bytes(save({name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}))
    temporary.replace(path)


def _read(path: Path) -> Mapping[str, torch.Tensor]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, KeyError, ValueError, OSError, pickle.UnpicklingError) as error:
        said = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{path}: cannot be read as a checkpoint ({said}); it is damaged or of another kind") from error
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise UserError(f"{path}: holds no state dict (names and tensors, nothing else); save `module.state_dict()`")
    return state


def _differences(expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> list[str]:
    import torch

    problems = [f"`{name}` is missing" for name in expected if name not in found]
    problems += [f"`{name}` is not of this network" for name in found if name not in expected]
    for name in (name for name in expected if name in found):
        if expected[name].shape != found[name].shape:
            problems.append(f"`{name}` is {list(found[name].shape)}, not {list(expected[name].shape)}")
        elif found[name].is_floating_point() and not bool(torch.isfinite(found[name]).all()):
            problems.append(f"`{name}` holds values that are not finite")
    return problems
