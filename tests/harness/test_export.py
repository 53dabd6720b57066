from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness import export as module
from harness.compression import Quantization
from harness.errors import BuildError, UserError
from harness.export import FORMS, Examples, Exported, TensorSpec, check, export, from_file, save_program, signature

if TYPE_CHECKING:
    from torch import nn

ROWS = 5
SHAPE = (3, 12, 12)
QUANTIZATION = Quantization(8, 8, True, 32, "")
INT8 = [name for name, form in FORMS.items() if form.numeric == "int8"]


def plain() -> nn.Module:
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


def residual() -> nn.Module:
    from torch import Tensor, nn

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, padding=1)
            self.inner = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
            self.act = nn.ReLU()
            self.head = nn.Linear(8, 10)

        def forward(self, x: Tensor) -> Tensor:
            y = self.act(self.stem(x))
            found: Tensor = self.head(self.act(y + self.inner(y)).mean((2, 3)))
            return found

    return Residual()


def depthwise() -> nn.Module:
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU6(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.BatchNorm2d(8),
        nn.ReLU6(),
        nn.Conv2d(8, 16, 1),
        nn.AvgPool2d(6),
        nn.Flatten(1),
        nn.Linear(16, 10),
    )


def flat() -> nn.Module:
    from torch import nn

    return nn.Sequential(nn.Flatten(1), nn.Linear(432, 32), nn.ReLU(), nn.Linear(32, 10))


NETWORKS: dict[str, Callable[[], nn.Module]] = {"plain": plain, "residual": residual, "depthwise": depthwise, "flat": flat}


class Case:
    """One network on disk with inputs and its own answers."""

    def __init__(self, name: str, folder: Path) -> None:
        import torch

        torch.manual_seed(0)
        network = NETWORKS[name]()
        self.calibration = np.random.default_rng(1).standard_normal((32, *SHAPE), np.float32)
        with torch.no_grad():
            network(torch.from_numpy(self.calibration))  # batch normalization sees data
        network.eval()
        inputs = np.random.default_rng(2).standard_normal((ROWS, *SHAPE), np.float32)
        with torch.no_grad():
            self.examples = Examples(inputs, network(torch.from_numpy(inputs)).numpy())
        self.program = folder / "module.pt2"
        save_program(network, np.zeros((1, *SHAPE), np.float32), self.program)

    def export(self, form: str, folder: Path, *, batch: int = 2, examples: Examples | None = None) -> Exported:
        if form == "pt2e_int8":
            pytest.importorskip("executorch", reason="executorch is not installed: its quantizer places the pairs")
        integer = FORMS[form].numeric == "int8"
        return export(
            self.program,
            form=form,
            batch=batch,
            numeric=FORMS[form].numeric,
            quantization=QUANTIZATION if integer else None,
            calibration=self.calibration if integer else None,
            examples=self.examples if examples is None else examples,
            folder=folder,
            isa="x86_64",
        )


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    return {name: Case(name, tmp_path_factory.mktemp(name)) for name in NETWORKS}


@pytest.mark.torch
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_form_answers_as_the_network_does(cases: dict[str, Case], tmp_path: Path, name: str, form: str) -> None:
    case = cases[name]
    exported = case.export(form, tmp_path / form)
    assert Exported.load(tmp_path / form) == exported
    assert exported.facts["isa"] == "x86_64"
    assert exported.facts["tools"]
    # by hand, and not by what export says of itself
    rows = np.concatenate([case.examples.inputs, case.examples.inputs[-1:]])
    chunks = [exported.lay_out(rows[start : start + 2]) for start in (0, 2, 4)]
    answers = np.concatenate(FORMS[form].answer(exported.path, chunks))[:ROWS]
    error = answers - case.examples.outputs
    if exported.numeric == "float32":
        assert np.abs(error).max() <= 1e-5 * np.abs(case.examples.outputs).max()
    else:
        assert 10 * np.log10(np.square(case.examples.outputs).sum() / np.square(error).sum()) >= 30
        assert exported.facts["sqnr_db"] >= 30
    assert exported.facts["max_abs_error"] == pytest.approx(np.abs(error).max(), rel=1e-3, abs=1e-9)
    given, found = signature(exported)
    assert given[0].shape == exported.lay_out(np.zeros((2, *SHAPE), np.float32)).shape
    assert found[0].shape == (2, 10)
    integers = form == "tflite_int8"
    assert (given[0].dtype, found[0].dtype) == (("int8", "int8") if integers else ("float32", "float32"))


@pytest.mark.torch
@pytest.mark.parametrize("form", FORMS)
def test_a_form_that_answers_otherwise_is_a_build_error_with_the_figures(
    cases: dict[str, Case], tmp_path: Path, form: str
) -> None:
    """The reference is another one by 1 % of its largest value, for int8 by a shift of classes: what a wrong conversion looks like."""
    case = cases["plain"]
    outputs = case.examples.outputs
    wrong = np.roll(outputs, 1, axis=1) if form in INT8 else outputs + 0.01 * np.abs(outputs).max().astype(np.float32)
    with pytest.raises(BuildError, match=rf"form `{form}` does not answer as.*largest error .* SQNR .*dB"):
        case.export(form, tmp_path, examples=Examples(case.examples.inputs, wrong))
    assert not (tmp_path / "exported.json").exists()


