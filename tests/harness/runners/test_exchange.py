"""Questions to devices, good ones and bad ones: a bad device is a script that takes the place of its Python."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.artifact import Artifact
from harness.errors import BuildError, RunnerError
from harness.runners.exchange import Deployed, ask, deploy, deploy_program
from harness.suite import Sampling
from targets.session import CommandFailed, Session
from targets.target import Target
from targets.transports import connect

BACKEND = """
import os

class Network:
    def __init__(self, options):
        self.options = options
    def set_inputs(self, arrays):
        self.arrays = arrays
    def invoke(self):
        exec(self.options.get("invoke", ""))
    def outputs(self):
        return [2 * array for array in self.arrays]
    def output_quantization(self):
        return [None for _ in self.arrays]
    def facts(self):
        return {"environment": {k: v for k, v in os.environ.items() if "THREADS" in k}, "files": sorted(os.listdir(self.options["folder"]))}

def load(folder, file, options):
    return Network(dict(options, folder=folder))
"""
X = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"weights")
    (folder / "more weights.bin").write_bytes(b"more")
    return Artifact.of(folder, ("model.bin", "more weights.bin"), {})


@pytest.fixture
def backend(tmp_path: Path) -> Path:
    path = tmp_path / "doubling.py"
    path.write_text(BACKEND)
    return path


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Callable[[str], Session]]:
    """A session whose Python is ours, or a script of the body given, which sees the request as `request`."""
    with ExitStack() as stack:

        def open_session(body: str = "") -> Session:
            python = ""
            if body:
                script = tmp_path / "bad_python"
                script.write_text(f"{BAD_PYTHON}{body}\n")
                script.chmod(0o755)
                python = str(script)
            return stack.enter_context(connect(Target("device", work_dir=str(tmp_path / "work"), python=python)))

        yield open_session


BAD_PYTHON = f"""#!{sys.executable}
import json, os, signal, sys, time
import numpy as np
request = json.load(open(sys.argv[-1]))
document = {{
    "schema": 1, "nonce": request["nonce"], "mode": request["mode"], "load_s": 0.1,
    "clock": {{"name": "CLOCK_MONOTONIC", "step_s": 1e-9}},
    "memory": {{"rss_before_load_bytes": None, "rss_after_load_bytes": None, "peak_rss_bytes": None}},
    "facts": {{}}, "runner": {{"implementation": "bad", "version": "1"}}, "versions": {{}},
    "outputs": [],
}}
def answer(shape=(3, 2)):
    for name in request["outputs"]:
        np.savez(name, out0=np.zeros(shape, np.float32))
        tensor = {{"shape": list(shape), "dtype": "<f4", "quantization": None}}
        document["outputs"].append({{"file": name, "size_bytes": os.path.getsize(name), "tensors": [tensor]}})
def say():
    print("ASSAY-BEGIN", request["nonce"])
    print(json.dumps(document))
    print("ASSAY-END", request["nonce"])
