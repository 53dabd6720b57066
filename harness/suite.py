"""Suite: workloads x methods x backends x targets x operating points, and how to measure; loaded strictly from YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Choice:
    """A plug-in's name plus the parameters that differ from its defaults, in the order of its fields."""

    name: str
    params: tuple[tuple[str, Any], ...] = ()

    @property
    def label(self) -> str:
        """`magnitude_prune(sparsity=0.9)`: stable, what tables print and cell keys hash."""
        if not self.params:
            return self.name
        return f"{self.name}({', '.join(f'{key}={_text(value)}' for key, value in self.params)})"

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True, slots=True)
class Workload:
    """What is measured: a network, or one layer of it."""

    model: Choice
    data: str
    """Name of the data set the model is judged by."""
    layer: str | None = None
    """Dotted module name of the one layer; None for the whole network."""

    @property
    def label(self) -> str:
        return self.model.label if self.layer is None else f"{self.model.label}/{self.layer}"


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    threads: int = 1
    batch: int = 1


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to measure: a launch's timing ends when least samples *and* least seconds are both met."""

    launches: int = 3
    """Process launches a cell: the unit of statistics."""
    warmup_samples: int = 5
    warmup_s: float = 0.1
    min_samples: int = 30
    min_s: float = 1.0
    min_sample_s: float = 0.005
    """A sample repeats the inference until it lasts this long."""
    max_launch_s: float = 300.0
    """A launch that takes longer is killed on the device and the cell fails."""
    check_inputs: int = 8
    """Examples whose answers are compared with the reference before anything is timed."""
    evaluation_size: int | None = None
    """Test examples that accuracy is measured on; None: all."""


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_text(v) for v in value) + "]"
    return format(value, "g") if isinstance(value, float) else str(value)
