"""DeepSparse 1.8, the last release: float32 and int8 that gain from sparsity. Under Neural Magic's own licence; no longer maintained."""

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

_OPSET, _IR_VERSION = 17, 8
"""The newest that it reads."""


@dataclass(frozen=True)
class DeepSparse:
    requires: ClassVar[tuple[str, ...]] = ("deepsparse", "numpy")
    environment: ClassVar[tuple[str, ...]] = ("deepsparse==1.8.0", "numpy>=1.26,<1.27")
    reads: ClassVar[tuple[str, ...]] = (".onnx",)

    def supports(self, workload: Workload, numeric: Numeric, target: Target) -> str | None:  # noqa: ARG002 - any network will do
        if target.kind != "cpu":
            return f"deepsparse here runs on CPUs, and `{target.name}` is a {target.kind}"
        return None

    def form(self, numeric: Numeric, target: Target) -> str:  # noqa: ARG002 - what its int8 kernels take
        return "onnx" if numeric == "float32" else "onnx_qoperator_u8s8"

    def build(self, exported: Exported, target: Target, folder: Path) -> Artifact:  # noqa: ARG002 - compiled where it runs
        """The file with static shapes, in the older operator set that it reads."""
        from harness import environment
        from harness.artifact import Artifact
        from harness.errors import Unsupported
        from harness.forms.static import write_static

        if exported.path.suffix not in self.reads:
            raise Unsupported(f"deepsparse reads .onnx files, not form `{exported.form}`")
        write_static(exported, folder / "model.onnx", opset=_OPSET, ir_version=_IR_VERSION)
        facts = environment.call("deepsparse", "compiled", str(folder / "model.onnx"))
        return Artifact.of(folder, ("model.onnx",), {"form": exported.form, "precision": exported.numeric, **facts})


BACKEND = DeepSparse


def compiled(path: str) -> dict[str, Any]:
    """Whether DeepSparse takes the network; in a process of its own, in its environment."""
    try:
        engine = _engine(path, 1)
    except (RuntimeError, ValueError) as error:
        raise NotImplementedError(
            f"deepsparse 1.8.0 cannot compile this network: {' '.join(str(error).split())[:600]}"
        ) from error
    share = float(engine.fraction_of_supported_ops)
    if share == 0:
        # Seen with integer operators whose weights have one scale a channel: it would run the ONNX Runtime that it brings along.
        raise NotImplementedError("deepsparse 1.8.0 has kernels for no operator of this network and would run another runtime's")
    return {"opset": _OPSET, "share_on_build_machine": share}


def _engine(path: str, threads: int) -> Any:
    os.environ["NM_DISABLE_ANALYTICS"] = "True"  # it reports its use over the network otherwise
    from deepsparse import Engine

    # None: the batch stays what the file says.
    return Engine(path, batch_size=None, num_cores=threads, num_streams=1)


class Network:
    """One network in DeepSparse's engine."""

    def __init__(self, path: str, options: Mapping[str, Any]) -> None:
        self._engine = _engine(path, options["threads"])
        self._inputs: list[npt.NDArray[Any]] = []
        self._outputs: Sequence[npt.NDArray[Any]] = ()

    def set_inputs(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        import numpy as np

        self._inputs = [np.array(array, order="C") for array in arrays]

    def invoke(self) -> None:
        self._outputs = self._engine.run(self._inputs, val_inp=False)

    def outputs(self) -> list[npt.NDArray[Any]]:
        return [output.copy() for output in self._outputs]

    def output_quantization(self) -> list[TensorQuantization | None]:
        return [None for _ in self._outputs]

    def facts(self) -> Mapping[str, Any]:
        import deepsparse

        return {
            "runtime": "deepsparse",
            "version": deepsparse.__version__,
            "share": float(self._engine.fraction_of_supported_ops),
            "instruction_set": self._engine.cpu_avx_type,
            "vnni": self._engine.cpu_vnni,
            "threads": self._engine.num_cores,
        }


def load(folder: str, file: str, options: Mapping[str, Any]) -> Network:
    return Network(os.path.join(folder, file), options)  # noqa: PTH118 - the runner hands strings