@pytest.mark.torch
@pytest.mark.parametrize("batch", [1, 8])
def test_a_batch_larger_or_smaller_than_the_examples_is_filled_up(cases: dict[str, Case], tmp_path: Path, batch: int) -> None:
    exported = cases["plain"].export("onnx", tmp_path, batch=batch)
    assert signature(exported).inputs == (TensorSpec("input", (batch, *SHAPE), "float32"),)


@pytest.mark.torch
def test_exporting_says_nothing(cases: dict[str, Case], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for form in ("onnx_qdq_u8s8", "tflite_int8", "pt2"):
        cases["residual"].export(form, tmp_path / form)
    assert capfd.readouterr() == ("", "")


@pytest.mark.torch
def test_wrong_arguments_are_refused_before_any_work(cases: dict[str, Case], tmp_path: Path) -> None:
    case = cases["plain"]
    given = {"batch": 1, "quantization": None, "calibration": None, "examples": case.examples, "folder": tmp_path / "out"}
    with pytest.raises(ValueError, match=r"no form is called `onx`\. Did you mean `onnx`\?"):
        export(case.program, form="onx", numeric="float32", **given)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="form `onnx` holds float32 networks, not int8"):
        export(case.program, form="onnx", numeric="int8", **given)  # type: ignore[arg-type]
    with pytest.raises(BuildError, match="needs calibration inputs"):
        export(case.program, form="tflite_int8", numeric="int8", **given)  # type: ignore[arg-type]
    other = given | {"quantization": QUANTIZATION, "calibration": np.zeros((4, 1, 8, 8), np.float32)}
    with pytest.raises(ValueError, match="calibration inputs have shape"):
        export(case.program, form="tflite_int8", numeric="int8", **other)  # type: ignore[arg-type]


@pytest.mark.torch
def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    """Artifacts are known by their sha256: hash seeds, folders and the lines of the calling code must not show in them.

    The integer forms are made from the float ones, so these three stand for all.
    """
    script = """
import sys, pathlib, numpy as np, torch
from harness.compression import Quantization
from harness.export import Examples, export, save_program
torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 10)).eval()
x = np.random.default_rng(0).standard_normal((4, 3, 8, 8), np.float32)
folder = pathlib.Path(sys.argv[1])
with torch.no_grad():
    examples = Examples(x, network(torch.from_numpy(x)).numpy())
save_program(network, np.zeros((1, 3, 8, 8), np.float32), folder / "module.pt2")
for form in ("onnx_qdq_u8s8", "tflite_int8", "pt2"):
    integer = form != "pt2"
    export(folder / "module.pt2", form=form, batch=1, numeric="int8" if integer else "float32", examples=examples, folder=folder / form,
           quantization=Quantization(8, 8, True, 4, "") if integer else None, calibration=x if integer else None)
"""
    running = []
    for index in (1, 2):
        folder = tmp_path / f"run{index}"
        folder.mkdir()
        (folder / "script.py").write_text("\n" * 17 * index + script)
        environment = os.environ | {"PYTHONHASHSEED": str(index), "PYTHONPATH": str(Path(module.__file__).parent.parent)}
        running.append(subprocess.Popen([sys.executable, str(folder / "script.py"), str(folder)], cwd=folder, env=environment))
    assert [process.wait(300) for process in running] == [0, 0]
    for name in ("module.pt2", "onnx_qdq_u8s8/model.onnx", "tflite_int8/model.tflite", "pt2/model.pt2"):
        first, second = (tmp_path / f"run{index}" / name for index in (1, 2))
        assert first.read_bytes() == second.read_bytes(), name


@pytest.mark.torch
def test_a_users_tflite_is_read_as_it_is(cases: dict[str, Case], tmp_path: Path) -> None:
    made = cases["plain"].export("tflite_int8", tmp_path)
    read = from_file(made.path)
    assert (read.form, read.numeric, read.batch, read.input_layout, read.quantization) == ("tflite", "int8", 2, "NCHW", None)
    assert signature(read) == signature(made)
    assert signature(read).inputs[0].shape == (2, 12, 12, 3)


@pytest.mark.torch
@pytest.mark.parametrize("form", ["onnx", "tflite", "tflite_int8"])
def test_a_truncated_file_is_a_user_error_wherever_it_was_cut(cases: dict[str, Case], tmp_path: Path, form: str) -> None:
    made = cases["flat"].export(form, tmp_path / "made")
    content = made.path.read_bytes()
    path = tmp_path / made.path.name
    for share in (0.0001, 0.003, 0.03, 0.25, 0.5, 0.75, 0.97, 0.999):
        path.write_bytes(content[: max(1, int(share * len(content)))])
        with pytest.raises(UserError, match=str(path)):
            from_file(path)
    path.write_bytes(content[:-1])
    with pytest.raises(UserError, match=str(path)):
        from_file(path)


