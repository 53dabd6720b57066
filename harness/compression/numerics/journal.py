"""Tensors that are computed once: after a kill they are read from the journal."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path

import torch


def once(journal: Path, facts: str, compute: Callable[[], Iterable[torch.Tensor]]) -> list[torch.Tensor]:
    """What `compute` gives, kept in a journal folder under `facts`, which say all that it depends on there, and mapped from the file: what is
    not looked at takes no memory."""
    path = journal / f"{facts.split()[0]}-{hashlib.sha256(facts.encode()).hexdigest()[:16]}.pt"
    try:
        return _read(path)
    except (FileNotFoundError, RuntimeError, EOFError, pickle.UnpicklingError):  # not there, or cut short by a kill
        journal.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part")
        torch.save(list(compute()), temporary)
        temporary.replace(path)
        return _read(path)


def _read(path: Path) -> list[torch.Tensor]:
    found: list[torch.Tensor] = torch.load(path, weights_only=True, mmap=True)
    return found
