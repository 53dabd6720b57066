from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.backends.torch import BACKEND
from harness.errors import BuildError, Unsupported
from harness.export import Exported
from harness.plugins import Choice
from harness.suite import Workload
from targets.target import Target

WORKLOAD = Workload(Choice("resnet8"), "digits")


@pytest.fixture(autouse=True)
def threads_restored(request: pytest.FixtureRequest) -> Iterator[None]:
    """`load` sets torch's threads for the whole process, which on a device is its own."""
    if request.node.get_closest_marker("torch") is None:
        yield
        return
    import torch

    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.torch
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 4])
def test_it_answers_as_the_network_does(
    opened: Callable[..., Any], answers_right: Callable[[Any], None], batch: int, threads: int
) -> None:
    given = opened("torch", {}, batch=batch, threads=threads)
    answers_right(given)
    facts = given.network.facts()
    assert (facts["mode"], facts["threads"]) == ("eager", threads)
    assert facts["version"].startswith("2.")


@pytest.mark.torch
def test_the_written_operators_are_the_programs_own(opened: Callable[..., Any]) -> None:
    """Not faster by doing less: bit-equal to the exported program, and the same operators as often."""
    import torch

    given = opened("torch", {})
    source = (given.artifact.folder / "network.py").read_text()
    assert {name: source.count(f"torch.ops.{name}(") for name in given.exported.facts["ops"]} == dict(given.exported.facts["ops"])
    given.network.invoke()
    with torch.inference_mode():
        expected = torch.export.load(given.exported.path).module()(torch.from_numpy(given.inputs)).numpy()
    assert np.array_equal(given.network.outputs()[0], expected)


@pytest.mark.torch
def test_the_same_program_gives_the_same_artifact(exported: Callable[..., Any], tmp_path: Path) -> None:
    made, _ = exported("pt2", 1)
    artifacts = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        artifacts.append(BACKEND().build(made, Target("t"), tmp_path / name))
    assert artifacts[0].sha256 == artifacts[1].sha256


@pytest.mark.torch
def test_opening_imports_neither_the_exporter_nor_the_compiler(opened: Callable[..., Any]) -> None:
    """They would double the start of each process launch."""
    folder = opened("torch", {}).artifact.folder
    code = (
        "import importlib.util, sys; import numpy as np;"
        "spec = importlib.util.spec_from_file_location('assay_backend', sys.argv[1]);"
        "module = importlib.util.module_from_spec(spec); sys.modules[spec.name] = module; spec.loader.exec_module(module);"
        "network = module.load(sys.argv[2], 'network.py', {'threads': 1});"
        "network.set_inputs([np.zeros((1, 3, 12, 12), np.float32)]); network.invoke(); assert network.outputs()[0].shape == (1, 10);"
        "heavy = {'torch._dynamo', 'torch._inductor', 'sympy', 'harness'} & set(sys.modules); assert not heavy, heavy"
    )
    plugin = sys.modules[BACKEND.__module__].__file__
    subprocess.run([sys.executable, "-P", "-c", code, str(plugin), str(folder)], check=True, cwd=folder)


@pytest.mark.torch
def test_outputs_are_copies_and_inputs_are_not_kept_alive_by_the_caller(opened: Callable[..., Any]) -> None:
    given = opened("torch", {})
    array = given.inputs.copy()
    given.network.set_inputs([array])
    given.network.invoke()
    (kept,) = given.network.outputs()
    before = kept.copy()
    array[:] = 0  # the network has its own copy
    given.network.invoke()
    assert np.array_equal(given.network.outputs()[0], before)
    given.network.set_inputs([array])
    given.network.invoke()
    assert np.array_equal(kept, before)
    assert not np.array_equal(given.network.outputs()[0], before)


def test_int8_is_unsupported_with_a_reason() -> None:
    reason = BACKEND().supports(WORKLOAD, "int8", Target("t"))
    assert reason is not None
    assert "float32" in reason


def test_inductor_is_for_this_machine_only() -> None:
    assert BACKEND(mode="inductor").supports(WORKLOAD, "float32", Target("t")) is None
    reason = BACKEND(mode="inductor").supports(WORKLOAD, "float32", Target("pi", transport="ssh"))
    assert reason is not None
    assert "`pi`" in reason
    assert BACKEND(mode="eager").supports(WORKLOAD, "float32", Target("pi", transport="ssh")) is None


def test_another_form_is_unsupported(tmp_path: Path) -> None:
    exported = Exported("onnx", tmp_path / "model.onnx", "float32", 1, "NCHW", None, {})
    with pytest.raises(Unsupported, match="takes form `pt2`, not `onnx`"):
        BACKEND().build(exported, Target("t"), tmp_path)


@pytest.mark.torch
def test_inductor_without_a_compiler_names_it(
    exported: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    made, _ = exported("pt2", 1)
    with pytest.raises(BuildError, match=r"no `g\+\+` on this machine's PATH.*install g\+\+"):
        BACKEND(mode="inductor").build(made, Target("t"), tmp_path)


@pytest.mark.torch
@pytest.mark.toolchain
def test_inductor_answers_as_the_network_does(opened: Callable[..., Any], answers_right: Callable[[Any], None]) -> None:
    given = opened("torch", {"mode": "inductor"}, batch=4)
    answers_right(given)
    assert given.artifact.facts["compiler"]
    assert [file.name for file in given.artifact.files] == ["network.so"]
    # threads are the run's, not the build's; the loader's imports stay as lean as eager's
    code = (
        "import importlib.util, sys; import numpy as np; spec = importlib.util.spec_from_file_location('assay_backend', sys.argv[1]);"
        "module = importlib.util.module_from_spec(spec); sys.modules[spec.name] = module; spec.loader.exec_module(module);"
        "network = module.load(sys.argv[2], 'network.so', {'threads': 2, 'mode': 'inductor'});"
        "network.set_inputs([np.load(sys.argv[3])]); network.invoke(); np.save(sys.argv[4], network.outputs()[0]);"
        "assert network.facts()['threads'] == 2;"
        "heavy = {'torch._inductor', 'torch._dynamo', 'sympy'} & set(sys.modules); assert not heavy, heavy"
    )
    folder = given.artifact.folder
    np.save(folder / "in.npy", given.inputs)
    plugin = str(sys.modules[BACKEND.__module__].__file__)
    command = [sys.executable, "-P", "-c", code, plugin, str(folder), str(folder / "in.npy"), str(folder / "out.npy")]
    subprocess.run(command, check=True)
    given.network.invoke()
    assert np.allclose(np.load(folder / "out.npy"), given.network.outputs()[0], rtol=1e-5, atol=1e-6)
