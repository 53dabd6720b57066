"""`assay targets add`: what cannot be is refused before any device is called, and a device that answers is written down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from targets.inventory import load_inventory


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["shed", "--ssh", "a b"], "is not an address"),
        (["a/b", "--ssh", "board"], "target name 'a/b'"),
        (["shed"], "either --ssh"),
        (["shed", "--ssh", "board", "--transport", "adb"], "either --ssh"),
        (["shed", "--transport", "abd", "--address", "R58M"], "Did you mean `adb`"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, arguments: list[str], says: str) -> None:
    inventory = tmp_path / "devices.yaml"
    done = CliRunner().invoke(app, ["targets", "add", *arguments, "--inventory", str(inventory)])
    assert done.exit_code != 0 and says in str(done.exception) and not inventory.exists()


def test_a_device_is_looked_at_and_written_down(tmp_path: Path) -> None:
    inventory = tmp_path / "devices.yaml"
    words = [
        "targets",
        "add",
        "desk",
        "--transport",
        "local",
        "--work-dir",
        str(tmp_path / "w"),
        "--tag",
        "a",
        "--tag",
        "b",
        "--json",
    ]
    done = CliRunner().invoke(app, [*words, "--inventory", str(inventory)])
    assert done.exit_code == 0, done.output
    target = load_inventory(inventory)["desk"]
    assert (target.transport, target.work_dir, target.tags) == ("local", str(tmp_path / "w"), ("a", "b"))
    assert json.loads(done.output)["target"]["isa"] == target.isa != ""
    again = CliRunner().invoke(app, [*words, "--inventory", str(inventory)])
    assert again.exit_code != 0 and "there is a target `desk` already" in str(again.exception)
