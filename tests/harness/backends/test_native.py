from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import measure, profiling
from harness.backend import refusal
from harness.backends.native import BACKEND, PROGRAM, WEIGHTS
from harness.compiler import threads as sharing
from harness.compiler.frontend.network import load_network
from harness.compiler.interpret import interpret
from harness.compiler.operators import Conv, Dense
from harness.compiler.pipeline import optimized
from harness.errors import Unsupported
from harness.export import Exported, from_file
from harness.plugins import Choice
from harness.suite import Sampling, Workload
from results.profile import Roofline, parse_profile
from targets.target import Target
from targets.transports import connect

pytestmark = [pytest.mark.torch, pytest.mark.toolchain]
WORKLOAD = Workload(Choice("resnet8"), "digits")


@pytest.mark.parametrize(("numeric", "batch", "threads"), [("float32", 1, 1), ("float32", 3, 2), ("int8", 1, 1)])
def test_its_program_answers_as_the_network_does(
    exported: Callable[..., Any],
    compiler_cache: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    numeric: Any,
    batch: int,
    threads: int,
) -> None:
    monkeypatch.setattr(sharing, "LEAST_PRODUCTS", {"float32": 1 << 12, "int8": 1 << 12})
    target = Target("local", python="none")
    made, examples = exported(BACKEND().form(numeric, target), batch)
    artifact = BACKEND().build(made, target, tmp_path)
    assert any(layer["shared"] for layer in artifact.facts["layers"])
    assert [file.name for file in artifact.files] == [PROGRAM, WEIGHTS]
    with connect(target) as session:
        deployed = measure.deploy_backend(session, artifact, Choice("native"), target, threads)
        answer = measure.answer(session, deployed, [examples.inputs], batch=batch, timeout_s=60)
    (real,) = answer.raw
    error = np.abs(real - examples.outputs).max() / np.abs(examples.outputs).max()
    assert error <= (1e-5 if numeric == "float32" else 0.05)
    facts = answer.reply.facts
    assert facts["isa"] and facts["kernels"] == artifact.facts["kernels"]
    assert artifact.facts["integer_macs"] == (0 if numeric == "float32" else artifact.facts["macs"])


@pytest.mark.parametrize("form", ["onnx_qdq_u8s8", "onnx_qdq_s8s8"])
def test_every_layer_of_an_integer_form_is_an_integer_layer(exported: Callable[..., Any], form: str) -> None:
    made, examples = exported(form, 1)
    graph = optimized(load_network(made.path))
    assert [node.op.requantize is not None for node in graph.nodes if isinstance(node.op, Conv | Dense)] == [True] * 4
    (found,) = interpret(graph, {"input": examples.inputs[:1]}).values()
    assert np.abs(found - examples.outputs[:1]).max() <= 0.05 * np.abs(examples.outputs).max()


@pytest.mark.parametrize(("numeric", "form"), [("float32", "onnx"), ("int8", "onnx_qdq_u8s8")])
def test_its_profile_has_every_layer_and_adds_up(
    exported: Callable[..., Any],
    compiler_cache: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    numeric: Any,
    form: str,
) -> None:
    monkeypatch.setattr(profiling, "measured_roofline", lambda *_: Roofline(1e11, 1e10))
    target = Target("local", python="none")
    made, examples = exported(form, 1)
    artifact = BACKEND().build(made, target, tmp_path)
    sampling = Sampling(launches=1, warmup_samples=5, warmup_s=0.01, min_samples=20, min_s=0.05, min_sample_s=0.001)
    with connect(target) as session:
        deployed = measure.deploy_backend(session, artifact, Choice("native"), target, 1)
        inputs = [examples.inputs[:1]]
        document = profiling.profiled(
            session, deployed, inputs, made, target, numeric=numeric, batch=1, timeout_s=60, layers=artifact.facts["layers"]
        )
        launch = measure.time_launch(session, deployed, inputs, batch=1, sampling=sampling)
    found = parse_profile(document)
    assert [operator.name for operator in found.operators] == [layer["name"] for layer in artifact.facts["layers"]]
    assert sum(operator.macs or 0 for operator in found.operators) == artifact.facts["macs"]
    assert sorted(operator.layer for operator in found.operators if operator.layer) == ["head.3", "inner.0", "inner.2", "stem.0"]
    assert all(operator.bytes and operator.time_s is not None for operator in found.operators)
    assert launch.reply.samples is not None
    columns = launch.reply.samples
    latency = 1e-9 * float(np.median(np.divide(columns.duration_ns, columns.loops)))
    total = sum(operator.time_s or 0 for operator in found.operators)
    assert latency / 10 < total < 10 * latency  # a clock is read between layers, and other work of this machine is in both


def test_what_it_refuses_and_why(tmp_path: Path) -> None:
    assert refusal(Choice("native"), WORKLOAD, "float32", Target("t"), 65) == "native runs on 64 threads, not on 65"
    assert refusal(Choice("native"), WORKLOAD, "float32", Target("t", isa="mips"), 1) == (
        "native builds for x86_64, aarch64, armv7l, riscv64, and `t` is mips"
    )
    assert "is a gpu" in str(refusal(Choice("native"), WORKLOAD, "float32", Target("t", kind="gpu"), 1))
    assert refusal(Choice("native"), WORKLOAD, "int8", Target("t", isa="aarch64", python="none"), 1) is None
    with pytest.raises(Unsupported, match="not form `tflite`"):
        BACKEND().build(Exported("tflite", tmp_path / "model.tflite", "float32", 1, "NHWC", None, {}), Target("t"), tmp_path)


def test_a_users_file_is_built_for_the_batch_that_is_asked(tmp_path: Path, compiler_cache: None) -> None:
    import onnx
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], name="relu")], "g", values[:1], values[1:])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    made = replace(from_file(path), batch=4)
    artifact = BACKEND().build(made, Target("local"), tmp_path)
    assert [file.name for file in artifact.files] == [PROGRAM]  # it has no weights
    assert "static const int64_t model_inputs_shape_0[] = {4, 3};" in (tmp_path / "model.c").read_text()
    with pytest.raises(Unsupported, match="no layer of this int8 network"):
        BACKEND().build(replace(_dense(tmp_path), numeric="int8"), Target("local"), tmp_path)


def _dense(folder: Path) -> Exported:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy"]
    weights = [numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", values[:1], values[1:], weights)
    path = folder / "dense.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return from_file(path)
