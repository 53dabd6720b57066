"""The whole way over adb, by the commands a user types: a device is added, called, and examined."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from targets.inventory import load_inventory
from targets.target import Target

pytestmark = pytest.mark.peers


def test_a_phone_is_added_called_and_examined(android: Any, adb_target: Callable[[Any], Target], tmp_path: Path) -> None:
    """Its Python is not the usual one: phones have none."""
    target = adb_target(android)
    inventory = tmp_path / "devices.yaml"
    environment = os.environ | {"ASSAY_INVENTORY": str(inventory), "XDG_DATA_HOME": str(tmp_path)}

    def assay(*arguments: str) -> str:
        command = [sys.executable, "-m", "harness.cli", *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return done.stdout

    where = f"127.0.0.1:{target.port}"
    said = assay("targets", "add", "phone", "--transport", "adb", "--address", where, "--work-dir", target.work_dir)
    assert "transport: adb" in said and "python: none" in said
    phone = load_inventory(inventory)["phone"]
    assert (phone.transport, phone.address, phone.host, phone.python) == ("adb", where, "localhost", "none")
    (listed,) = [row for row in json.loads(assay("ls", "targets", "--probe", "--json")) if row["name"] == "phone"]
    assert listed["state"].startswith("ready") and listed["address"] == where
    found = {finding["what"]: finding["level"] for finding in json.loads(assay("doctor", "phone", "--json", "--noise", "0"))}
    assert found["no Python: backends that build whole programs run there, others do not"] == "note"
    android.stop()
    try:
        (listed,) = [row for row in json.loads(assay("ls", "targets", "--probe", "--json")) if row["name"] == "phone"]
        assert "ready" not in listed["state"] and where in listed["state"]
    finally:
        android.start()
