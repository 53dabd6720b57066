"""Steps in real worker processes: cached by content, failures and crashes kept to the step at fault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from harness.executor import Executor, Failure, log_path
from harness.plugins import Choice
from harness.steps import Step, train_step

pytestmark = pytest.mark.torch

MODEL = """
'''A model that {what}.'''
from __future__ import annotations
import os, sys
from dataclasses import dataclass
from harness.criterion import CLASSIFICATION
from harness.train import Recipe

@dataclass(frozen=True)
class Model:
    data: str = "digits"
    weights: str = ""
    size: int = 4
    criterion = CLASSIFICATION

    def accepts(self, spec): return None
    def recipe(self): return Recipe(epochs=1)
    def build(self, spec):
        from torch import nn
        {does}
        return nn.Sequential(nn.Flatten(), nn.Linear(64, self.size), nn.Linear(self.size, 10))

MODEL = Model
"""


@pytest.fixture
def plugin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "plugins" / "models"
    folder.mkdir(parents=True)
    for name, does in {
        "fine": "pass",
        "crashing": "os.kill(os.getpid(), 9)",
        "raising": "print('the last words'); raise ValueError('no such luck')",
        "greedy": "print('x' * 10**6); raise OSError(28, 'No space left on device')",
    }.items():
        (folder / f"{tmp_path.name}_{name}.py".replace("-", "_")).write_text(
            textwrap.dedent(MODEL).format(what=f"is {name}", does=does)
        )
    monkeypatch.setenv("ASSAY_PLUGINS", str(tmp_path / "plugins"))
    return folder


def step(tmp_path: Path, name: str, size: int = 4) -> Step:
    params = (("size", size),) if size != 4 else ()
    return train_step(Choice(f"{tmp_path.name}_{name}".replace("-", "_"), params), "digits", 0)


def test_results_are_cached_and_failures_stay_with_their_step(plugin_folder: Path, tmp_path: Path) -> None:
    fine = [step(tmp_path, "fine", size) for size in (4, 5, 6)]
    crashing, raising = step(tmp_path, "crashing"), step(tmp_path, "raising")
    events: list[tuple[str, str]] = []
    with Executor(2, lambda s, event: events.append((s.key, event))) as executor:
        ended = executor.run([fine[0], crashing, fine[1], raising, fine[2]])
    assert [ended[s.key] for s in fine] == [None] * 3
    assert all((s.folder / "weights.safetensors").is_file() for s in fine)
    failure = ended[crashing.key]
    assert isinstance(failure, Failure) and failure.error_class == "WorkerDied" and crashing.title in failure.message
    failure = ended[raising.key]
    assert isinstance(failure, Failure) and failure.error_class == "ValueError" and "no such luck" in failure.message
    assert "the last words" in failure.log_tail and "Traceback" in log_path(raising).read_text()
    assert not raising.is_done() and not crashing.is_done()

    events.clear()
    with Executor(2, lambda s, event: events.append((s.key, event))) as executor:
        assert executor.run(fine) == {s.key: None for s in fine}
    assert events == []


def test_a_full_disk_passes_and_says_what_to_do(plugin_folder: Path, tmp_path: Path, own_cache: Path) -> None:
    """Also where the log of it cannot be written: nothing of that comes out elsewhere, and the next step has its log."""
    greedy, mute, fine = step(tmp_path, "greedy"), step(tmp_path, "greedy", 5), step(tmp_path, "fine")
    log_path(mute).parent.mkdir(parents=True)
    log_path(mute).symlink_to("/dev/full")
    with Executor(1) as executor:
        ended = executor.run([greedy, mute, fine])
    assert ended[fine.key] is None and "x" not in log_path(fine).read_text()
    for full in (greedy, mute):
        failure = ended[full.key]
        assert isinstance(failure, Failure) and failure.is_passing and not full.is_done()
        assert "No space left" in failure.message and f"the disk of {own_cache} is full: free some space" in failure.message


def test_the_key_changes_with_every_input_and_is_the_same_in_another_process(plugin_folder: Path, tmp_path: Path) -> None:
    one = step(tmp_path, "fine")
    assert one.key != step(tmp_path, "fine", 5).key
    assert one.key != train_step(Choice("mlp"), "digits", 0).key != train_step(Choice("mlp"), "digits", 1).key
    code = "from harness.steps import train_step; from harness.plugins import Choice; print(train_step(Choice('mlp'), 'digits', 0).key)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == train_step(Choice("mlp"), "digits", 0).key


def test_two_processes_that_want_one_step_do_it_once(plugin_folder: Path, tmp_path: Path) -> None:
    one = step(tmp_path, "fine")
    code = (
        "import json, sys\nfrom harness.steps import train_step\nfrom harness.plugins import Choice\nfrom harness.perform import perform\n"
        f"perform(train_step(Choice({one.inputs and json.loads(one.inputs)['model']['name']!r}), 'digits', 0), lambda w, s: print('epoch', s))\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=dict(os.environ), text=True) for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert all(process.returncode == 0 for process in both)
    assert sum("epoch" in output for output in outputs) == 1
    assert one.is_done()
