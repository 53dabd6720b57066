"""What every backend promises, over all of them."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

import harness.backends
from harness.backend import runner
from harness.compression import Numeric
from harness.export import FORMS
from harness.plugins import Choice
from harness.suite import Workload
from targets.target import Target

FOLDER = Path(harness.backends.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
NETWORK = Workload(Choice("resnet8"), "digits")
LAYER = Workload(Choice("resnet8"), "digits", "conv1")


def backend(name: str) -> Any:
    return importlib.import_module(f"harness.backends.{name}").BACKEND


RUN_BY_PYTHON = [name for name in NAMES if runner(backend(name)) == "python"]
"""The others' artifacts are programs that run themselves: nothing of their file goes to the device."""


@pytest.mark.parametrize("name", RUN_BY_PYTHON)
def test_the_file_imports_on_a_device_that_has_the_standard_library_alone(name: str, tmp_path: Path) -> None:
    """Isolated (-I), no site-packages (-S), from another folder: as the runner imports it, nothing but Python there."""
    code = (
        "import importlib.util, sys; spec = importlib.util.spec_from_file_location('assay_backend', sys.argv[1]);"
        "module = importlib.util.module_from_spec(spec); sys.modules[spec.name] = module; spec.loader.exec_module(module);"
        "assert callable(module.load); module.BACKEND();"
        "heavy = {'numpy', 'harness', 'targets', 'results'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    path = tmp_path / "pushed.py"
    path.write_bytes((FOLDER / f"{name}.py").read_bytes())
    subprocess.run([sys.executable, "-I", "-S", "-c", code, str(path)], check=True, cwd=tmp_path)


@pytest.mark.parametrize("name", RUN_BY_PYTHON)
def test_the_file_is_python_3_8(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name}.py").read_text(), feature_version=(3, 8))
    keywords = [keyword.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for keyword in node.keywords]
    assert "slots" not in keywords
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    on_device = [node for node in calls if node.func.id == "zip" and node.lineno > device_half(name)]  # type: ignore[attr-defined]
    assert not any(keyword.arg == "strict" for node in on_device for keyword in node.keywords)


def device_half(name: str) -> int:
    """The line where the host's class ends."""
    return next(
        node.lineno
        for node in ast.parse((FOLDER / f"{name}.py").read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "BACKEND"
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_host_half_is_a_frozen_dataclass_with_defaults(name: str) -> None:
    kind = backend(name)
    made = kind()
    for field in dataclasses.fields(made):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field.name, "x")
        with pytest.raises(ValueError, match=field.name):
            TypeAdapter(kind).validate_python({field.name: "no such value"}, strict=True)


@pytest.mark.parametrize("name", RUN_BY_PYTHON)
def test_the_device_half_opens_a_file_and_needs_numpy(name: str) -> None:
    assert "numpy" in backend(name).requires
    assert inspect.signature(importlib.import_module(f"harness.backends.{name}").load).parameters.keys() == {
        "folder",
        "file",
        "options",
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("isa", ["", "x86_64", "aarch64", "armv7l"])
@pytest.mark.parametrize("numeric", ["float32", "int8"])
def test_the_form_is_one_that_export_makes_in_the_same_arithmetic(name: str, isa: str, numeric: Numeric) -> None:
    made, target = backend(name)(), Target("t", isa=isa)
    if made.supports(NETWORK, numeric, target) is None:
        assert FORMS[made.form(numeric, target)].numeric == numeric


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("workload", [NETWORK, LAYER])
def test_float_networks_and_layers_are_supported_on_cpus(name: str, workload: Workload) -> None:
    assert backend(name)().supports(workload, "float32", Target("t")) is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["gpu", "fpga", "mcu"])
def test_another_kind_of_device_is_unsupported_with_a_reason(name: str, kind: Any) -> None:
    reason = backend(name)().supports(NETWORK, "float32", Target("t", kind=kind))
    assert reason is not None
    assert kind in reason
    assert "`t`" in reason
