from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.artifact import Artifact
from harness.backends.onnxruntime import BACKEND, load
from harness.errors import Unsupported
from harness.export import Exported, from_file
from harness.plugins import Choice
from harness.suite import Workload
from targets.target import Target

WORKLOAD = Workload(Choice("resnet8"), "digits")


@pytest.mark.torch
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("numeric", ["float32", "int8"])
def test_it_answers_as_the_network_does(
    opened: Callable[..., Any], answers_right: Callable[[Any], None], numeric: str, batch: int, threads: int
) -> None:
    given = opened("onnxruntime", {}, numeric=numeric, batch=batch, threads=threads)
    answers_right(given)
    facts = given.network.facts()
    assert facts["providers"] == ["CPUExecutionProvider"]
    assert (facts["threads"], facts["spinning"]) == (threads, threads > 1)


@pytest.mark.torch
@pytest.mark.parametrize("level", ["all", "extended", "basic", "none"])
def test_every_level_of_optimization_answers_right(
    opened: Callable[..., Any], answers_right: Callable[[Any], None], level: str
) -> None:
    answers_right(opened("onnxruntime", {"graph_optimization": level}))


@pytest.mark.torch
def test_an_int8_network_runs_on_integer_kernels(opened: Callable[..., Any]) -> None:
    ops = opened("onnxruntime", {}, numeric="int8").artifact.facts["ops_optimized_on_build_machine"]
    assert ops["QLinearConv"] == 3
    assert ops["QGemm"] == 1
    assert ops["QLinearAdd"] == 1
    assert not {"Conv", "FusedConv", "Gemm", "MatMul", "Add"} & set(ops)


@pytest.mark.torch
def test_an_int8_network_for_arm_runs_on_integer_kernels_there(exported: Callable[..., Any], tmp_path: Path) -> None:
    target = Target("pi", isa="aarch64")
    made, _ = exported(BACKEND().form("int8", target), 1)
    assert made.form == "onnx_qdq_s8s8"
    ops = BACKEND().build(made, target, tmp_path).facts["ops_optimized_on_build_machine"]
    assert ops["QLinearConv"] == 3
    assert not {"Conv", "FusedConv", "Gemm"} & set(ops)


@pytest.mark.torch
def test_new_inputs_replace_the_old_ones(opened: Callable[..., Any], answers_right: Callable[[Any], None]) -> None:
    given = opened("onnxruntime", {})
    given.network.set_inputs([np.zeros_like(given.inputs)])
    given.network.invoke()
    (first,) = given.network.outputs()
    given.network.set_inputs([given.inputs])
    answers_right(given)
    assert not np.array_equal(first, given.network.outputs()[0])


def test_levels_without_integer_kernels_are_unsupported_for_int8() -> None:
    for level in ("basic", "none"):
        reason = BACKEND(graph_optimization=level).supports(WORKLOAD, "int8", Target("t"))
        assert reason is not None
        assert level in reason
        assert BACKEND(graph_optimization=level).supports(WORKLOAD, "float32", Target("t")) is None
    assert BACKEND(graph_optimization="extended").supports(WORKLOAD, "int8", Target("t")) is None


@pytest.mark.parametrize(
    ("isa", "form"),
    [("x86_64", "onnx_qdq_u8s8"), ("aarch64", "onnx_qdq_s8s8"), ("armv7l", "onnx_qdq_s8s8"), ("riscv64", "onnx_qdq_u8s8")],
)
def test_the_int8_form_is_the_one_the_instruction_set_has_products_for(isa: str, form: str) -> None:
    assert BACKEND().form("int8", Target("t", isa=isa)) == form
    assert BACKEND().form("float32", Target("t", isa=isa)) == "onnx"


FLOAT, INT32 = 1, 6


def opened_alone(path: Path, folder: Path) -> tuple[Artifact, Any]:
    folder.mkdir()
    artifact = BACKEND().build(from_file(path), Target("t"), folder)
    return artifact, load(str(folder), artifact.files[0].name, {"threads": 1})


def test_a_users_file_runs_unchanged_with_several_inputs_and_any_batch(model: Callable[..., Path], tmp_path: Path) -> None:
    path = model("Sub", [FLOAT, FLOAT], ["n", 3])
    artifact, network = opened_alone(path, tmp_path / "artifact")
    assert (tmp_path / "artifact" / "model.onnx").read_bytes() == path.read_bytes()
    assert artifact.size_bytes == path.stat().st_size
    for rows in (1, 5):
        a, b = np.random.default_rng(rows).standard_normal((2, rows, 3)).astype(np.float32)
        network.set_inputs([a, b])
        network.invoke()
        assert np.array_equal(network.outputs()[0], a - b)
    assert network.output_quantization() == [None]


def test_an_output_is_a_copy(model: Callable[..., Path], tmp_path: Path) -> None:
    _, network = opened_alone(model("Neg", [FLOAT], [2]), tmp_path / "artifact")
    network.set_inputs([np.array([1, 2], np.float32)])
    network.invoke()
    (kept,) = network.outputs()
    network.set_inputs([np.array([3, 4], np.float32)])
    network.invoke()
    assert kept.tolist() == [-1, -2]
    assert network.outputs()[0].tolist() == [-3, -4]


def test_inputs_of_another_number_or_type_are_refused(model: Callable[..., Path], tmp_path: Path) -> None:
    _, network = opened_alone(model("Neg", [INT32], [2]), tmp_path / "artifact")
    with pytest.raises(ValueError, match="takes 1 inputs, 2 were given"):
        network.set_inputs([np.zeros(2, np.int32)] * 2)
    with pytest.raises(TypeError, match=r"`x0` is tensor\(int32\), tensor\(float\) was given"):
        network.set_inputs([np.zeros(2, np.float32)])


def test_an_operator_it_does_not_have_is_unsupported_by_name(model: Callable[..., Path], tmp_path: Path) -> None:
    path = model("Frobnicate", [FLOAT], [2], domain="org.example")
    exported = Exported("onnx", path, "float32", 1, "NCHW", None, {})
    with pytest.raises(Unsupported, match="Frobnicate"):
        BACKEND().build(exported, Target("t"), tmp_path)


def test_another_form_is_unsupported(tmp_path: Path) -> None:
    exported = Exported("tflite", tmp_path / "model.tflite", "float32", 1, "NHWC", None, {})
    with pytest.raises(Unsupported, match="not form `tflite`"):
        BACKEND().build(exported, Target("t"), tmp_path)


def test_weights_stored_beside_a_users_file_travel_with_it(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(0).standard_normal(3).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])],
        [numpy_helper.from_array(weight, "w")],
    )
    source = tmp_path / "source"
    source.mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, source / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    artifact, network = opened_alone(source / "m.onnx", tmp_path / "artifact")
    assert [file.name for file in artifact.files] == ["model.onnx", "weights.bin"]
    network.set_inputs([np.zeros(3, np.float32)])
    network.invoke()
    assert np.array_equal(network.outputs()[0], weight)
