"""ONNX Runtime on the CPU: float32, and int8 by quantize/dequantize pairs that it fuses into integer kernels."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

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


@dataclass(frozen=True)
class OnnxRuntime:
    graph_optimization: Literal["all", "extended", "basic", "none"] = "all"
    """How far ONNX Runtime rewrites the graph when it opens it; int8 networks run on integer kernels from `extended` on."""

    requires: ClassVar[tuple[str, ...]] = ("onnxruntime", "numpy")
    reads: ClassVar[tuple[str, ...]] = (".onnx",)
    profiles: ClassVar[bool] = True

    def supports(self, workload: Workload, numeric: Numeric, target: Target) -> str | None:  # noqa: ARG002 - any network will do
        if target.kind != "cpu":
            return f"onnxruntime here runs on CPUs, and `{target.name}` is a {target.kind}"
        if numeric == "int8" and self.graph_optimization in ("basic", "none"):
            return f"with graph_optimization={self.graph_optimization} an int8 network would be computed in float32; take `extended` or `all`"
        return None

    def form(self, numeric: Numeric, target: Target) -> str:
        if numeric == "float32":
            return "onnx"
        # Arm's byte dot products are signed x signed; x86's are unsigned x signed, and 2.7 times slower the other way.
        return "onnx_qdq_s8s8" if _is_arm(target) else "onnx_qdq_u8s8"

    def build(self, exported: Exported, target: Target, folder: Path) -> Artifact:
        """The file as it was exported, with the files it keeps weights in, if any."""
        from harness.artifact import Artifact
        from harness.errors import Unsupported

        if exported.path.suffix not in self.reads:
            raise Unsupported(f"onnxruntime reads .onnx files, not form `{exported.form}`")
        names = ("model.onnx", *exported.facts.get("external_data", ()))
        for name, source in zip(names, (exported.path, *(exported.path.parent / name for name in names[1:])), strict=True):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)
        facts: dict[str, Any] = {"form": exported.form, "precision": exported.numeric}
        facts["ops_optimized_on_build_machine"] = self._optimized_ops(folder / "model.onnx", arm=_is_arm(target))
        return Artifact.of(folder, names, facts)

    def _optimized_ops(self, model: Path, *, arm: bool) -> dict[str, int]:
        """Operator counts after ONNX Runtime's own rewriting, which show whether integer kernels were chosen.

        They are those of the build machine's kernels; another instruction set may have others.
        """
        from collections import Counter
        from pathlib import Path

        import onnx
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as faults

        from harness.errors import Unsupported

        with tempfile.TemporaryDirectory() as scratch:
            options = session_options(onnxruntime, {"threads": 1, "graph_optimization": self.graph_optimization})
            options.log_severity_level = 3  # the warning that the saved graph is for this machine only: it is thrown away
            if arm:
                # What ONNX Runtime takes for granted on Arm and not on x86: that signed activations have kernels.
                options.add_session_config_entry("session.qdqisint8allowed", "1")
            options.optimized_model_filepath = str(Path(scratch) / "optimized.onnx")
            try:
                onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
            except (
                faults.Fail,
                faults.InvalidArgument,
                faults.InvalidGraph,
                faults.NotImplemented,
                faults.RuntimeException,
            ) as error:
                raise Unsupported(f"onnxruntime {onnxruntime.__version__} cannot open this network: {error}") from error
            graph = onnx.load(options.optimized_model_filepath, load_external_data=False).graph
        return dict(sorted(Counter(node.op_type for node in graph.node).items()))


BACKEND = OnnxRuntime


def _is_arm(target: Target) -> bool:
    import platform

    return (target.isa or platform.machine()).startswith(("aarch64", "arm"))


def session_options(onnxruntime: Any, options: Mapping[str, Any]) -> Any:
    """ONNX Runtime's own settings from ours."""
    levels = onnxruntime.GraphOptimizationLevel
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = options["threads"]
    chosen.inter_op_num_threads = 1
    chosen.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    chosen.graph_optimization_level = {
        "all": levels.ORT_ENABLE_ALL,
        "extended": levels.ORT_ENABLE_EXTENDED,
        "basic": levels.ORT_ENABLE_BASIC,
        "none": levels.ORT_DISABLE_ALL,
    }[options.get("graph_optimization", "all")]
    return chosen


