"""OpenVINO on the CPU: float32 forced, and int8 by quantize/dequantize pairs that it fuses into integer kernels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from harness.artifact import Artifact
    from harness.backend import TensorQuantization
    from harness.compression import Numeric
    from harness.export import Exported
    from harness.suite import Workload
    from targets.target import Target

_NOT_LAYERS = ("Const", "Input", "Output")
_HALF = {"bf16", "f16"}
_MESSAGE_CHARS = 600
_WARM_RUNS = 2
"""Inferences that the runner makes before those that it counts."""


@dataclass(frozen=True)
class OpenVino:
    requires: ClassVar[tuple[str, ...]] = ("openvino", "numpy")
    builds_with: ClassVar[tuple[str, ...]] = ("openvino", "onnx")
    reads: ClassVar[tuple[str, ...]] = (".onnx",)
    profiles: ClassVar[bool] = True

    def supports(self, workload: Workload, numeric: Numeric, target: Target) -> str | None:  # noqa: ARG002 - any network will do
        if target.kind != "cpu":
            return f"openvino here runs on CPUs, and `{target.name}` is a {target.kind}"
        return None

    def form(self, numeric: Numeric, target: Target) -> str:  # noqa: ARG002 - it writes signed activations as unsigned itself
        return "onnx" if numeric == "float32" else "onnx_qdq_u8s8"

    def build(self, exported: Exported, target: Target, folder: Path) -> Artifact:  # noqa: ARG002 - compiled where it runs
        """The file with static shapes; that OpenVINO takes every operator of it is asked of the one on this machine."""
        from harness import environment
        from harness.artifact import Artifact
        from harness.errors import Unsupported
        from harness.forms.static import write_static

        if exported.path.suffix not in self.reads:
            raise Unsupported(f"openvino reads .onnx files, not form `{exported.form}`")
        write_static(exported, folder / "model.onnx", fold=False)
        facts = environment.call("openvino", "compiled", str(folder / "model.onnx"))
        return Artifact.of(folder, ("model.onnx",), {"form": exported.form, "precision": exported.numeric, **facts})


BACKEND = OpenVino


def compiled(path: str) -> dict[str, Any]:
    """What OpenVINO makes of a file on the build machine; in a process of its own."""
    import openvino

    try:
        network = _compile(path, 1)
    except RuntimeError as error:  # its faults of conversion and of compilation alike
        # Lines about where in OpenVINO's own sources it happened say nothing of the network.
        lines = [line.strip("- ") for line in str(error).splitlines() if line.strip() and "src/" not in line]
        why = "; ".join(lines)[-_MESSAGE_CHARS:] or str(error)
        raise NotImplementedError(f"openvino {openvino.__version__} cannot compile this network: {why}") from error
    return {"layers_on_build_machine": layers(network)}


def _compile(path: str, threads: int, profile: bool = False) -> Any:
    import openvino

    # On a CPU with bf16 units the default is bf16 for a float32 network.
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "PERF_COUNT": profile,
    }
    return openvino.Core().compile_model(path, "CPU", settings)


def layers(network: Any) -> dict[str, int]:
    """How many layers the compiled network executes in which precision: `f32 Convolution`, read from the network itself."""
    found: dict[str, int] = {}
    for operator in network.get_runtime_model().get_ordered_ops():
        said = operator.get_rt_info()
        kind, precision = str(said["layerType"].value), str(said["runtimePrecision"].value)
        if kind not in _NOT_LAYERS:
            found[f"{precision} {kind}"] = found.get(f"{precision} {kind}", 0) + 1
    return dict(sorted(found.items()))


class Network:
    """One compiled network and the one request that runs it."""

    def __init__(self, path: str, options: Mapping[str, Any]) -> None:
        self._is_profiled = bool(options.get("profile"))
        self._network = _compile(path, options["threads"], self._is_profiled)
        self._layers = layers(self._network)
        half = [layer for layer in self._layers if layer.split()[0] in _HALF]
        if half:
            raise RuntimeError(f"float32 was asked for, and OpenVINO chose {', '.join(half)}")
        self._request = self._network.create_infer_request()
        self._bound: list[Any] = []
        self._cold: dict[str, float] = {}

    def set_inputs(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        import numpy as np
        import openvino

        if len(arrays) != len(self._network.inputs):
            raise ValueError(f"the network takes {len(self._network.inputs)} inputs, {len(arrays)} were given")
        # The tensors share the arrays' memory, which must live as long as they do.
        self._bound = [np.array(array, order="C") for array in arrays]
        for index, (port, array) in enumerate(zip(self._network.inputs, self._bound)):  # noqa: B905 - a device's Python 3.8
            if port.get_element_type().to_dtype() != array.dtype or list(port.shape) != list(array.shape):
                wanted = f"{port.get_element_type().get_type_name()}{list(port.shape)}"
                raise TypeError(f"input `{port.any_name}` is {wanted}, {array.dtype}{list(array.shape)} was given")
            self._request.set_input_tensor(index, openvino.Tensor(array, shared_memory=True))
        if self._is_profiled:
            # Its counters are means over all inferences, and in the first a kernel may take a hundred times as long.
            self.invoke()
            self._cold = {operator["name"]: operator["time_s"] for operator in self._counters()}

    def invoke(self) -> None:
        self._request.infer()

    def outputs(self) -> list[npt.NDArray[Any]]:
        return [self._request.get_output_tensor(index).data.copy() for index in range(len(self._network.outputs))]

    def output_quantization(self) -> list[TensorQuantization | None]:
        return [None for _ in self._network.outputs]

    def operators(self, runs: int) -> list[dict[str, Any]]:
        """From OpenVINO's own counters, in whole microseconds: means over all but the first inference."""
        later = runs + _WARM_RUNS
        found = self._counters()
        return [o | {"time_s": max(0.0, o["time_s"] * (later + 1) - self._cold[o["name"]]) / later} for o in found]

    def _counters(self) -> list[dict[str, Any]]:
        return [
            {"name": node.node_name, "op": node.node_type, "time_s": node.real_time.total_seconds()}
            for node in self._request.get_profiling_info()
            if str(node.status) == "Status.EXECUTED"
        ]

    def facts(self) -> Mapping[str, Any]:
        import openvino

        return {
            "runtime": "openvino",
            "version": openvino.__version__,
            "device": self._network.get_property("EXECUTION_DEVICES"),
            "layers": self._layers,
            "share": 1.0,
            "precision_hint": self._network.get_property("INFERENCE_PRECISION_HINT").get_type_name(),
            "threads": self._network.get_property("INFERENCE_NUM_THREADS"),
            "streams": self._network.get_property("NUM_STREAMS"),
        }


def load(folder: str, file: str, options: Mapping[str, Any]) -> Network:
    return Network(os.path.join(folder, file), options)  # noqa: PTH118 - the runner hands strings
