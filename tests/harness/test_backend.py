"""Every backend file keeps both halves of the shape that `harness/backend.py` describes."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

from harness import backend as shape
from harness import plugins
from harness.export import FORMS
from harness.plugins import Choice
from harness.suite import Workload
from targets.target import Target

NAMES = plugins.names("backends")
WORKLOAD = Workload(Choice("mlp"), "digits")


@pytest.mark.parametrize("name", NAMES)
def test_the_host_half_answers_statically(name: str) -> None:
    backend: shape.Backend = plugins.instantiate("backends", Choice(name))
    for numeric in ("float32", "int8"):
        answer = backend.supports(WORKLOAD, numeric, Target("local"))
        assert answer is None or len(answer) > 10
        if answer is None:
            assert backend.form(numeric, Target("local")) in FORMS
    assert "gpu" in (backend.supports(WORKLOAD, "float32", Target("card", kind="gpu")) or "")


@pytest.mark.parametrize("name", [name for name in NAMES if shape.runner(plugins.load("backends", name)) == "python"])
def test_the_device_half_is_a_function_of_folder_file_and_options(name: str) -> None:
    load = importlib.import_module(f"harness.backends.{name}").load
    assert list(inspect.signature(load).parameters) == ["folder", "file", "options"]


@pytest.mark.parametrize("name", NAMES)
def test_the_file_imports_with_nothing_but_the_standard_library(name: str) -> None:
    code = f"import runpy; runpy.run_path({str(plugins.path('backends', name))!r})"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_device_without_python_runs_programs_alone() -> None:
    bare, full = Target("board", isa="aarch64", transport="ssh", python="none"), Target("board", isa="aarch64", transport="ssh")
    for name in NAMES:
        backend = plugins.load("backends", name)
        reason = shape.refusal(Choice(name), WORKLOAD, "float32", bare, 1)
        if shape.runner(backend) == "program":
            assert reason == shape.refusal(Choice(name), WORKLOAD, "float32", full, 1)
        else:
            assert reason == f"{name} runs in Python, and target `board` has none (`python: none`)"
    assert "program" in {shape.runner(plugins.load("backends", name)) for name in NAMES}
