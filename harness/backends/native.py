"""Assay's own compiler: one static C program of the network and the runner, for a device that needs neither Python nor libraries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from pathlib import Path

    from harness.artifact import Artifact
    from harness.compression import Numeric
    from harness.export import Exported
    from harness.suite import Workload
    from targets.target import Target

PROGRAM, WEIGHTS = "program", "weights.bin"


@dataclass(frozen=True)
class Native:
    runner: ClassVar[str] = "program"
    requires: ClassVar[tuple[str, ...]] = ()
    builds_with: ClassVar[tuple[str, ...]] = ("ziglang", "onnx", "numpy")
    reads: ClassVar[tuple[str, ...]] = (".onnx",)
    max_threads: ClassVar[int] = 64
    profiles: ClassVar[bool] = True

    def supports(self, workload: Workload, numeric: Numeric, target: Target) -> str | None:  # noqa: ARG002 - the nodes decide, when it builds
        import platform

        from harness.toolchain import TRIPLES

        if target.kind != "cpu":
            return f"native builds for CPUs, and `{target.name}` is a {target.kind}"
        if (target.isa or platform.machine()) not in TRIPLES:
            return f"native builds for {', '.join(TRIPLES)}, and `{target.name}` is {target.isa or platform.machine()}"
        return None

    def form(self, numeric: Numeric, target: Target) -> str:  # noqa: ARG002 - its kernels take either sign on every CPU
        return "onnx" if numeric == "float32" else "onnx_qdq_u8s8"

    def build(self, exported: Exported, target: Target, folder: Path) -> Artifact:
        """The program, and the weights that it maps into its memory."""
        import shutil

        from harness.artifact import Artifact
        from harness.compiler.program import FLAGS, program_for
        from harness.errors import Unsupported
        from harness.toolchain import runner_program

        if exported.path.suffix not in self.reads:
            raise Unsupported(f"native reads .onnx files, not form `{exported.form}`")
        made = program_for(exported.path, _shapes(exported), target)
        if exported.numeric == "int8" and made.facts["macs"] and not made.facts["integer_macs"]:
            raise Unsupported("native found no layer of this int8 network that it could compute in integers")
        source = folder / "model.c"
        source.write_text(made.source, encoding="utf-8")
        shutil.copyfile(runner_program([source], target, flags=FLAGS), folder / PROGRAM)
        (folder / PROGRAM).chmod(0o755)
        (folder / WEIGHTS).write_bytes(made.weights)
        facts: dict[str, Any] = {"form": exported.form, "precision": exported.numeric, "flags": FLAGS, **made.facts}
        return Artifact.of(folder, (PROGRAM, WEIGHTS) if made.weights else (PROGRAM,), facts)


def _shapes(exported: Exported) -> dict[str, list[int]]:
    """Of the inputs, with the batch that will be asked: a program has it inside."""
    shapes = {tensor["name"]: list(tensor["shape"]) for tensor in exported.facts["inputs"]}
    written = next((shape[0] for shape in shapes.values() if shape), 1)
    for shape in shapes.values():
        if shape and shape[0] == written:
            shape[0] = exported.batch
    return shapes


BACKEND = Native
