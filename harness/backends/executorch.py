"""ExecuTorch through its XNNPACK delegate: float32, and int8 by PT2E quantization."""

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

PROGRAM, DELEGATION = "model.pte", "delegation.json"


@dataclass(frozen=True)
class ExecuTorch:
    requires: ClassVar[tuple[str, ...]] = ("executorch", "torch", "numpy")
    builds_with: ClassVar[tuple[str, ...]] = ("executorch", "torch", "torchao")
    reads: ClassVar[tuple[str, ...]] = ()

    def supports(self, workload: Workload, numeric: Numeric, target: Target) -> str | None:  # noqa: ARG002 - any network will do
        if target.kind != "cpu":
            return f"executorch here runs on CPUs, and `{target.name}` is a {target.kind}"
        return None

    def form(self, numeric: Numeric, target: Target) -> str:  # noqa: ARG002 - the same program on every CPU
        return "pt2" if numeric == "float32" else "pt2e_int8"

    def build(self, exported: Exported, target: Target, folder: Path) -> Artifact:  # noqa: ARG002 - the same program on every CPU
        import json

        from harness import environment
        from harness.artifact import Artifact
        from harness.errors import Unsupported

        if exported.form not in ("pt2", "pt2e_int8"):
            raise Unsupported(f"executorch takes forms `pt2` and `pt2e_int8`, not `{exported.form}`")
        facts = environment.call("executorch", "lowered", str(exported.path), str(folder / PROGRAM))
        (folder / DELEGATION).write_text(json.dumps(facts))
        ranges = exported.facts.get("activation_ranges")
        found = {"form": exported.form, "precision": exported.numeric, "activation_ranges": ranges, **facts}
        return Artifact.of(folder, (PROGRAM, DELEGATION), found)


BACKEND = ExecuTorch


def lowered(source: str, destination: str) -> dict[str, Any]:
    """A torch.export program -> ExecuTorch's, all that XNNPACK takes delegated to it; in a process of its own."""
    import torch
    import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401 - makes the pairs' operators known to torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.devtools.backend_debug import get_delegation_info
    from executorch.exir import to_edge_transform_and_lower

    edge = to_edge_transform_and_lower(torch.export.load(source), partitioner=[XnnpackPartitioner()])
    found = get_delegation_info(edge.exported_program().graph_module)
    left = {
        name: counts.non_delegated
        for name, counts in found.delegation_by_operator.items()
        if counts.non_delegated and name != "getitem"  # which only names a delegate's outputs
    }
    taken = sum(counts.delegated for name, counts in found.delegation_by_operator.items() if name != "getitem")
    with open(destination, "wb") as file:  # noqa: PTH123
        file.write(edge.to_executorch().buffer)
    return {"operators_delegated": taken, "operators_left": left, "share": taken / max(1, taken + sum(left.values()))}


class Network:
    """One program in ExecuTorch's runtime, which opens it only where the delegates it was lowered for are there."""

    def __init__(self, folder: str, options: Mapping[str, Any]) -> None:
        import json

        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime

        # Before anything runs: the pool is made anew, and nothing may use the old one.
        portable_lib._unsafe_reset_threadpool(options["threads"])
        self._threads = portable_lib._threadpool_get_thread_count()
        self._program = Runtime.get().load_program(os.path.join(folder, PROGRAM))  # noqa: PTH118 - the runner hands strings
        self._method = self._program.load_method("forward")
        with open(os.path.join(folder, DELEGATION), encoding="utf-8") as file:  # noqa: PTH118, PTH123
            self._delegation = json.load(file)
        self._inputs: list[Any] = []
        self._outputs: Sequence[Any] = ()

    def set_inputs(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        import numpy as np
        import torch

        wanted = self._method.metadata.num_inputs()
        if len(arrays) != wanted:
            raise ValueError(f"the network takes {wanted} inputs, {len(arrays)} were given")
        self._inputs = [torch.from_numpy(np.array(array, order="C")) for array in arrays]

    def invoke(self) -> None:
        self._outputs = self._method.execute(self._inputs)

    def outputs(self) -> list[npt.NDArray[Any]]:
        return [output.numpy().copy() for output in self._outputs]

    def output_quantization(self) -> list[TensorQuantization | None]:
        return [None for _ in self._outputs]

    def facts(self) -> Mapping[str, Any]:
        import importlib.metadata

        return {
            "runtime": "executorch",
            "version": importlib.metadata.version("executorch"),
            "delegate": "xnnpack" if self._delegation["operators_delegated"] else "none",
            **self._delegation,
            "threads": self._threads,
        }


def load(folder: str, file: str, options: Mapping[str, Any]) -> Network:  # noqa: ARG001 - it opens two files
    return Network(folder, options)
