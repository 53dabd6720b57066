"""One question to a device: the artifact put there, a request sent, the runner run, what it wrote fetched and cleared away."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from harness.artifact import Artifact, file_sha256
from harness.errors import BuildError, RunnerError
from harness.runners.reply import (
    MAX_DOCUMENT_BYTES,
    NPZ_SPARE_BYTES,
    SCHEMA,
    Document,
    Failure,
    Mode,
    OutputFile,
    pack_inputs,
    parse_reply,
    read_outputs,
)
from harness.suite import Sampling
from targets.session import CommandResult, Session

Array = npt.NDArray[Any]

RUNNER = Path(__file__).parent / "python_runner.py"
MAX_OUTPUT_BYTES = 1 << 30
"""Of one output file."""
MAX_STDOUT_BYTES = MAX_DOCUMENT_BYTES + (1 << 10)
"""The document between its marks."""
STDERR_LINES = 12
_HINTS: Mapping[int, str] = {
    signal.SIGKILL: "; most likely out of memory: see the device's kernel log",
    signal.SIGILL: "; it was built for another CPU than the device has: see the target's `cpu`",
}


@dataclass(frozen=True, slots=True)
class Deployed:
    """An artifact on a device, with all that is needed to run it. Names carry content hashes: a new version never meets an old one."""

    artifact_sha256: str
    folder: str
    files: tuple[str, ...]
    """The first is the one that the backend's `load` opens, or the program that is started; the second one's weights, where they are apart."""
    command: tuple[str, ...]
    """What a request is handed to: an interpreter and the Python runner, or a program that is its own runner."""
    backend: str
    """The backend's file, which holds the device's half; empty for a program."""
    options: Mapping[str, Any]
    """`threads`, and the backend's own parameters."""
    requires: tuple[str, ...] = ()
    """Distributions whose versions are reported."""
    sysfs: str = "/sys"
    """Where the device's frequencies and temperatures are read."""
    count_instructions: bool = False
    """Whether the runner counts them beside the time."""
    cpus: tuple[int, ...] | None = None
    """Those that the runner binds itself to; None: any."""


def deploy(
    session: Session,
    artifact: Artifact,
    backend_file: Path,
    options: Mapping[str, Any],
    requires: Sequence[str],
    python: str | None = None,
) -> Deployed:
    """Push the artifact's files, the runner and the backend's file; what is already there is not sent again.

    `python` is another interpreter than the session's own.
    """
    folder, files = _pushed(session, artifact)
    runner, backend = _addressed("runners", RUNNER), _addressed("backends", backend_file)
    session.push(RUNNER, runner)
    session.push(backend_file, backend)
    command = (python or session.python, "-B", runner)
    return Deployed(artifact.sha256, folder, files, command, backend, dict(options), tuple(requires))


def deploy_program(session: Session, artifact: Artifact, options: Mapping[str, Any]) -> Deployed:
    """Push the artifact's files, the first of which is a program that is its own runner (`runners/program/`)."""
    program = artifact.folder / artifact.files[0].name
    if not os.access(program, os.X_OK):
        raise BuildError(f"{program} may not be executed; a backend that builds programs must make them executable")
    folder, files = _pushed(session, artifact)
    return Deployed(artifact.sha256, folder, files, (f"{folder}/{files[0]}",), "", dict(options))