@pytest.mark.torch
@pytest.mark.parametrize("form", ["onnx", "tflite_int8"])
def test_flipped_bytes_give_a_user_error_or_another_whole_file(cases: dict[str, Case], tmp_path: Path, form: str) -> None:
    """Neither format has a check sum, so a flip in a weight cannot be seen; a parser that dies must not take us with it."""
    made = cases["plain"].export(form, tmp_path / "made")
    path = tmp_path / made.path.name
    refused = 0
    for seed in range(12):
        draw = random.Random(seed)
        content = bytearray(made.path.read_bytes())
        for _ in range(40):
            content[draw.randrange(len(content))] ^= draw.randrange(1, 256)
        path.write_bytes(content)
        try:
            assert signature(from_file(path)).outputs
        except UserError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused >= 6


def test_a_users_onnx_is_read_as_it_is(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "height", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, "height", 8])],
    )
    path = tmp_path / "relu.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    exported = from_file(path)
    assert (exported.form, exported.path, exported.numeric, exported.batch, exported.input_layout) == (
        "onnx",
        path,
        "float32",
        1,
        "NCHW",
    )
    assert signature(exported) == ((TensorSpec("x", (1, 3, 1, 8), "float32"),), (TensorSpec("y", (1, 3, 1, 8), "float32"),))
    assert exported.facts["symbolic_dims"] == {"n": 1, "height": 1}


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_exported_survives_its_own_file(tmp_path: Path, layout: str) -> None:
    facts = {"ops": {"Conv": 2}, "sqnr_db": None}
    exported = Exported("tflite", tmp_path / "model.tflite", "int8", 4, layout, QUANTIZATION, facts, output_layout="NHWC")  # type: ignore[arg-type]
    exported.save()
    assert Exported.load(tmp_path) == exported
    assert str(tmp_path) not in (tmp_path / "exported.json").read_text()
    array = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    assert exported.lay_out(array).shape == ((2, 4, 5, 3) if layout == "NHWC" else array.shape)
    assert exported.as_stored(array).shape == (2, 5, 3, 4)


ONES = np.ones((1, 2), np.float32)


def test_check_measures_the_errors() -> None:
    reference = np.array([[3.0, -4.0]], np.float32)
    figures = check("onnx", "float32", reference + np.array([[0, 1e-4]], np.float32), Examples(reference, reference))
    assert figures["max_abs_error"] == pytest.approx(1e-4, rel=1e-2)
    assert figures["relative_error"] == pytest.approx(2.5e-5, rel=1e-2)
    assert figures["sqnr_db"] == pytest.approx(10 * np.log10(25 / 1e-8), abs=0.1)
    assert (
        json.loads(json.dumps(check("onnx", "float32", reference, Examples(reference, reference)), allow_nan=False))["sqnr_db"]
        is None
    )


@pytest.mark.parametrize(("numeric", "error", "passes"), [
    ("float32", 3.9e-4, True), ("float32", 4.1e-4, False), ("int8", 0.49, True), ("int8", 0.51, False),
])  # fmt: skip
def test_check_stops_at_the_documented_bounds(numeric: str, error: float, *, passes: bool) -> None:
    """float32: 1e-4 of 4; int8: 20 dB of a signal of 25 is noise of 0.25, an error of 0.5."""
    reference = np.array([[3.0, -4.0]], np.float32)
    outputs = reference + np.array([[0, error]], np.float32)
    if passes:
        check("f", numeric, outputs, Examples(reference, reference))  # type: ignore[arg-type]
    else:
        with pytest.raises(BuildError, match="does not answer as the compressed network does"):
            check("f", numeric, outputs, Examples(reference, reference))  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_check_refuses_answers_that_are_not_finite(bad: float) -> None:
    with pytest.raises(BuildError, match="not finite"):
        check("onnx", "float32", np.array([[1.0, bad]], np.float32), Examples(ONES, ONES))


def test_check_refuses_another_shape() -> None:
    with pytest.raises(BuildError, match=r"shape \[1, 3\] instead of \[1, 2\]"):
        check("onnx", "float32", np.ones((1, 3), np.float32), Examples(ONES, ONES))


@pytest.mark.parametrize("numeric", ["float32", "int8"])
def test_check_of_a_reference_of_zeros_is_absolute(numeric: str) -> None:
    zeros = np.zeros((1, 2), np.float32)
    assert check("f", numeric, zeros, Examples(zeros, zeros))["relative_error"] is None  # type: ignore[arg-type]
    with pytest.raises(BuildError, match="largest error 1; required"):
        check("f", numeric, zeros + 1, Examples(zeros, zeros))  # type: ignore[arg-type]
