from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from harness import own_file, plugins
from harness.compression.numerics.layers import weighted_layers
from harness.data import DataSpec
from harness.errors import BuildError, Unsupported, UserError
from harness.export import Exported
from harness.forms import tflite
from harness.forms.form import Source
from harness.models import FileModel
from harness.models.networks import onnx_network
from harness.plugins import Choice
from harness.suite import Workload
from targets.target import Target

pytestmark = pytest.mark.torch

SPEC = DataSpec((1, 8, 8), 10, "8x8")
WEIGHT = np.random.default_rng(0).standard_normal((64, 10)).astype(np.float32)


def write_onnx(
    path: Path, batch: int | str = 1, shape: tuple[int, ...] = (1, 8, 8), inputs: int = 1, weight: Any = WEIGHT
) -> Path:
    """A linear layer on the pixels."""
    given = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, [batch, *shape]) for i in range(inputs)]
    nodes = [
        helper.make_node("Flatten", ["x0"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
        *(helper.make_node("Identity", [f"x{i}"], [f"z{i}"]) for i in range(1, inputs)),
    ]
    result = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 10])]
    graph = helper.make_graph(nodes, "g", given, result, [numpy_helper.from_array(weight, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def model(path: Path, **params: Any) -> FileModel:
    found: FileModel = plugins.load("models", f"{path.suffix[1:]}_file")(str(path), "digits", **params)
    return found


def taken_up(path: Path, folder: Path, examples: np.ndarray, **params: Any) -> Path:
    """Through the first two steps."""
    for name in ("train", "network"):
        (folder / name).mkdir(parents=True)
    own_file.adopt(model(path, **params), SPEC, folder / "train")
    own_file.compress_file(folder / "train", model(path, **params), examples, folder / "network")
    return folder / "network"


@pytest.mark.parametrize("batch", [1, "n", 4])
def test_an_onnx_file_is_handed_on_as_it_is_with_its_own_answers(batch: int | str, tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "my.onnx", batch)
    examples = np.random.default_rng(1).random((6, 1, 8, 8)).astype(np.float32)
    network = taken_up(path, tmp_path / "steps", examples)
    with np.load(network / "examples.npz") as stored:
        np.testing.assert_allclose(stored["outputs"], examples.reshape(6, 64) @ WEIGHT, rtol=1e-5)
    facts = json.loads((network / "compressed.json").read_text())
    assert (facts["claims"], facts["numeric"]) == ({}, "float32")
    asked = batch if isinstance(batch, int) else 5
    own_file.export_file(network, "onnx", asked, tmp_path / "exported")
    exported = Exported.load(tmp_path / "exported")
    assert exported.path.read_bytes() == path.read_bytes()
    assert (exported.form, exported.batch, exported.input_layout, exported.numeric) == ("onnx", asked, "NCHW", "float32")


def test_a_file_of_one_batch_is_not_asked_another(tmp_path: Path) -> None:
    network = taken_up(write_onnx(tmp_path / "my.onnx"), tmp_path / "steps", np.zeros((2, 1, 8, 8), np.float32))
    with pytest.raises(Unsupported, match="written for batch 1 and cannot be asked 8 at a time"):
        own_file.export_file(network, "onnx", 8, tmp_path / "exported")


def test_a_tflite_file_with_channels_last_is_given_them_last(tmp_path: Path) -> None:
    spec = DataSpec((3, 5, 4), 2, "pictures")
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(24, 2)).eval()
    examples = np.random.default_rng(1).random((3, 3, 5, 4)).astype(np.float32)
    written = tflite.write_float(Source(module, examples[:1], 1), tmp_path)
    assert written.input_layout == "NHWC"
    assert own_file.check_file(model(written.path), written.path, spec)["layout"] == "NHWC"
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    own_file.adopt(model(written.path), spec, tmp_path / "a")
    own_file.compress_file(tmp_path / "a", model(written.path), examples, tmp_path / "b")
    with np.load(tmp_path / "b" / "examples.npz") as stored, torch.no_grad():
        np.testing.assert_allclose(stored["outputs"], module(torch.from_numpy(examples)).numpy(), atol=1e-5)


def test_what_does_not_agree_is_said(tmp_path: Path) -> None:
    def refused(path: Path, spec: DataSpec = SPEC, **params: Any) -> str:
        with pytest.raises(UserError) as caught:
            own_file.check_file(model(path, **params), path, spec)
        return str(caught.value)

    good = write_onnx(tmp_path / "my.onnx")
    assert "takes examples of [1, 8, 8]; the data's are [3, 32, 32]" in refused(good, DataSpec((3, 32, 32), 10, ""))
    assert "computes in float32; say `numeric: float32`" in refused(good, numeric="int8")
    assert "takes 2 inputs; a data set gives one" in refused(write_onnx(tmp_path / "two.onnx", inputs=2))
    (tmp_path / "broken.onnx").write_bytes(good.read_bytes()[:99])
    assert "cannot be parsed" in refused(tmp_path / "broken.onnx")
    with pytest.raises(UserError, match=r"takes \.tflite files"):
        own_file.check_file(plugins.load("models", "tflite_file")(str(good), "digits"), good, SPEC)


def test_answers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "my.onnx", weight=np.full((64, 10), np.inf, np.float32))
    with pytest.raises(BuildError, match="not finite"):
        taken_up(path, tmp_path / "steps", np.ones((2, 1, 8, 8), np.float32))


@pytest.mark.parametrize(
    ("method", "backend", "reason"),
    [
        (Choice("float32"), "onnxruntime", None),
        (Choice("float32"), "litert", "litert takes form tflite and cannot make it of a .onnx file"),
        (Choice("int8_ptq"), "litert", None),
    ],
)
def test_a_cell_that_cannot_be_is_known_beforehand(method: Choice, backend: str, reason: str | None) -> None:
    chosen = plugins.resolve("models", "onnx_file", {"path": "my.onnx", "data": "digits"})
    found = own_file.file_refusal(Workload(chosen, "digits"), method, Choice(backend), Target("local"))
    assert found == reason or (reason is not None and reason in str(found))
    assert own_file.file_refusal(Workload(Choice("mlp"), "digits"), method, Choice(backend), Target("local")) is None


@pytest.mark.parametrize(("file", "numeric"), [("onnx_file", "int8"), ("tflite_file", "float32")])
def test_methods_change_the_layers_of_float32_onnx_files_alone(file: str, numeric: str) -> None:
    chosen = plugins.resolve("models", file, {"path": "my.x", "data": "digits", "numeric": numeric})
    refused = own_file.file_refusal(Workload(chosen, "digits"), Choice("int8_ptq"), Choice("onnxruntime"), Target("local"))
    assert refused is not None and "is measured as it is, by method `float32`" in refused


def test_layers_answer_as_the_file_does_or_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, examples = write_onnx(tmp_path / "my.onnx"), np.random.default_rng(1).random((3, 1, 8, 8)).astype(np.float32)
    taken = taken_up(path, tmp_path / "steps", examples)
    (layer,) = weighted_layers(own_file.network_of(model(path), taken, examples)).values()
    np.testing.assert_array_equal(layer.weight.detach().numpy(), WEIGHT.T)
    monkeypatch.setitem(onnx_network.CONVERT, "MatMul", lambda net, _node, given: net.call(torch.neg, given[0]))
    with pytest.raises(BuildError, match=r"layers in PyTorch answer \[3, 64\] .* \[3, 10\]"):
        own_file.network_of(model(path), taken, examples)


def test_arithmetic_is_the_files_own() -> None:
    quantized = plugins.resolve("models", "tflite_file", {"path": "x.tflite", "data": "digits", "numeric": "int8"})
    assert own_file.numeric_of(quantized, Choice("float32")) == "int8"
    own = plugins.resolve("models", "onnx_file", {"path": "x.onnx", "data": "digits"})
    assert [own_file.numeric_of(own, Choice(name)) for name in ("float32", "int8_ptq")] == ["float32", "int8"]
    assert own_file.numeric_of(Choice("mlp"), Choice("float32")) == "float32"
    assert own_file.numeric_of(Choice("mlp"), Choice("int8_ptq")) == "int8"
