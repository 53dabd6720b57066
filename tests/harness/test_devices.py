"""Devices at hand: one is added to an inventory, all are called; over SSH it is shown by tests/targets/test_over_ssh.py."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from harness.devices import add, states
from harness.errors import UserError
from targets.inventory import load_inventory
from targets.session import Unreachable
from targets.target import Target


@pytest.fixture
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """Nothing listens there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return Target("silent", "ssh", isa="aarch64", address="127.0.0.1", port=free.getsockname()[1])


def test_a_device_is_added_as_it_was_seen(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    added = add(path, Target("desk", tags=("here",)))
    assert load_inventory(path) == {"local": Target("local"), "desk": added.target}
    assert added.target.isa and added.target.tags == ("here",) and "numpy" in added.probe.runtimes
    with pytest.raises(UserError, match="there is a target `desk` already"):
        add(path, Target("desk"))


def test_a_device_that_does_not_answer_is_not_added(tmp_path: Path, silent: Target) -> None:
    with pytest.raises(Unreachable):
        add(tmp_path / "inventory.yaml", silent)
    assert not (tmp_path / "inventory.yaml").exists()


def test_each_device_is_called_and_says_why_it_does_not_answer(silent: Target) -> None:
    found = states({"local": Target("local"), "silent": silent})
    assert found["local"].startswith("ready, ") and found["local"].endswith(" ms")
    assert "nothing listens there" in found["silent"] and not found["silent"].startswith("target")
