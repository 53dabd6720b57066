"""LiteRT (TFLite): float32 and int8, by default through its XNNPACK delegate."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from harness.artifact import Artifact
    from harness.compression import Numeric
    from harness.export import Exported
    from harness.suite import Workload
    from targets.target import Target


@dataclass(frozen=True)
class LiteRT:
    delegate: Literal["xnnpack", "none", "reference"] = "xnnpack"
    """Which kernels: `xnnpack`, LiteRT's own optimized ones (`none`), or its slow, plain reference ones."""

    requires: ClassVar[tuple[str, ...]] = ("ai-edge-litert", "numpy")
    reads: ClassVar[tuple[str, ...]] = (".tflite",)

    def supports(self, workload: Workload, numeric: Numeric, target: Target) -> str | None:  # noqa: ARG002 - any network will do
        if target.kind != "cpu":
            return f"litert here runs on CPUs, and `{target.name}` is a {target.kind}"
        return None

    def form(self, numeric: Numeric, target: Target) -> str:  # noqa: ARG002 - the same file on every CPU
        return "tflite" if numeric == "float32" else "tflite_int8"

    def build(self, exported: Exported, target: Target, folder: Path) -> Artifact:  # noqa: ARG002 - the same file on every CPU
        """The file as it was exported."""
        import shutil

        from harness.artifact import Artifact
        from harness.errors import Unsupported

        if exported.path.suffix not in self.reads:
            raise Unsupported(f"litert reads .tflite files, not form `{exported.form}`")
        shutil.copyfile(exported.path, folder / "model.tflite")
        ranges = exported.facts.get("activation_ranges")
        facts = {"form": exported.form, "precision": exported.numeric, "activation_ranges": ranges}
        return Artifact.of(folder, ("model.tflite",), facts)


BACKEND = LiteRT


class Quantization(NamedTuple):
    """real = scale * (stored - zero_point): `harness.backend.TensorQuantization`, which the device does not have."""

    scale: float
    zero_point: int


class Network:
    """One network in LiteRT's interpreter."""

    def __init__(self, path: str, options: Mapping[str, Any]) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self._asked = options.get("delegate", "xnnpack")
        resolver = {
            "xnnpack": OpResolverType.AUTO,
            "none": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            "reference": OpResolverType.BUILTIN_REF,
        }[self._asked]
        self._threads = options["threads"]
        self._interpreter = Interpreter(path, num_threads=self._threads, experimental_op_resolver_type=resolver)
        self._interpreter.allocate_tensors()

    def set_inputs(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        details = self._interpreter.get_input_details()
        if len(arrays) != len(details):
            raise ValueError(f"the network takes {len(details)} inputs, {len(arrays)} were given")
        pairs = list(zip(arrays, details))  # noqa: B905 - a device's Python 3.8 has no strict zip
        if any(tuple(array.shape) != tuple(detail["shape"]) for array, detail in pairs):
            for array, detail in pairs:
                self._interpreter.resize_tensor_input(detail["index"], array.shape, strict=True)
            self._interpreter.allocate_tensors()
        for array, detail in pairs:
            self._interpreter.set_tensor(detail["index"], stored(array, detail))

    def invoke(self) -> None:
        self._interpreter.invoke()

    def outputs(self) -> list[npt.NDArray[Any]]:
        return [self._interpreter.get_tensor(detail["index"]) for detail in self._interpreter.get_output_details()]

    def output_quantization(self) -> list[Quantization | None]:
        return [quantization(detail) for detail in self._interpreter.get_output_details()]

    def facts(self) -> Mapping[str, Any]:
        import ai_edge_litert

        operators = self._interpreter._get_ops_details()
        taken, total = delegated(operators)
        return {
            "runtime": "ai-edge-litert",
            "version": getattr(ai_edge_litert, "__version__", None),
            "delegate_asked": self._asked,
            "delegate": "xnnpack" if taken else "none",
            "share": taken / total if self._asked == "xnnpack" and total else 1.0,
            "operators": total,
            "operators_delegated": taken,
            "threads": self._threads,
        }


def load(folder: str, file: str, options: Mapping[str, Any]) -> Network:
    return Network(os.path.join(folder, file), options)  # noqa: PTH118 - the runner hands strings


def quantization(detail: Mapping[str, Any]) -> Quantization | None:
    """A tensor's scale and zero point; None for a float tensor, and for an integer one that is not quantized."""
    scale, zero_point = detail["quantization"]
    return Quantization(float(scale), int(zero_point)) if scale else None


def stored(array: npt.NDArray[Any], detail: Mapping[str, Any]) -> npt.NDArray[Any]:
    """The array as the tensor stores it: float32 for an integer tensor is rounded to its nearest step and clipped."""
    import numpy as np

    if array.dtype == detail["dtype"]:
        return array
    step = quantization(detail)
    if array.dtype != np.float32 or step is None:
        raise TypeError(f"input `{detail['name']}` is {np.dtype(detail['dtype']).name}, {array.dtype.name} was given")
    limits = np.iinfo(detail["dtype"])
    levels = np.rint(array / np.float32(step.scale)) + step.zero_point
    return np.asarray(np.clip(levels, limits.min, limits.max), dtype=detail["dtype"])


def delegated(operators: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """(operators that delegates took, operators of the network).

    The interpreter lists a network's own operators first, replaced or not, then one DELEGATE node for each part that was taken over.
    What such a node replaced are the operators between its outputs and its inputs, so they are found by walking back from the outputs.
    """
    own = [op for op in operators if op["op_name"] != "DELEGATE"]
    producer = {int(tensor): position for position, op in enumerate(own) for tensor in op["outputs"]}
    taken: set[int] = set()
    for node in operators:
        if node["op_name"] != "DELEGATE":
            continue
        given = {int(tensor) for tensor in node["inputs"]}
        wanted = [int(tensor) for tensor in node["outputs"]]
        while wanted:
            position = producer.get(wanted.pop())
            if position is None or position in taken:
                continue
            taken.add(position)
            wanted.extend(int(tensor) for tensor in own[position]["inputs"] if int(tensor) not in given)
    return len(taken), len(own)
