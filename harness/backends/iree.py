"""IREE: the network compiled ahead of time by LLVM for the target's own CPU."""

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

_CHANNELS_LAST = "--iree-preprocessing-pass-pipeline=builtin.module(util.func(iree-preprocessing-convert-conv-to-channels-last))"
_IMPORTED_OPSET = 17
"""IREE's importer knows the operators from here on; an older file is rewritten by ONNX's own converter."""


@dataclass(frozen=True)
class Iree:
    requires: ClassVar[tuple[str, ...]] = ("iree-base-runtime", "numpy")
    builds_with: ClassVar[tuple[str, ...]] = ("iree-base-compiler", "onnx")
    reads: ClassVar[tuple[str, ...]] = (".onnx",)

    def supports(self, workload: Workload, numeric: Numeric, target: Target) -> str | None:  # noqa: ARG002 - any network will do
        if target.kind != "cpu":
            return f"iree here runs on CPUs, and `{target.name}` is a {target.kind}"
        if target.transport != "local":
            return f"iree here compiles for the CPU it is built on, and `{target.name}` is reached by {target.transport}"
        return None

    def form(self, numeric: Numeric, target: Target) -> str:  # noqa: ARG002 - local only
        return "onnx" if numeric == "float32" else "onnx_qdq_s8s8"

    def build(self, exported: Exported, target: Target, folder: Path) -> Artifact:  # noqa: ARG002 - for this machine
        import tempfile
        from pathlib import Path

        from harness import environment
        from harness.artifact import Artifact
        from harness.errors import Unsupported
        from harness.forms.static import write_static

        if exported.path.suffix not in self.reads:
            raise Unsupported(f"iree reads .onnx files here, not form `{exported.form}`")
        with tempfile.TemporaryDirectory(prefix="assay-iree-") as scratch:
            source = Path(scratch) / "model.onnx"
            write_static(exported, source)
            # Channels last is 2.6 times as fast for float32 convolutions, and 1.7 times as slow for integer ones.
            passes = [_CHANNELS_LAST] if exported.numeric == "float32" else []
            facts = environment.call("iree", "compile_network", str(source), str(folder / "model.vmfb"), passes)
        return Artifact.of(folder, ("model.vmfb",), {"form": exported.form, "precision": exported.numeric, **facts})


BACKEND = Iree


def compile_network(source: str, destination: str, passes: Sequence[str]) -> dict[str, Any]:
    """ONNX -> MLIR -> native code in IREE's container; in a process of its own."""
    import iree.compiler
    from iree.compiler.tools.import_onnx import __main__ as importer
    from iree.compiler.version import VERSION

    module = source + ".mlir"
    importer.main(importer.parse_arguments([source, "-o", module, "--opset-version", str(_IMPORTED_OPSET)]))
    flags = ["--iree-llvmcpu-target-cpu=host", "--iree-opt-level=O3", *passes]
    try:
        iree.compiler.compile_file(
            module, output_file=destination, target_backends=["llvm-cpu"], input_type="onnx", extra_args=flags
        )
    except iree.compiler.CompilerToolError as error:
        lines = [line for line in str(error).splitlines() if "error:" in line] or str(error).splitlines()[:1]
        raise NotImplementedError(f"iree cannot compile this network: {lines[0].strip()[:600]}") from error
    return {"flags": flags, "compiler": VERSION}


class Network:
    """One module in IREE's virtual machine: on the calling thread alone, or on a pool of workers."""

    def __init__(self, path: str, options: Mapping[str, Any]) -> None:
        from iree import runtime

        self._runtime = runtime
        self._threads = options["threads"]
        driver = "local-sync" if self._threads == 1 else "local-task"
        if driver == "local-task":
            runtime.flags.parse_flags(f"--task_topology_group_count={self._threads}")
        self._driver = driver
        self._config = runtime.Config(driver)
        context = runtime.SystemContext(config=self._config)
        module = runtime.VmModule.mmap(context.instance, path)
        context.add_vm_module(module)
        # Each function also comes with a twin that takes fences.
        (name,) = (n for n in module.function_names if n != "__init" and not n.endswith("$async"))
        self._function = context.modules[module.name][name]
        self._inputs: list[Any] = []
        self._outputs: Any = ()

    def set_inputs(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        self._inputs = [self._runtime.asdevicearray(self._config.device, array) for array in arrays]

    def invoke(self) -> None:
        self._outputs = self._function(*self._inputs)

    def outputs(self) -> list[npt.NDArray[Any]]:
        given = self._outputs if isinstance(self._outputs, (tuple, list)) else (self._outputs,)
        return [output.to_host().copy() for output in given]

    def output_quantization(self) -> list[TensorQuantization | None]:
        return [None for _ in self.outputs()]

    def facts(self) -> Mapping[str, Any]:
        from iree.runtime.version import VERSION

        return {
            "runtime": "iree",
            "version": VERSION,
            "driver": self._driver,
            "share": 1.0,
            "threads": self._threads,
        }


def load(folder: str, file: str, options: Mapping[str, Any]) -> Network:
    return Network(os.path.join(folder, file), options)  # noqa: PTH118 - the runner hands strings
