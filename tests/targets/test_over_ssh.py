"""The whole way over SSH, by the commands a user types: a device is added, examined, and a suite is run on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from targets.target import Target

pytestmark = [pytest.mark.peers, pytest.mark.torch]

SUITE = """
name: over_ssh
models: [{mlp: {epochs: 1}}]
methods: [float32]
backends: [onnxruntime]
targets: [shed]
sampling: {launches: 2, min_samples: 5, min_s: 0.02, min_sample_s: 0.001, evaluation_size: 64}
"""


def test_a_suite_runs_on_a_device_behind_ssh(sshd: Any, ssh_target: Callable[[Any], Target], tmp_path: Path) -> None:
    target = ssh_target(sshd)
    environment = os.environ | {
        "ASSAY_INVENTORY": str(tmp_path / "devices.yaml"),
        "XDG_DATA_HOME": str(tmp_path),
    }

    def assay(*arguments: str, status: int = 0) -> str:
        command = [sys.executable, "-m", "harness.cli", *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    where = f"{target.user}@127.0.0.1:{sshd.port}"
    told = assay(
        "targets", "add", "shed", "--ssh", where, "--key-file", target.key_file, "--python", sys.executable, "--work-dir", target.work_dir
    )  # fmt: skip
    assert "host: localhost" in told and "onnxruntime" in told
    (listed,) = [row for row in json.loads(assay("ls", "targets", "--probe", "--json")) if row["name"] == "shed"]
    assert listed["state"].startswith("ready") and listed["address"] == where
    examined = {
        finding["what"].split(":")[0]: finding["level"]
        for finding in json.loads(assay("doctor", "shed", "--json", "--noise", "0"))
    }
    assert examined["backend onnxruntime"] == "good"

    (tmp_path / "suite.yaml").write_text(SUITE)
    assert "1 cells: 1 ok" in assay("run", "suite.yaml", "--out", "report")
    (record,) = [json.loads(line) for line in assay("export", "--format", "json").splitlines()]
    assert (record["axes"]["target"], record["status"]) == ("shed", "ok")
    device = record["provenance"]["device"]
    assert device["facts"]["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip() and device["state_after"]
    assert {m["metric"] for m in record["measurements"]} >= {"latency", "top1", "peak_memory"}
    assert "shed" in (tmp_path / "report" / "index.html").read_text()
    left = subprocess.run(["find", target.work_dir, "-path", "*requests/*"], capture_output=True, check=True).stdout
    assert left == b"", "a request leaves nothing on the device"
