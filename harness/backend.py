"""The shape of a backend plug-in, host side and device side.

A backend file has two halves. The host half is `BACKEND`, a frozen dataclass whose fields are the parameters a suite may set.
The device half is a function `load`; the file itself is pushed to the device beside the Python runner, so at import it may need nothing
but the standard library (annotations stay text, everything of ours is imported inside the host's functions or under TYPE_CHECKING).
A backend that builds a program which is its own runner (`runners/program/`) has no device half, and its devices need no Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

from harness import environment, plugins
from harness.plugins import Choice

if TYPE_CHECKING:
    import numpy.typing as npt

    from harness.artifact import Artifact
    from harness.compression import Numeric
    from harness.export import Exported
    from harness.suite import Workload
    from targets.target import Target


class TensorQuantization(NamedTuple):
    """real = scale * (stored - zero_point), for a tensor that the network takes or gives as integers."""

    scale: float
    zero_point: int


class Network(Protocol):
    """What `load` returns on the device. Only `invoke` is timed."""

    def set_inputs(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        """One array an input, of the network's own shape, float32 (quantized here, outside the timed region) or its own dtype."""

    def invoke(self) -> None:
        """One inference over the inputs set before, finished when it returns."""

    def outputs(self) -> list[npt.NDArray[Any]]:
        """Copies of the raw outputs of the last `invoke`."""

    def output_quantization(self) -> list[TensorQuantization | None]:
        """How to read each output; None for a float one."""

    def facts(self) -> Mapping[str, Any]:
        """What really runs: runtime version, delegate or provider in use, share of operators it took, threads."""


class Profiled(Network, Protocol):
    """A network whose runtime can say where the time goes, when it was opened with the option `profile`."""

    def operators(self, runs: int) -> Sequence[Mapping[str, Any]]:
        """`name`, `op` and `time_s` (typical of the last `runs` inferences) of each operator, in the order they run."""


class Load(Protocol):
    def __call__(self, folder: str, file: str, options: Mapping[str, Any]) -> Network:
        """Open an artifact on the device. `options`: `threads`, and the backend's own parameters by name."""


class Backend(Protocol):
    """The shape of a BACKEND: a frozen dataclass whose fields are its parameters."""

    requires: ClassVar[tuple[str, ...]]
    """Distributions the device's Python must have; their versions go into the record."""
    reads: ClassVar[tuple[str, ...]]
    """Suffixes of model files that `bench` may hand it as they are."""

    # And, where it needs them:
    #   builds_with: ClassVar[tuple[str, ...]]   distributions that `build` needs on this machine
    #   environment: ClassVar[tuple[str, ...]]   what pip installs into an environment of its own, where Assay's cannot hold it
    #   max_threads: ClassVar[int]               the most threads it runs on
    #   runner: ClassVar[str] = "program"        the artifact's first file is a program that is its own runner; there is no `load`
    #   profiles: ClassVar[bool]                 whether what `load` returns is Profiled

    def supports(self, workload: Workload, numeric: Numeric, target: Target) -> str | None:
        """Why this cell cannot be, or None. Static: asked while planning, nothing is loaded."""

    def form(self, numeric: Numeric, target: Target) -> str:
        """Name of the form in `harness/export.py` that this backend takes."""

    def build(self, exported: Exported, target: Target, folder: Path) -> Artifact:
        """Write the artifact's files into `folder` and return them hashed; Unsupported, naming the node, if it turns out it cannot."""


def runner(backend: Any) -> Literal["python", "program"]:
    """What runs a backend's artifacts on a device: the Python runner, or the artifact itself (`runners/program/`)."""
    found: Literal["python", "program"] = getattr(backend, "runner", "python")
    return found


def refusal(choice: Choice, workload: Workload, numeric: Numeric, target: Target, threads: int) -> str | None:
    """Why a backend as it is installed here cannot do something, or None; for a missing runtime, how to get it."""
    backend = plugins.instantiate("backends", choice)
    most: int | None = getattr(backend, "max_threads", None)
    if most is not None and threads > most:
        return f"{choice.name} runs on {most} thread{'s' if most > 1 else ''}, not on {threads}"
    if target.python == "none" and runner(backend) == "python":
        return f"{choice.name} runs in Python, and target `{target.name}` has none (`python: none`)"
    reason: str | None = backend.supports(workload, numeric, target)
    return reason or environment.missing(choice.name, target)
