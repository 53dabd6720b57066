"""A device seen for the first time: this machine as it is, and made-up ones with clusters, clocks and hostile names."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from targets import probe as probing
from targets.inventory import load_inventory
from targets.probe import Probe, described, entry, probe
from targets.session import CommandResult
from targets.target import Target
from targets.transports import connect

POLICIES = "/sys/devices/system/cpu/cpufreq"
FACTS = {
    "cpus": 6, "isa": "aarch64", "cpu_model": "Cortex-A", "kernel": "6.1", "boot_id": "other", "cpu_parts": ["0x41/0xd08"],
}  # fmt: skip


class Board:
    """Answers the probe's questions as a big.LITTLE board would."""

    python = "python3"

    def __init__(self, python: bytes = b"", policies: str = "") -> None:
        self.answers = {"grep": (0, policies.encode()), "python3": (0 if python else 127, python)}

    def run(self, argv: Sequence[str], **_: Any) -> CommandResult:
        status, said = self.answers[argv[0]]
        return CommandResult(tuple(argv), status, said, b"", 0.0)


@pytest.fixture
def board_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "machine_facts", lambda _session: FACTS)
    monkeypatch.setattr(probing, "state", lambda _session: {"temperatures": [{"type": "cpu-thermal", "celsius": 40.0}]})


def test_this_machine_is_seen(tmp_path: Path) -> None:
    with connect(Target("desk", work_dir=str(tmp_path))) as session:
        found = probe(session, ["numpy", "no-such-distribution"])
    assert set(found.runtimes) == {"numpy"} and found.python == sys.version.split()[0]
    target = described(Target("desk", transport="ssh", address="127.0.0.1"), found)
    assert target.isa == found.facts["isa"] and target.thread_counts[0] == 1
    assert target.host == "localhost", "the boot id tells that it is this machine"
    assert described(Target("desk", transport="ssh", address="127.0.0.1", host="bench"), found).host == "bench"


@pytest.mark.usefixtures("board_facts")
def test_clusters_clocks_and_cores_are_seen() -> None:
    little = "cpuinfo_max_freq:1400000\n", "related_cpus:0 1 2 3\n", "scaling_available_frequencies:1400000 600000\n"
    big = "cpuinfo_max_freq:1800000\n", "related_cpus:4 5\n", "scaling_available_governors:performance schedutil\n"
    policies = "".join(f"{POLICIES}/policy{n}/{line}" for n, lines in ((0, little), (4, big)) for line in lines)
    board: Any = Board(b'["3.9.2", {"onnxruntime": "1.16.0", "torch": null}]\n', policies)
    found = probe(board, ["onnxruntime", "torch"])
    assert found.clusters == (2, 4) and found.governors == ("performance", "schedutil") and found.sensors == ("cpu-thermal",)
    assert found.frequencies_hz == (600_000_000, 1_400_000_000) and (found.python, found.runtimes) == (
        "3.9.2",
        {"onnxruntime": "1.16.0"},
    )
    target = described(Target("b", transport="ssh", address="board"), found)
    assert (target.isa, target.cpu, target.host) == ("aarch64", "cortex_a72", "board")
    assert target.thread_counts == (1, 2, 4, 6)
    assert described(replace(target, cpu="mine", thread_counts=(3,)), found) == replace(target, cpu="mine", thread_counts=(3,))


@pytest.mark.usefixtures("board_facts")
@pytest.mark.parametrize("said", [b"", b"not json\n"])
def test_a_device_without_python_has_none(said: bytes) -> None:
    board: Any = Board(said)
    found = probe(board, ["numpy"])
    assert (found.python, found.runtimes, found.clusters) == ("", {}, (6,))


def test_an_entry_says_what_differs_from_the_defaults_and_is_read_back(tmp_path: Path) -> None:
    hostile = FACTS | {"cpu_model": "evil\n  local: {python: /tmp/x}\x1b[31m # "}
    found = Probe(hostile, {"temperatures": []}, (4,), (), (), (), "", {})
    target = described(Target("b", "ssh", address="10.0.0.7", user="pi", tags=("a b", "yes"), key_file="~/k: #1"), found)
    text = entry(target, found)
    assert yaml.safe_load(text) == {
        "b": {
            "transport": "ssh", "isa": "aarch64", "cpu": "cortex_a72", "address": "10.0.0.7", "user": "pi", "key_file": "~/k: #1",
            "python": "none", "tags": ["a b", "yes"], "thread_counts": [1, 4],
        }
    }  # fmt: skip
    (tmp_path / "inventory.yaml").write_text("targets:\n" + "".join(f"  {line}\n" for line in text.splitlines()))
    assert load_inventory(tmp_path / "inventory.yaml") == {"local": Target("local"), "b": target}
