"""A harness killed at any moment while it tunes a device: the next connection puts everything back, byte for byte."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from targets.state import restore
from targets.target import Target
from targets.transports import connect

HARNESS = """
import dataclasses, json, random, sys
from pathlib import Path
from targets.state import Wanted, tuned
from targets.target import Target
from targets.transports import connect

fields, journals, seed = json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
target = Target(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
rng = random.Random(seed)
with connect(target) as session:
    print("ready", flush=True)
    while True:
        wanted = Wanted(rng.choice(["performance", "powersave", None]), rng.choice([None, 1_000_000_000]), rng.choice([None, (0,), (5,)]))
        with tuned(session, target, wanted, journals):
            pass
"""
"""Tunes a device again and again, and never has a moment's rest in between."""
KILLS = 200 if os.environ.get("ASSAY_NIGHTLY") else 6
"""Of each transport."""
LONGEST_S = 0.5
"""More than one round takes, so that every moment of it is hit."""


def kill_once(target: Target, sys_tree: Any, journal_there: Path, journals: Path, seed: int) -> bool:
    """Whether the kill found the device tuned."""
    rng = random.Random(seed)
    before = sys_tree.content()
    command = [sys.executable, "-c", HARNESS, json.dumps(dataclasses.asdict(target)), str(journals), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as harness:
        assert harness.stdout is not None and harness.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0, LONGEST_S))
        harness.send_signal(signal.SIGKILL)
    with connect(target) as session:  # what the harness left running there is ended by now
        was_tuned: bool = sys_tree.content() != before
        lost = rng.choice(["nothing", "here", "there"])
        if lost == "here":
            shutil.rmtree(journals, ignore_errors=True)
        if lost == "there":
            journal_there.unlink(missing_ok=True)
        restore(session, target, journals)
        assert sys_tree.content() == before, f"seed {seed}, journal lost: {lost}"
        assert restore(session, target, journals) == ()
    return was_tuned


def test_a_killed_harness_leaves_no_device_tuned(device: Target, sys_tree: Any, journal_there: Path, tmp_path: Path) -> None:
    tuned = sum(kill_once(device, sys_tree, journal_there, tmp_path / "journals", seed) for seed in range(KILLS))
    assert KILLS < 100 or tuned > KILLS / 5, "the kills must come while the device is tuned, too"
