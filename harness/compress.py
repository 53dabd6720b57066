"""`assay compress`: one method on one model, as an ONNX file, with the method's claims."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import plugins
from harness.errors import BuildError, UserError
from harness.executor import Executor
from harness.plugins import Choice
from harness.steps import Step, compress_step, export_step
from harness.suite import Workload
from harness.suite_file import check_model


@dataclass(frozen=True, slots=True)
class CompressedFile:
    """The written file and what its method says of it, beside the uncompressed network's own figures."""

    path: Path
    model: str
    method: str
    claims: Mapping[str, Any]
    baseline: Mapping[str, Any]
    left_alone: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "model": self.model,
            "method": self.method,
            "claims": dict(self.claims),
            "baseline": dict(self.baseline),
            "left_alone": dict(self.left_alone),
        }


def compress_to(model: str, method: str, parameters: Sequence[str], out: Path, seed: int) -> CompressedFile:
    """Train (or take from the cache), compress, export. UserError before anything is trained; BuildError when a step fails."""
    if out.suffix != ".onnx":
        raise UserError(f"{out}: the output is an ONNX file; name it *.onnx")
    network = plugins.parse_choice("models", model)
    choice = plugins.parse_choice("methods", method, parameters)
    workload = Workload(network, plugins.instantiate("models", network).data)
    check_model(network, workload.data)
    numeric = plugins.instantiate("methods", choice).numeric
    form = {"float32": "onnx", "int8": "onnx_qdq_u8s8" if platform.machine() == "x86_64" else "onnx_qdq_s8s8"}[numeric]
    exported = export_step(workload, choice, form, 1, seed)
    dense = compress_step(network, workload.data, Choice("float32"), seed)
    _do((exported, dense))
    shutil.copyfile(exported.folder / "model.onnx", out)
    facts = _facts(exported.needs[0])
    return CompressedFile(out, network.label, choice.label, facts["claims"], _facts(dense)["claims"], facts["left_alone"])


def _do(steps: tuple[Step, ...]) -> None:
    with Executor(os.cpu_count() or 1) as executor:
        for failure in executor.run(steps).values():
            if failure is not None:
                raise BuildError(f"{failure.message}\n{failure.log_tail}".rstrip())


def _facts(step: Step) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((step.folder / "compressed.json").read_text())
    return facts
