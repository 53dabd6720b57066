"""TensorFlow Lite for Microcontrollers: its reference kernels on this CPU. The numerics and memory of an MCU, not its speed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from harness.artifact import Artifact
    from harness.compression import Numeric
    from harness.export import Exported
    from harness.suite import Workload
    from targets.target import Target

MODEL, ARENA = "model.tflite", "arena.json"
_ARENA_LINE = "Arena allocation total"
_FIRST_ARENA_BYTES, _LAST_ARENA_BYTES = 1 << 20, 1 << 30


@dataclass(frozen=True)
class TfliteMicro:
    requires: ClassVar[tuple[str, ...]] = ("tflite-micro", "numpy")
    builds_with: ClassVar[tuple[str, ...]] = ("tflite-micro",)
    reads: ClassVar[tuple[str, ...]] = (".tflite",)
    max_threads: ClassVar[int] = 1

    def supports(self, workload: Workload, numeric: Numeric, target: Target) -> str | None:  # noqa: ARG002 - any network will do
        if target.kind != "cpu":
            return f"tflite_micro here runs on CPUs, and `{target.name}` is a {target.kind}"
        return None

    def form(self, numeric: Numeric, target: Target) -> str:  # noqa: ARG002 - the same file on every CPU
        return "tflite" if numeric == "float32" else "tflite_int8"

    def build(self, exported: Exported, target: Target, folder: Path) -> Artifact:  # noqa: ARG002 - the same file on every CPU
        """The file as it was exported, and the memory that TFLM's allocator finds it needs."""
        import json
        import shutil

        from harness import environment
        from harness.artifact import Artifact
        from harness.errors import Unsupported

        if exported.path.suffix not in self.reads:
            raise Unsupported(f"tflite_micro reads .tflite files, not form `{exported.form}`")
        shutil.copyfile(exported.path, folder / MODEL)
        facts = environment.call("tflite_micro", "allocated", str(folder / MODEL))
        (folder / ARENA).write_text(json.dumps(facts))
        return Artifact.of(folder, (MODEL, ARENA), {"form": exported.form, "precision": exported.numeric, **facts})


BACKEND = TfliteMicro


def allocated(path: str) -> dict[str, Any]:
    """Bytes of the arena that the network uses, and of one that it fits in; in a process of its own, since TFLM only prints them."""
    from tflite_micro import runtime

    size = _FIRST_ARENA_BYTES
    while True:
        try:
            said = _said_by(lambda: runtime.Interpreter.from_file(path, arena_size=size).print_allocations())  # noqa: B023
        except _Failed as error:
            if "resize buffer" not in str(error) or size >= _LAST_ARENA_BYTES:
                raise NotImplementedError(f"tflite_micro cannot run this network: {error}") from error
            size *= 2
            continue
        (line,) = (line for line in said.splitlines() if _ARENA_LINE in line)
        return {"arena_bytes": int(line.split(_ARENA_LINE)[1].split()[0]), "reserved_bytes": size}


class _Failed(Exception):  # noqa: N818 - internal
    """What TFLM printed before it gave up."""


def _said_by(work: Callable[[], None]) -> str:
    """What C++ code prints meanwhile on standard output and error."""
    import tempfile

    with tempfile.TemporaryFile("w+") as log:
        kept = os.dup(1), os.dup(2)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            work()
            failure = None
        except RuntimeError as error:
            failure = error
        finally:
            for number, copy in zip((1, 2), kept):  # noqa: B905 - a device's Python 3.8 has no strict zip
                os.dup2(copy, number)
                os.close(copy)
        log.seek(0)
        said = log.read()
    if failure is not None:
        raise _Failed(" | ".join(line for line in said.splitlines() if line.strip())[-600:] or str(failure)) from failure
    return said


class Quantization(NamedTuple):
    """real = scale * (stored - zero_point): `harness.backend.TensorQuantization`, which the device does not have."""

    scale: float
    zero_point: int


class Network:
    """One network in TFLM's interpreter. Its inputs share memory with what comes after them, so each inference writes them anew."""

    def __init__(self, folder: str, options: Mapping[str, Any]) -> None:
        import json

        from tflite_micro import runtime

        if options["threads"] != 1:
            raise ValueError(f"tflite_micro runs on one thread, {options['threads']} were asked for")
        with open(os.path.join(folder, ARENA), encoding="utf-8") as file:  # noqa: PTH118, PTH123 - the runner hands strings
            self._arena = json.load(file)
        path = os.path.join(folder, MODEL)  # noqa: PTH118
        self._interpreter = runtime.Interpreter.from_file(path, arena_size=self._arena["reserved_bytes"])
        with open(path, "rb") as model:  # noqa: PTH123
            self._counts = tensor_counts(model.read())
        self._inputs: list[npt.NDArray[Any]] = []

    def set_inputs(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        if len(arrays) != self._counts[0]:
            raise ValueError(f"the network takes {self._counts[0]} inputs, {len(arrays)} were given")
        details = [self._interpreter.get_input_details(index) for index in range(len(arrays))]
        self._inputs = [stored(array, detail) for array, detail in zip(arrays, details)]  # noqa: B905 - Python 3.8

    def invoke(self) -> None:
        for index, array in enumerate(self._inputs):
            self._interpreter.set_input(array, index)
        self._interpreter.invoke()

    def outputs(self) -> list[npt.NDArray[Any]]:
        return [self._interpreter.get_output(index).copy() for index in range(self._counts[1])]

    def output_quantization(self) -> list[Quantization | None]:
        return [quantization(self._interpreter.get_output_details(index)) for index in range(self._counts[1])]

    def facts(self) -> Mapping[str, Any]:
        import importlib.metadata

        return {
            "runtime": "tflite-micro",
            "version": importlib.metadata.version("tflite-micro"),
            "kernels": "reference",
            **self._arena,
            "share": 1.0,
            "threads": 1,
            "timed": "writing the inputs and one inference: TFLM reuses the inputs' memory",
        }


def load(folder: str, file: str, options: Mapping[str, Any]) -> Network:  # noqa: ARG001 - it opens two files
    return Network(folder, options)


def tensor_counts(content: bytes) -> tuple[int, int]:
    """(inputs, outputs) of the first subgraph, which the interpreter does not tell."""
    from tflite_micro import runtime

    graph = runtime.schema_fb.Model.GetRootAsModel(content, 0).Subgraphs(0)
    return graph.InputsLength(), graph.OutputsLength()


def quantization(detail: Mapping[str, Any]) -> Quantization | None:
    """A tensor's scale and zero point; None where it has none, or one a channel."""
    given = detail["quantization_parameters"]
    if len(given["scales"]) != 1:
        return None
    return Quantization(float(given["scales"][0]), int(given["zero_points"][0]))


def stored(array: npt.NDArray[Any], detail: Mapping[str, Any]) -> npt.NDArray[Any]:
    """The array as the tensor stores it: float32 for an integer tensor is rounded to its nearest step and clipped."""
    import numpy as np

    if array.dtype == detail["dtype"]:
        return np.ascontiguousarray(array)
    step = quantization(detail)
    if array.dtype != np.float32 or step is None:
        raise TypeError(f"an input is {np.dtype(detail['dtype']).name}, {array.dtype.name} was given")
    limits = np.iinfo(detail["dtype"])
    levels = np.rint(array / np.float32(step.scale)) + step.zero_point
    return np.asarray(np.clip(levels, limits.min, limits.max), dtype=detail["dtype"])