"""


def left_on(session: Session) -> list[str]:
    return session.run(["find", "requests", "-mindepth", "1"], timeout_s=10).stdout.decode().split()


def deployed(session: Session, artifact: Artifact, backend: Path, **options: Any) -> Deployed:
    return deploy(session, artifact, backend, {"threads": 2, **options}, ("numpy",))


def test_an_artifact_is_put_in_a_folder_of_its_content(device: Callable[..., Session], artifact: Artifact, backend: Path) -> None:
    session = device()
    found = deployed(session, artifact, backend)
    assert found.artifact_sha256 == artifact.sha256 and found.files == ("model.bin", "more weights.bin")
    assert session.pull(f"{found.folder}/more weights.bin", max_bytes=4) == b"more"
    assert session.pull(found.backend, max_bytes=1 << 20).decode() == BACKEND
    assert found.command[-1].endswith("/python_runner.py") and found.backend.endswith("/doubling.py")
    again = deployed(session, artifact, backend)
    assert again == found
    backend.write_text(BACKEND + "\n")
    assert deployed(session, artifact, backend).backend != found.backend


def test_an_artifact_that_was_changed_is_not_put_anywhere(
    device: Callable[..., Session], artifact: Artifact, backend: Path
) -> None:
    (artifact.folder / "model.bin").write_bytes(b"WEIGHTS")
    with pytest.raises(BuildError, match=r"model\.bin was changed after it was built"):
        deployed(device(), artifact, backend)


def test_a_question_is_answered_and_cleared_away(device: Callable[..., Session], artifact: Artifact, backend: Path) -> None:
    session = device()
    found = ask(session, deployed(session, artifact, backend), "answer", [[X], [X + 1]], 60, batch=2)
    assert [array.tolist() for (array,) in found.arrays()] == [(2 * X).tolist(), (2 * X + 2).tolist()]
    assert found.reply.versions == {"numpy": np.__version__}
    assert found.reply.facts["environment"] == {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1"}
    assert found.reply.facts["files"] == ["model.bin", "more weights.bin"]
    assert found.wall_s > found.reply.load_s > 0
    assert left_on(session) == []


def test_every_question_has_a_nonce_of_its_own(device: Callable[..., Session], artifact: Artifact, backend: Path) -> None:
    session = device()
    put = deployed(session, artifact, backend)
    assert (
        ask(session, put, "answer", [[X]], 60, batch=1).reply.nonce != ask(session, put, "answer", [[X]], 60, batch=1).reply.nonce
    )


@pytest.mark.parametrize(
    ("invoke", "message"),
    [
        ("raise ValueError('no such node')", r"the runner failed: ValueError: no such node$"),
        ("os.kill(os.getpid(), 9)", "killed by signal SIGKILL; most likely out of memory"),
        ("os.abort()", "killed by signal SIGABRT"),
        ("import sys; sys.stderr.write('last words'); sys.stderr.flush(); os._exit(5)", r"exit status 5; it said:\nlast words"),
        ("os._exit(0)", "without one whole document"),
        ("os._exit(3)", "without one whole document"),
    ],
)
def test_a_network_that_fails_is_told_of(
    device: Callable[..., Session], artifact: Artifact, backend: Path, invoke: str, message: str
) -> None:
    session = device()
    with pytest.raises(RunnerError, match=message):
        ask(session, deployed(session, artifact, backend, invoke=invoke), "answer", [[X]], 60, batch=1)
    assert left_on(session) == []


def test_a_network_that_hangs_is_stopped(device: Callable[..., Session], artifact: Artifact, backend: Path) -> None:
    session = device()
    put = deployed(session, artifact, backend, invoke="import time; open('pid', 'w').write(f'{os.getpid()}\\n'); time.sleep(300)")
    with pytest.raises(RunnerError, match="stopped after 1 s; raise `max_launch_s`"):
        ask(session, put, "time", [[X]], 1.0, batch=1, sampling=Sampling())
    pid = session.pull("pid", max_bytes=20).decode().strip()
    assert session.run(["cat", f"/proc/{pid}/cmdline"], timeout_s=10).stdout == b""  # gone, or dead and not yet reaped
    assert left_on(session) == []


def test_a_failure_is_stable_and_not_the_connections() -> None:
    """run.py records it and goes on; nothing retries it."""
    assert issubclass(RunnerError, CommandFailed)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("print('hello')", "without one whole document"),
        ("print(json.dumps(document))", "without one whole document"),
        ("answer(); request['nonce'] = document['nonce'] = 'f' * 32; say()", r"replayed\?"),
        ("answer(); document['nonce'] = 'f' * 32; say()", "its nonce is not the one that was sent"),
        ("answer(); say(); print('x' * (17 << 20))", "more than it may say"),
        ("answer(); document['facts'] = {'x': 'y' * (15 << 20)}; say(); sys.exit(3)", "exit status 3 and a document that tells of no error"),
        ("answer(); say(); sys.exit(1)", "exit status 1"),
        ("answer(); document['mode'] = 'time'; say()", "is not valid"),
        ("answer(); document['outputs'][0]['file'] = '/etc/hostname'; say()", "does not name the outputs"),
        ("answer(); document['outputs'] *= 2; say()", "does not name the outputs"),
        ("answer(); document['outputs'] = []; say()", "is not valid"),
        ("answer(); os.remove(request['outputs'][0]); say()", "ENOENT"),
        ("answer(); open(request['outputs'][0], 'ab').write(b'more'); say()", "larger than the"),
        ("answer(); document['outputs'][0]['size_bytes'] = 1 << 20; say()", "its tensors need"),
        ("answer((1, 1)); document['outputs'][0]['tensors'][0]['shape'] = [3, 2]; say()", "described as"),
        ("document['outputs'] = [{'file': request['outputs'][0], 'size_bytes': 1600000000,"
         " 'tensors': [{'shape': [20000, 20000], 'dtype': '<f4', 'quantization': None}]}]; say()", "the limit is 1073741824"),
    ],
)  # fmt: skip
def test_a_bad_device_is_caught(
    device: Callable[..., Session], artifact: Artifact, backend: Path, body: str, message: str
) -> None:
    session = device(body)
    with pytest.raises(CommandFailed, match=message):
        ask(session, deployed(session, artifact, backend), "answer", [[X]], 60, batch=1).arrays()
    assert left_on(session) == []


def test_the_bad_device_is_good_when_it_behaves(device: Callable[..., Session], artifact: Artifact, backend: Path) -> None:
    """So that the test above fails for the reason it names."""
    session = device("answer(); say()")
    ((array,),) = ask(session, deployed(session, artifact, backend), "answer", [[X]], 60, batch=1).arrays()
    assert array.shape == (3, 2)


def test_a_device_without_python_is_told_of(tmp_path: Path, artifact: Artifact, backend: Path) -> None:
    target = Target("device", work_dir=str(tmp_path / "work"), python="/no/such/python3")
    refused = pytest.raises(
        RunnerError, match="/no/such/python3 could not be started on the device: no Python there; set `python`"
    )
    with connect(target) as session, refused:
        ask(session, deployed(session, artifact, backend), "answer", [[X]], 60, batch=1)


def test_a_library_may_say_a_lot_on_standard_error(device: Callable[..., Session], artifact: Artifact, backend: Path) -> None:
    session = device("answer(); say(); sys.stderr.write('x' * (20 << 20))")
    assert ask(session, deployed(session, artifact, backend), "answer", [[X]], 60, batch=1).reply.nonce


@pytest.fixture
def program(tmp_path: Path, programs: Any) -> Artifact:
    """A network that is its own runner."""
    folder = tmp_path / "program"
    folder.mkdir()
    shutil.copy(programs(), folder / "network")
    return Artifact.of(folder, ("network",), {})


def inputs(command: float = 1) -> list[np.ndarray]:
    x, bias = np.ones((2, 4), np.float32), np.zeros((2, 1), np.float32)
    x[0, 0] = command
    return [x, bias]


@pytest.mark.toolchain
def test_a_program_is_asked_without_python(tmp_path: Path, program: Artifact) -> None:
    with connect(Target("device", work_dir=str(tmp_path / "work"), python="none")) as session:
        put = dataclasses.replace(deploy_program(session, program, {"threads": 1}), count_instructions=True)
        assert put.command == (f"artifacts/{program.sha256[:32]}/network",) and put.files == ("network",)
        found = ask(session, put, "answer", [inputs(), inputs(2)], 60, batch=2)
        assert [arrays[0][0].tolist() for arrays in found.arrays()] == [[36, 44, 52], [36, 46, 56]]
        timed = ask(session, put, "time", [inputs()], 60, batch=2, sampling=Sampling(warmup_s=0, min_s=0.01, min_sample_s=1e-4))
        assert timed.reply.samples is not None and timed.reply.runner.implementation == "C"
        assert (timed.reply.samples.instructions is None) != (timed.reply.samples.instructions_reason is None)
        assert left_on(session) == []
        assert session.run(["find", "runners", "backends"], timeout_s=10).stdout == b""


@pytest.mark.toolchain
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (900, "killed by signal SIGSEGV|exit status 1; it said:\n.*AddressSanitizer"),
        (902, "more than it may say"),
        (903, "without one whole document"),
        (904, "killed by signal SIGILL; it was built for another CPU than the device has: see the target's `cpu`"),
        (905, "exit status 5; it said:\n.*last words"),
    ],
)
def test_a_program_that_fails_is_told_of(tmp_path: Path, program: Artifact, command: int, message: str) -> None:
    with connect(Target("device", work_dir=str(tmp_path / "work"), python="none")) as session:
        put = deploy_program(session, program, {"threads": 1})
        with pytest.raises(RunnerError, match=f"(?s){message}"):
            ask(session, put, "answer", [inputs(command)], 60, batch=2)
        assert left_on(session) == []


@pytest.mark.toolchain
def test_a_program_that_hangs_is_stopped(tmp_path: Path, program: Artifact) -> None:
    with connect(Target("device", work_dir=str(tmp_path / "work"), python="none")) as session:
        put = deploy_program(session, program, {"threads": 1})
        with pytest.raises(RunnerError, match="stopped after 1 s; raise `max_launch_s`"):
            ask(session, put, "answer", [inputs(901)], 1.0, batch=2)
        assert session.run(["find", ".", "-name", "request.json"], timeout_s=10).stdout == b""


@pytest.mark.parametrize(("content", "status"), [(b"\x7fELF of another machine", 126), (b"#!/bin/sh\nexit 2\n", 2)])
def test_a_program_of_another_machine_is_told_of(tmp_path: Path, content: bytes, status: int) -> None:
    """Status 2: a shell on the way took it for a script."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "network").write_bytes(content)
    (tmp_path / "other" / "network").chmod(0o755)
    with connect(Target("device", work_dir=str(tmp_path / "work"), python="none")) as session:
        put = deploy_program(session, Artifact.of(tmp_path / "other", ("network",), {}), {"threads": 1})
        assert session.run(put.command, timeout_s=10).exit_status == status
        with pytest.raises(
            RunnerError, match="/network could not be started on the device: it is no program for this device; set `isa`"
        ):
            ask(session, put, "answer", [inputs()], 60, batch=2)


def test_a_program_that_may_not_be_executed_is_not_put_anywhere(tmp_path: Path, artifact: Artifact) -> None:
    with (
        connect(Target("device", work_dir=str(tmp_path / "work"))) as session,
        pytest.raises(BuildError, match=r"model\.bin may not be executed"),
    ):
        deploy_program(session, artifact, {"threads": 1})