def _pushed(session: Session, artifact: Artifact) -> tuple[str, tuple[str, ...]]:
    """The folder on the device and the names of its files."""
    folder = f"artifacts/{artifact.sha256[:32]}"
    for file in artifact.files:
        if file_sha256(artifact.folder / file.name) != file.sha256:
            raise BuildError(
                f"{artifact.folder / file.name} was changed after it was built; delete {artifact.folder} and run again"
            )
        session.push(artifact.folder / file.name, f"{folder}/{file.name}")
    return folder, tuple(file.name for file in artifact.files)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request answered."""

    reply: Document
    contents: tuple[bytes, ...]
    """The output files, one for each part of the inputs, an npz each."""
    wall_s: float
    """How long the command took, seen from here."""

    def arrays(self) -> list[tuple[Array, ...]]:
        return [read_outputs(content, file) for content, file in zip(self.contents, self.reply.outputs, strict=True)]


def ask(
    session: Session,
    deployed: Deployed,
    mode: Mode,
    parts: Sequence[Sequence[Array]],
    timeout_s: float,
    *,
    batch: int | None,
    sampling: Sampling | None = None,
) -> Exchange:
    """Send a request and its inputs, run the runner, fetch what it wrote; nothing of it stays on the device."""
    nonce = secrets.token_hex(16)
    folder = f"requests/{nonce}"
    inputs = [f"{folder}/inputs{index}.npz" for index in range(len(parts))]
    outputs = [f"{folder}/outputs{index}.npz" for index in range(len(parts))]
    request = {
        "schema": SCHEMA,
        "nonce": nonce,
        "mode": mode,
        "backend": deployed.backend,
        "folder": deployed.folder,
        "files": deployed.files,
        "options": deployed.options,
        "inputs": inputs,
        "outputs": outputs,
        "batch": batch,
        "batched": batch is not None,
        "sampling": None if sampling is None else dataclasses.asdict(sampling),
        "distributions": deployed.requires,
        "sysfs": deployed.sysfs,
        "count_instructions": deployed.count_instructions,
        "cpus": deployed.cpus,
        "limit_s": timeout_s + 5,
    }
    try:
        with tempfile.TemporaryDirectory(prefix="assay-") as local:
            file = Path(local) / "file"
            for part, name in zip(parts, inputs, strict=True):
                file.write_bytes(pack_inputs(part))
                session.push(file, name)
            file.write_text(json.dumps(request))
            session.push(file, f"{folder}/request.json")
        result = session.run(
            [*deployed.command, f"{folder}/request.json"],
            timeout_s=timeout_s,
            environment={"OMP_NUM_THREADS": str(deployed.options.get("threads", 1)), "OPENBLAS_NUM_THREADS": "1"},
            max_output_bytes=MAX_STDOUT_BYTES,
        )
        reply = _reply(result, nonce, timeout_s, is_program=not deployed.backend)
        if reply.mode != mode or [file.file for file in reply.outputs] != outputs:
            raise RunnerError("the runner's document does not name the outputs that it was asked for")
        return Exchange(reply, tuple(_pull(session, file) for file in reply.outputs), result.duration_s)
    finally:
        session.remove(folder)


def _reply(result: CommandResult, nonce: str, timeout_s: float, *, is_program: bool) -> Document:
    if result.timed_out:
        raise RunnerError(
            f"the runner was stopped after {timeout_s:g} s; raise `max_launch_s`, or use a smaller network{_tail(result)}"
        )
    if result.exit_status < 0:
        name = (
            signal.Signals(-result.exit_status).name if -result.exit_status in set(signal.Signals) else str(-result.exit_status)
        )
        hint = _HINTS.get(-result.exit_status, "")
        raise RunnerError(f"the runner was killed by signal {name}{hint}{_tail(result)}")
    # A shell on the way may take a program of another instruction set for a script, whose first syntax error is status 2.
    if result.exit_status in ((2, 126, 127) if is_program else (126, 127)):
        why = "it is no program for this device; set `isa` and `cpu`" if is_program else "no Python there; set `python`"
        raise RunnerError(f"the runner {result.argv[0]} could not be started on the device: {why}{_tail(result)}")
    if result.exit_status not in (0, 3):
        raise RunnerError(f"the runner ended with exit status {result.exit_status}{_tail(result)}")
    if result.truncated and len(result.stdout) == MAX_STDOUT_BYTES:
        raise RunnerError(f"the runner says more than it may say: over {MAX_STDOUT_BYTES} bytes")
    reply = parse_reply(result.stdout, nonce)
    if isinstance(reply, Failure):
        raise RunnerError(f"the runner failed: {reply.kind}: {reply.message}")
    if result.exit_status != 0:
        raise RunnerError(
            f"the runner ended with exit status {result.exit_status} and a document that tells of no error{_tail(result)}"
        )
    return reply


def _tail(result: CommandResult) -> str:
    lines = result.stderr.decode("utf-8", "replace").strip().splitlines()[-STDERR_LINES:]
    return "; it said:\n" + "\n".join(line[:500] for line in lines) if lines else ""


def _pull(session: Session, file: OutputFile) -> bytes:
    expected = sum(tensor.size_bytes + NPZ_SPARE_BYTES for tensor in file.tensors)
    if file.size_bytes > min(expected, MAX_OUTPUT_BYTES):
        raise RunnerError(f"output file of {file.size_bytes} bytes: its tensors need {expected}, the limit is {MAX_OUTPUT_BYTES}")
    return session.pull(file.file, max_bytes=file.size_bytes)


def _addressed(folder: str, file: Path) -> str:
    return f"{folder}/{file_sha256(file)[:32]}/{file.name}"
