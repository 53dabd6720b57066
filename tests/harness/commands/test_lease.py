"""`assay lease`, as it is typed: a holder in another process is seen, and loses the device to who breaks its lease."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HOLDER = """
import sys
from targets.lease import LeaseLost, leased
from targets.target import Target
from targets.transports import connect
with connect(Target("local")) as session, leased(session, Target("local"), holder="ann\\x1b[31m@desk") as held:
    print("in", flush=True)
    try:
        held.session.run(["sleep", "300"], timeout_s=300)
    except LeaseLost as error:
        print(error)
"""


def assay(*words: str, status: int = 0, stdin: str = "") -> str:
    command = [sys.executable, "-m", "harness.cli", "lease", *words]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout and process.stdout.readline() == "in\n"
    yield process
    process.kill()
    process.communicate()


def test_a_lease_is_listed_and_broken(holder: subprocess.Popen[str]) -> None:
    listed = assay("list")
    head, row = listed.splitlines()
    assert head.split() == ["TARGET", "STATE", "HOLDER", "SINCE", "EXPIRES", "TOKEN"]
    assert row.split()[:3] == ["local", "held", "ann?[31m@desk"] and " in " in row and "\x1b" not in listed
    (told,) = json.loads(assay("list", "--json"))
    assert (told["state"], told["holder"]) == ("held", "ann?[31m@desk")
    assert "Break the lease of ann?[31m@desk since" in assay("break", "local", status=1, stdin="n\n")
    assert json.loads(assay("list", "--json"))[0]["token"] == told["token"]
    assert assay("break", "local", "--yes") == "local is free; it was held by ann?[31m@desk\n"
    assert "the lease" in holder.communicate(timeout=60)[0], "what ran under it was killed, and its holder knows why"
    assert json.loads(assay("list", "--json"))[0]["state"] == "free"


def test_nothing_is_broken_without_yes_and_no_target_is_guessed() -> None:
    assert "Aborted" in assay("break", "local", status=1)
    assert "unknown target `locl`. Did you mean `local`?" in assay("break", "locl", "--yes", status=2)


def test_a_device_that_does_not_answer_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "devices.yaml").write_text("targets:\n  away: {transport: ssh, isa: aarch64, address: 127.0.0.1, port: 1}\n")
    told = assay("break", "away", "--yes", "--inventory", str(tmp_path / "devices.yaml"), status=2)
    assert told.startswith("assay: target away:") and "nothing listens there" in told and len(told.splitlines()) == 1
    assert "unreachable" in assay("list", "--inventory", str(tmp_path / "devices.yaml"))