def interquartile_mean(values: Sequence[float]) -> float:
    """Mean of the middle half."""
    ordered, quarter = sorted(values), len(values) // 4
    middle = ordered[quarter : len(ordered) - quarter]
    return sum(middle) / len(middle)


class Session:
    """One network in ONNX Runtime, its tensors bound once: a bound run costs 1.4 us less than one that takes and gives arrays."""

    def __init__(self, path: str, options: Mapping[str, Any]) -> None:
        import onnxruntime

        self._runtime = onnxruntime
        self._threads = options["threads"]
        chosen = session_options(onnxruntime, options)
        if options.get("profile"):
            chosen.enable_profiling = True
            chosen.profile_file_prefix = os.path.join(tempfile.mkdtemp(prefix="assay-profile-"), "p")  # noqa: PTH118
        self._session = onnxruntime.InferenceSession(path, chosen, providers=["CPUExecutionProvider"])
        self._inputs = [(i.name, i.type) for i in self._session.get_inputs()]
        self._binding = self._session.io_binding()
        self._bound: list[Any] = []

    def set_inputs(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        if len(arrays) != len(self._inputs):
            raise ValueError(f"the network takes {len(self._inputs)} inputs, {len(arrays)} were given")
        # The binding holds addresses only: the values must live as long as it does.
        self._bound = [self._runtime.OrtValue.ortvalue_from_numpy(array) for array in arrays]
        for (name, kind), value in zip(self._inputs, self._bound):  # noqa: B905 - a device's Python 3.8 has no strict zip
            if value.data_type() != kind:
                raise TypeError(f"input `{name}` is {kind}, {value.data_type()} was given")
            self._binding.bind_ortvalue_input(name, value)
        # Outputs keep the shape of the first run they are bound for, and inputs of another shape may come.
        self._binding.clear_binding_outputs()
        for output in self._session.get_outputs():
            self._binding.bind_output(output.name, "cpu")

    def invoke(self) -> None:
        self._session.run_with_iobinding(self._binding)

    def outputs(self) -> list[npt.NDArray[Any]]:
        return list(self._binding.copy_outputs_to_cpu())

    def output_quantization(self) -> list[TensorQuantization | None]:
        """ONNX tensors carry no scale: what they hold is what they mean."""
        return [None for _ in self._session.get_outputs()]

    def operators(self, runs: int) -> list[dict[str, Any]]:
        """From ONNX Runtime's own trace, whose times are whole microseconds: so a mean, and of the middle half against interruptions."""
        trace = self._session.end_profiling()
        with open(trace, encoding="utf-8") as file:  # noqa: PTH123
            events = [event for event in json.load(file) if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
        shutil.rmtree(os.path.dirname(trace))  # noqa: PTH120
        spent: dict[str, list[float]] = {}
        for event in events:
            spent.setdefault(event["args"]["node_index"], []).append(event["dur"] * 1e-6)
        first = {event["args"]["node_index"]: event for event in reversed(events)}
        return [
            {
                "name": first[node]["name"][: -len("_kernel_time")],
                "op": first[node]["args"]["op_name"],
                "time_s": interquartile_mean(times[-runs:]),
            }
            for node, times in spent.items()
        ]

    def facts(self) -> Mapping[str, Any]:
        return {
            "runtime": "onnxruntime",
            "version": self._runtime.__version__,
            "providers": self._session.get_providers(),
            "share": 1.0,
            "threads": self._threads,
            # Worker threads of a session spin between runs unless told otherwise; with one thread there are none.
            "spinning": self._threads > 1,
        }


def load(folder: str, file: str, options: Mapping[str, Any]) -> Session:
    return Session(os.path.join(folder, file), options)  # noqa: PTH118 - the runner hands strings
