"""PyTorch on the CPU: the exported graph operator by operator (eager), or compiled ahead of time to C++ (inductor)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from harness.artifact import Artifact
    from harness.backend import TensorQuantization
    from harness.compression import Numeric
    from harness.export import Exported
    from harness.suite import Workload
    from targets.target import Target

GRAPH, WEIGHTS, LIBRARY = "network.py", "weights.pt", "network.so"
_HEADER = '"""Made by Assay: the operators that torch.export found, in their order."""\n\nfrom math import inf, nan\n\n'
_IMPORTS = "import torch\nfrom torch import device\n\nNoneType = type(None)\n"
_KNOWN_GLOBALS = frozenset({"inf", "nan", "NoneType", "torch", "device", "fx_pytree", "pytree"})


@dataclass(frozen=True)
class Torch:
    mode: Literal["eager", "inductor"] = "eager"
    """`inductor`: AOTInductor compiles the graph with the build machine's C++ compiler, for the build machine's own CPU."""

    requires: ClassVar[tuple[str, ...]] = ("torch", "numpy")
    reads: ClassVar[tuple[str, ...]] = ()

    def supports(self, workload: Workload, numeric: Numeric, target: Target) -> str | None:  # noqa: ARG002 - any network will do
        if target.kind != "cpu":
            return f"torch here runs on CPUs, and `{target.name}` is a {target.kind}"
        if numeric != "float32":
            return f"torch here runs float32 networks: its {numeric} kernels need a graph that PT2E quantization made"
        if self.mode == "inductor" and target.transport != "local":
            return f"torch(mode=inductor) builds for the machine it is built on, and `{target.name}` is reached by {target.transport}"
        return None

    def form(self, numeric: Numeric, target: Target) -> str:  # noqa: ARG002 - one form
        return "pt2"

    def build(self, exported: Exported, target: Target, folder: Path) -> Artifact:  # noqa: ARG002 - supports() has looked at it
        from harness.errors import Unsupported

        if exported.form != "pt2":
            raise Unsupported(f"torch takes form `pt2`, not `{exported.form}`")
        return _build_eager(exported, folder) if self.mode == "eager" else _build_inductor(exported, folder)


BACKEND = Torch


def _build_eager(exported: Exported, folder: Path) -> Artifact:
    """The graph as the lines of Python that call its operators, and its weights.

    Opening a .pt2 costs a second of imports and puts guards before each call; this runs the same operators without either.
    """
    import torch
    from torch.export.graph_signature import InputKind

    from harness.artifact import Artifact
    from harness.errors import Unsupported
    from harness.forms.conversion import conversion

    with conversion("torch, eager build"):
        program = torch.export.load(exported.path)
        tensors = {**program.state_dict, **program.constants}
        given = [spec for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT]
        held = [spec for spec in program.graph_signature.input_specs if spec.kind is not InputKind.USER_INPUT]
        for spec in held:
            if not isinstance(tensors.get(spec.target or ""), torch.Tensor):
                raise Unsupported(f"torch, eager build: `{spec.target}` is a {spec.kind.name}, not a tensor")
        for node in program.graph.nodes:
            if node.op not in ("placeholder", "call_function", "output"):
                raise Unsupported(f"torch, eager build: node `{node.name}` is a {node.op}; control flow is not written out")
        if program.graph_signature.buffers_to_mutate:
            raise Unsupported(
                f"torch, eager build: the network writes to {sorted(program.graph_signature.buffers_to_mutate.values())}"
            )
        code = program.graph.python_code("self")
        if unknown := set(code.globals) - _KNOWN_GLOBALS:
            raise Unsupported(f"torch, eager build: the graph uses {sorted(unknown)}, which cannot be written out")
        if [spec.arg.name for spec in program.graph_signature.input_specs] != [
            *(spec.arg.name for spec in held),
            *(spec.arg.name for spec in given),
        ]:
            raise Unsupported("torch, eager build: inputs do not come after weights")
        (folder / GRAPH).write_text(_HEADER + _IMPORTS + code.src)
        torch.save([tensors[str(spec.target)].detach().contiguous() for spec in held], folder / WEIGHTS)
    facts = {"form": exported.form, "precision": exported.numeric, "mode": "eager", "torch": torch.__version__}
    return Artifact.of(folder, (GRAPH, WEIGHTS), facts)


def _build_inductor(exported: Exported, folder: Path) -> Artifact:
    import shutil
    import tempfile
    import zipfile
    from pathlib import Path

    import torch
    from torch._inductor import aoti_compile_and_package
    from torch._inductor.utils import fresh_cache

    from harness.artifact import Artifact
    from harness.errors import BuildError
    from harness.forms.conversion import conversion

    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise BuildError(
            f"torch(mode=inductor) compiles C++, and there is no `{compiler}` on this machine's PATH: "
            "install g++ (Debian: apt install g++), or name a compiler in CXX, or take mode=eager"
        )
    with conversion("AOTInductor") as chatter, fresh_cache(), tempfile.TemporaryDirectory() as scratch:
        # Otherwise the number of threads at build time would be compiled in.
        settings = {"cpp.dynamic_threads": True, "cpp.cxx": (None, compiler)}
        program = torch.export.load(exported.path)
        package = aoti_compile_and_package(program, package_path=str(Path(scratch) / "network.pt2"), inductor_configs=settings)
        # The library is all that runs (its weights are in it); a package would be unpacked again by every process that opens it.
        with zipfile.ZipFile(str(package)) as archive:
            (library,) = (name for name in archive.namelist() if name.endswith(".so"))
            (folder / LIBRARY).write_bytes(archive.read(library))
    facts = {
        "form": exported.form,
        "precision": exported.numeric,
        "mode": "inductor",
        "torch": torch.__version__,
        "compiler": _compiler_version(compiler),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "warnings": chatter.warnings,
    }
    return Artifact.of(folder, (LIBRARY,), facts)


def _compiler_version(compiler: str) -> str:
    import subprocess

    said = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True, timeout=30)
    return said.stdout.splitlines()[0]


class Network:
    """One network in torch; what differs between the modes is only the function that runs it."""

    def __init__(self, run: Callable[[list[Any]], Sequence[Any]], mode: str, threads: int) -> None:
        self._run = run
        self._mode = mode
        self._threads = threads
        self._inputs: list[Any] = []
        self._outputs: Sequence[Any] = ()

    def set_inputs(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        import numpy as np
        import torch

        self._inputs = [torch.from_numpy(np.array(array, order="C")) for array in arrays]

    def invoke(self) -> None:
        self._outputs = self._run(self._inputs)

    def outputs(self) -> list[npt.NDArray[Any]]:
        return [output.detach().numpy().copy() for output in self._outputs]

    def output_quantization(self) -> list[TensorQuantization | None]:
        return [None for _ in self._outputs]

    def facts(self) -> Mapping[str, Any]:
        import torch

        return {
            "runtime": "torch",
            "version": torch.__version__,
            "mode": self._mode,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "onednn": torch._C._has_mkldnn,
            "share": 1.0,
            "threads": torch.get_num_threads(),
        }


def load(folder: str, file: str, options: Mapping[str, Any]) -> Network:
    import torch

    torch.set_num_threads(options["threads"])
    mode = options.get("mode", "eager")
    path = os.path.join(folder, file)  # noqa: PTH118 - the runner hands strings
    return Network(_eager(path) if mode == "eager" else _compiled(path), mode, options["threads"])


def _eager(path: str) -> Callable[[list[Any]], Sequence[Any]]:
    import importlib.util

    import torch

    spec = importlib.util.spec_from_file_location("assay_network", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    weights = torch.load(os.path.join(os.path.dirname(path), WEIGHTS), weights_only=True)  # noqa: PTH118, PTH120
    forward = module.forward
    inference = torch.inference_mode()

    def run(inputs: list[Any]) -> Sequence[Any]:
        with inference:
            outputs: Sequence[Any] = forward(None, *weights, *inputs)
            return outputs

    return run


def _compiled(path: str) -> Callable[[list[Any]], Sequence[Any]]:
    import torch

    # The runner itself: torch._inductor.aoti_load_package adds two seconds of imports around it. One instance of the network.
    runner = torch._C._aoti.AOTIModelContainerRunnerCpu(path, 1)

    def run(inputs: list[Any]) -> Sequence[Any]:
        outputs: Sequence[Any] = runner.run(inputs)
        return outputs

    return run
