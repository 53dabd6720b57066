"""Suite: workloads x methods x backends x targets x operating points, and how to measure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le

from harness import plugins
from harness.criterion import Metric
from harness.plugins import Choice
from results.paper import POINT_AXES, FigureSpec, TableSpec
from targets.target import Target


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
    """How a device is run while it is timed. None: as it is."""

    threads: int = 1
    batch: int = 1
    cpus: tuple[int, ...] | None = None
    """That the runner is bound to, ascending."""
    governor: str | None = None
    frequency_hz: int | None = None

    @property
    def axes(self) -> dict[str, Any]:
        """As fields of `Axes`: CPUs as a label."""
        return {axis: getattr(self, axis) for axis in POINT_AXES} | {"cpus": None if self.cpus is None else cpu_label(self.cpus)}

    @property
    def labels(self) -> dict[str, str]:
        """As conditions and reports name them; empty for what is as it is."""
        return {axis: as_label(value) for axis, value in self.axes.items()}

    def refusal(self, target: Target) -> str | None:
        """Why a device, as the inventory describes it, cannot be run so."""
        most = max(target.thread_counts, default=None)
        if self.frequency_hz is not None and target.frequencies_hz and self.frequency_hz not in target.frequencies_hz:
            steps = ", ".join(map(str, target.frequencies_hz))
            return f"{target.name} cannot be held at {self.frequency_hz} Hz; its `frequencies_hz` are {steps}"
        if most is not None and self.cpus is not None and self.cpus[-1] >= most:
            return f"{target.name} has no CPU {self.cpus[-1]}; by its `thread_counts` the last one is {most - 1}"
        if self.governor is not None or self.frequency_hz is not None:
            return f"{target.name} is {target.origin}: it has no clock to set" if target.origin != "measured" else None
        return None


def as_label(value: Any) -> str:
    """A value of an axis as conditions name it: empty for what the suite does not ask for."""
    return "" if value is None else str(value)


def cpu_label(cpus: Sequence[int]) -> str:
    """`0-3,6` of ascending numbers."""
    runs: list[list[int]] = []
    for cpu in cpus:
        if runs and cpu == runs[-1][-1] + 1:
            runs[-1].append(cpu)
        else:
            runs.append([cpu])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to measure: a launch's timing ends when least samples *and* least seconds are both met."""

    launches: Annotated[int, Ge(1), Le(1000)] = 3
    """Process launches a cell: the unit of statistics."""
    warmup_samples: Annotated[int, Ge(0), Le(10**6)] = 5
    warmup_s: Annotated[float, Ge(0), Le(3600)] = 0.1
    min_samples: Annotated[int, Ge(1), Le(10**6)] = 30
    min_s: Annotated[float, Ge(0), Le(3600)] = 1.0
    min_sample_s: Annotated[float, Gt(0), Le(60)] = 0.005
    """A sample repeats the inference until it lasts this long."""
    max_launch_s: Annotated[float, Gt(0), Le(86400)] = 300.0
    """A launch that takes longer is killed on the device and the cell fails."""
    retries: Annotated[int, Ge(0), Le(20)] = 2
    """How often a block of cells is tried again after its device was lost, rebooted or throttled. Decides no number."""
    check_inputs: Annotated[int, Ge(1), Le(64)] = 8
    """Examples whose answers are compared with the reference before anything is timed."""
    profile: bool = False
    """After the timing, one more launch under the runtime's own profiler, where it has one, and the roofline of the machine."""
    evaluation_size: Annotated[int, Ge(1)] | None = None
    """Test examples that accuracy is measured on; None: all."""
    energy_s: Annotated[float, Ge(0), Le(3600)] = 0.0
    """Least seconds of steady looping that energy is measured over, on targets that have a meter; 0: no energy. MLPerf Tiny asks for 10."""
    energy_windows: Annotated[int, Ge(1), Le(100)] = 5
    """Such windows a cell, each a process launch of its own."""
    idle_s: Annotated[float, Ge(0), Le(600)] = 5.0
    """The device idles so long before and after the windows, which tells its net energy; 0: gross energy alone."""
    sustained_s: Annotated[float, Ge(0), Le(14000)] = 0.0
    """A cell loops so long without a rest in one launch more, while its temperature and clock are read; 0: not at all. 1800 is what a phone
    takes to become as warm as it will be."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A set of cells: those whose axes match every pattern. One item of `include` or `exclude`."""

    patterns: tuple[tuple[str, tuple[str, ...]], ...]
    """(axis, alternatives); `*` in an alternative stands for any text."""
    where: str
    """`suite.yaml:12`, for messages."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The least quality that a model's answers must have, compressed or not, for its other figures to count."""

    model: str
    """Label of a whole network."""
    metric: Metric
    """The first of the model's own."""
    least: float


@dataclass(frozen=True, slots=True)
class Suite:
    """What is compared and how it is measured. Every name in it resolves."""

    name: str
    about: str
    path: Path
    workloads: tuple[Workload, ...]
    methods: tuple[Choice, ...]
    backends: tuple[Choice, ...]
    targets: tuple[str, ...]
    points: tuple[OperatingPoint, ...]
    sampling: Sampling
    baseline: tuple[tuple[str, str], ...]
    """(axis, label): a ratio is relative to the cell with these axes replaced and all others equal."""
    include: tuple[Condition, ...]
    exclude: tuple[Condition, ...]
    tables: tuple[TableSpec, ...]
    figures: tuple[FigureSpec, ...]
    gates: tuple[Gate, ...]
    seed: int

    def to_json(self) -> dict[str, Any]:
        """All that a report needs of the suite; stored with the Run."""
        return {
            "name": self.name,
            "about": self.about,
            "models": [workload.label for workload in self.workloads],
            "methods": [choice.label for choice in self.methods],
            "backends": [choice.label for choice in self.backends],
            "targets": list(self.targets),
            "operating_points": [point.axes for point in self.points],
            "sampling": dataclasses.asdict(self.sampling),
            "baseline": dict(self.baseline),
            "defaults": {choice.name: plugins.defaults("methods", choice.name) for choice in self.methods},
            "tables": [dataclasses.asdict(table) for table in self.tables],
            "figures": [dataclasses.asdict(figure) for figure in self.figures],
            "gates": {gate.model: {"metric": gate.metric, "least": gate.least} for gate in self.gates},
            "seed": self.seed,
        }
