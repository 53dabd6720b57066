"""Apache TVM: the network compiled ahead of time by LLVM with TVM's default schedules, untuned (which is far from what tuning gives)."""

from __future__ import annotations

import os
import statistics
import time
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


@dataclass(frozen=True)
class Tvm:
    requires: ClassVar[tuple[str, ...]] = ("apache-tvm", "numpy")
    builds_with: ClassVar[tuple[str, ...]] = ("onnx",)
    # It wants a newer typing_extensions than LiteRT's converter bears.
    environment: ClassVar[tuple[str, ...]] = ("apache-tvm>=0.27,<0.28", "numpy>=2.4,<3", "onnx>=1.23,<2")
    reads: ClassVar[tuple[str, ...]] = (".onnx",)
    profiles: ClassVar[bool] = True

    def supports(self, workload: Workload, numeric: Numeric, target: Target) -> str | None:  # noqa: ARG002 - any network will do
        if target.kind != "cpu":
            return f"tvm here runs on CPUs, and `{target.name}` is a {target.kind}"
        if target.transport != "local":
            return f"tvm here compiles for the CPU it is built on, and `{target.name}` is reached by {target.transport}"
        if numeric != "float32":
            return "tvm's ONNX front end keeps convolutions between quantize and dequantize in float32: it would time another network"
        return None

    def form(self, numeric: Numeric, target: Target) -> str:  # noqa: ARG002 - float32 only
        return "onnx"

    def build(self, exported: Exported, target: Target, folder: Path) -> Artifact:  # noqa: ARG002 - for this machine
        import tempfile
        from pathlib import Path

        from harness import environment
        from harness.artifact import Artifact
        from harness.errors import Unsupported
        from harness.forms.static import write_static

        if exported.path.suffix not in self.reads:
            raise Unsupported(f"tvm reads .onnx files here, not form `{exported.form}`")
        with tempfile.TemporaryDirectory(prefix="assay-tvm-") as scratch:
            source = Path(scratch) / "model.onnx"
            write_static(exported, source)
            facts = environment.call("tvm", "compile_network", str(source), str(folder / "model.so"))
        return Artifact.of(folder, ("model.so",), {"form": exported.form, "precision": exported.numeric, **facts})


BACKEND = Tvm


def compile_network(source: str, destination: str) -> dict[str, Any]:
    """ONNX -> Relax -> a shared library; in a process of its own, in TVM's environment."""
    import onnx
    import tvm
    from tvm.relax.frontend.onnx import from_onnx

    target = tvm.target.Target({"kind": "llvm", "mcpu": tvm.target.codegen.llvm_get_system_cpu()})
    try:
        module = from_onnx(onnx.load(source), keep_params_in_input=False)
        with target:
            library = tvm.compile(module, target=target)
    except (
        tvm.error.OpNotImplemented,
        NotImplementedError,
        ValueError,
        AssertionError,
        KeyError,
        TypeError,
        RuntimeError,
    ) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise NotImplementedError(f"tvm {tvm.__version__} cannot compile this network: {lines[-1][:600]}") from error
    library.export_library(destination)
    return {"target": str(target), "tuned": False, "tvm": tvm.__version__}


class Network:
    """One library in TVM's virtual machine."""

    def __init__(self, path: str, options: Mapping[str, Any]) -> None:
        os.environ["TVM_NUM_THREADS"] = str(options["threads"])  # read once, when the pool of threads is made
        import tvm
        from tvm import relax

        self._tvm = tvm
        self._threads = options["threads"]
        self.machine = relax.VirtualMachine(tvm.runtime.load_module(path), tvm.cpu())
        self._function = self.machine["main"]
        self._inputs: list[Any] = []
        self._outputs: Any = ()

    def set_inputs(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        self._inputs = [self._tvm.runtime.tensor(array) for array in arrays]

    def invoke(self) -> None:
        self._outputs = self._function(*self._inputs)

    def outputs(self) -> list[npt.NDArray[Any]]:
        given = [self._outputs] if hasattr(self._outputs, "numpy") else list(self._outputs)
        return [output.numpy().copy() for output in given]

    def output_quantization(self) -> list[TensorQuantization | None]:
        return [None for _ in self.outputs()]

    def facts(self) -> Mapping[str, Any]:
        return {
            "runtime": "tvm",
            "version": self._tvm.__version__,
            "tuned": False,
            "share": 1.0,
            "threads": self._threads,
        }


class Watched(Network):
    """The same, with every call of the virtual machine timed."""

    def __init__(self, path: str, options: Mapping[str, Any]) -> None:
        super().__init__(path, options)
        self._inferences: list[list[tuple[str, int]]] = []
        """Kernels and their nanoseconds, in the order they run."""
        self._begun = 0
        self.machine.set_instrument(self._watch)

    def invoke(self) -> None:
        self._inferences.append([])
        super().invoke()

    def _watch(self, function: Any, name: str, before: bool, returned: Any, *arguments: Any) -> int:  # noqa: ARG002 - TVM's signature
        """Called around each call, kernels and the machine's own housekeeping; 0 tells it to go on."""
        now = time.perf_counter_ns()
        if before:
            self._begun = now
        elif not name.startswith("vm.builtin."):
            self._inferences[-1].append((name, now - self._begun))
        return 0

    def operators(self, runs: int) -> list[dict[str, Any]]:
        """Medians; the name's number is the kernel's place, for one kernel may serve several layers."""
        return [
            {
                "name": f"{index}.{calls[0][0]}",
                "op": calls[0][0].rstrip("0123456789"),
                "time_s": statistics.median(ns for _, ns in calls) / 1e9,
            }
            for index, calls in enumerate(zip(*self._inferences[-runs:]))  # noqa: B905 - Python 3.8 has no `strict`
        ]


def load(folder: str, file: str, options: Mapping[str, Any]) -> Network:
    return (Watched if options.get("profile") else Network)(os.path.join(folder, file), options)  # noqa: PTH118 - the runner hands strings
