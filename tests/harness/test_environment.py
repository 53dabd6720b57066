"""A backend whose runtime lives in an environment of its own, made here from a wheel of three files: no network, real venv and pip."""

from __future__ import annotations

import platform
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness.backends
from harness import environment, plugins
from harness.backend import refusal
from harness.bench import bench
from harness.errors import BuildError, Unsupported, UserError
from harness.plugins import Choice
from harness.steps import build_step
from harness.suite import Sampling, Workload
from targets.target import Target

HERE = Target("local")
FAST = Sampling(launches=2, warmup_samples=2, warmup_s=0.005, min_samples=5, min_s=0.02, min_sample_s=0.001, check_inputs=2)

BACKEND = '''
"""Doubles, by a runtime that lives elsewhere."""
from __future__ import annotations
import os
from dataclasses import dataclass
from typing import ClassVar

@dataclass(frozen=True)
class Backend:
    requires: ClassVar[tuple[str, ...]] = ("tiny-runtime",)
    {more}
    reads: ClassVar[tuple[str, ...]] = (".onnx",)
    def supports(self, workload, numeric, target): return None
    def form(self, numeric, target): return "onnx"
    def build(self, exported, target, folder):
        from harness import environment
        from harness.artifact import Artifact
        (folder / "factor").write_text(str(environment.call("apart", "factor", 2)))
        return Artifact.of(folder, ("factor",), {{}})

BACKEND = Backend

def factor(times):
    import tiny_runtime
    return tiny_runtime.FACTOR * times

def refused():
    raise NotImplementedError("no kernel for node `x`")

def broken():
    import sys
    print("the compiler's last words", file=sys.stderr)
    raise SystemExit(3)

def killed():
    os.kill(os.getpid(), 11)

class Network:
    def __init__(self, path):
        import tiny_runtime
        self.factor = float(open(path).read()) * tiny_runtime.FACTOR
    def set_inputs(self, arrays): self.arrays = arrays
    def invoke(self): self.given = [self.factor * array for array in self.arrays]
    def outputs(self): return self.given
    def output_quantization(self): return [None]
    def facts(self):
        import sys, tiny_runtime
        return {{"prefix": sys.prefix}}

def load(folder, file, options): return Network(os.path.join(folder, file))
'''


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """tiny_runtime 1.2: a module with a number in it."""
    path = tmp_path / "tiny_runtime-1.2-py3-none-any.whl"
    info = "tiny_runtime-1.2.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_runtime.py", "FACTOR = 1\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-runtime\nVersion: 1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"tiny_runtime.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Writes the backend `apart` with further class variables; gone again after the test."""
    folder = tmp_path / "plugins" / "backends"
    folder.mkdir(parents=True)
    monkeypatch.setenv("ASSAY_PLUGINS", str(tmp_path / "plugins"))
    monkeypatch.delenv("ASSAY_ENVIRONMENTS", raising=False)
    monkeypatch.setattr(harness.backends, "__path__", list(harness.backends.__path__))

    def write(more: str) -> None:
        (folder / "apart.py").write_text(BACKEND.format(more=more))

    yield write
    sys.modules.pop("harness.backends.apart", None)
    for cached in (plugins.load, plugins.path, plugins.source_sha256, environment.versions, build_step):
        cached.cache_clear()


def declared(wheel: Path) -> str:
    return f'environment: ClassVar[tuple[str, ...]] = ("tiny-runtime @ {wheel.as_uri()}",)'


def test_an_environment_is_made_once_and_the_backend_builds_and_runs_there(
    apart: Callable[[str], None], wheel: Path, tmp_path: Path
) -> None:
    apart(declared(wheel))
    workload = Workload(Choice("mlp"), "digits")
    assert environment.missing("apart", HERE) == "tiny-runtime not installed: assay setup apart"
    assert refusal(Choice("apart"), workload, "float32", HERE, 1) == environment.missing("apart", HERE)
    before = environment.versions("apart")

    folder = environment.setup("apart")

    assert folder.parent == tmp_path / "assay-cache" / "environments"
    assert before == {"tiny-runtime": None} and environment.versions("apart") == {"tiny-runtime": "1.2"}
    assert refusal(Choice("apart"), workload, "float32", HERE, 1) is None
    made = folder.stat().st_mtime_ns
    assert environment.setup("apart") == folder and folder.stat().st_mtime_ns == made
    assert environment.call("apart", "factor", 21) == 21

    # End to end: the runner needs numpy, which this environment borrows.
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "borrowed.pth").write_text(str(Path(np.__file__).parents[1]))
    report = bench(
        _doubling(tmp_path), backends=(Choice("apart"),), target=Target("device", work_dir=str(tmp_path / "work")),
        threads=1, inputs=None, sampling=FAST, seed=0,
    )  # fmt: skip
    (result,) = report.results
    assert (result.status, result.check and result.check.max_abs_error) == ("ok", 0.0), result.reason


def test_the_answers_of_a_function_there_are_answers_unsupported_or_errors(apart: Callable[[str], None], wheel: Path) -> None:
    apart("pass")  # in Assay's own environment
    with pytest.raises(Unsupported, match="no kernel for node `x`"):
        environment.call("apart", "refused")
    with pytest.raises(BuildError, match=r"apart, broken: failed: exit status 3; it last said: the compiler's last words"):
        environment.call("apart", "broken")
    with pytest.raises(BuildError, match="apart, killed: failed: signal SIGSEGV"):
        environment.call("apart", "killed")
    with pytest.raises(BuildError, match="No module named 'tiny_runtime'"):
        environment.call("apart", "factor", 1)


def test_a_call_that_never_ends_is_ended(apart: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    apart("pass")
    monkeypatch.setattr(environment, "CALL_TIMEOUT_S", 0.0)
    with pytest.raises(BuildError, match="was stopped after 0 s"):
        environment.call("apart", "refused")


def test_what_pip_cannot_install_leaves_nothing_behind(apart: Callable[[str], None], tmp_path: Path) -> None:
    apart(f'environment: ClassVar[tuple[str, ...]] = ("tiny-runtime @ {(tmp_path / "absent.whl").as_uri()}",)')
    with pytest.raises(BuildError, match=r"pip install .* ended with exit status 1"):
        environment.setup("apart")
    assert list((tmp_path / "assay-cache" / "environments").iterdir()) == []


def test_other_requirements_are_another_environment_and_another_step(
    apart: Callable[[str], None], wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart(declared(wheel))
    first = environment._folder("apart")
    monkeypatch.setattr(environment, "requirements", lambda _name: ("something-else",))
    assert environment._folder("apart") != first
    monkeypatch.undo()
    monkeypatch.setattr(platform, "python_version", lambda: "3.99.0")
    assert environment._folder("apart") != first


def test_where_the_inventory_names_a_python_or_another_machine_it_is_left_to_that(
    apart: Callable[[str], None], wheel: Path
) -> None:
    apart(declared(wheel))
    for target in (Target("other", python="/opt/python"), Target("board", transport="ssh")):
        assert environment.interpreter("apart", target) is None
        assert environment.missing("apart", target) is None
    assert environment.interpreter("apart", HERE) == str(environment._folder("apart") / "bin" / "python")


def test_what_a_build_needs_is_needed_for_every_target(apart: Callable[[str], None]) -> None:
    apart('builds_with: ClassVar[tuple[str, ...]] = ("tiny-compiler", "numpy")')
    assert environment.missing("apart", Target("board", transport="ssh")) == (
        "tiny-compiler not installed: pip install tiny-runtime tiny-compiler"
    )
    assert str(environment.missing("apart", HERE)).startswith("tiny-compiler, tiny-runtime not installed")


def test_setup_of_a_backend_that_shares_assays_environment_says_how_to_get_it() -> None:
    with pytest.raises(UserError, match="`onnxruntime` shares Assay's own environment"):
        environment.setup("onnxruntime")


def test_the_environments_may_be_kept_elsewhere(
    apart: Callable[[str], None], wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart(declared(wheel))
    monkeypatch.setenv("ASSAY_ENVIRONMENTS", "elsewhere")
    assert environment._folder("apart").parent == Path.cwd() / "elsewhere"


def _doubling(folder: Path) -> Path:
    """y = 2 x, as the backend has it."""
    import onnx
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), folder / "model.onnx")
    return folder / "model.onnx"


def test_every_backend_of_ours_says_how_to_get_it() -> None:
    for name in plugins.names("backends"):
        how: Any = environment.how_to_get(name)
        assert how.startswith(("pip install ", "assay setup "))
    assert environment.how_to_get("tvm") == "assay setup tvm"
    optional = {name for name in plugins.names("backends") if environment.is_optional(name)}
    assert plugins.names("backends") and set(plugins.names("backends")) - optional == {"litert", "native", "onnxruntime", "torch"}
    assert Path(str(environment.interpreter("deepsparse", HERE))).is_absolute()
