from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.backends.openvino import BACKEND
from harness.errors import Unsupported
from harness.export import Exported
from targets.target import Target

FLOAT, INT32 = 1, 6


@pytest.mark.torch
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("numeric", ["float32", "int8"])
def test_it_answers_as_the_network_does(
    opened: Callable[..., Any], answers_right: Callable[[Any], None], numeric: str, batch: int, threads: int
) -> None:
    given = opened("openvino", {}, numeric=numeric, batch=batch, threads=threads)
    answers_right(given)
    facts = given.network.facts()
    assert (facts["threads"], facts["streams"], facts["precision_hint"]) == (threads, 1, "f32")


@pytest.mark.torch
def test_a_float_network_is_float32_in_every_layer_whatever_the_cpu_prefers(opened: Callable[..., Any]) -> None:
    layers = opened("openvino", {}).network.facts()["layers"]
    assert {layer.split()[0] for layer in layers} <= {"f32", "i32", "i64"}
    assert layers["f32 Convolution"] == 3


@pytest.mark.torch
def test_an_int8_network_runs_on_integer_kernels(opened: Callable[..., Any]) -> None:
    layers = opened("openvino", {}, numeric="int8").network.facts()["layers"]
    assert {layer.split()[0] for layer in layers if "Convolution" in layer or "FullyConnected" in layer} <= {"u8", "i8"}


@pytest.mark.torch
def test_half_precision_is_refused_and_not_timed(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.backends import openvino

    monkeypatch.setattr(openvino, "layers", lambda _network: {"bf16 Convolution": 3, "f32 Reorder": 1})
    with pytest.raises(RuntimeError, match="float32 was asked for, and OpenVINO chose bf16 Convolution"):
        opened("openvino", {})


@pytest.mark.torch
def test_outputs_are_copies_and_inputs_are_the_networks_own(opened: Callable[..., Any]) -> None:
    given = opened("openvino", {})
    array = given.inputs.copy()
    given.network.set_inputs([array])
    given.network.invoke()
    (kept,) = given.network.outputs()
    before = kept.copy()
    array[:] = 0
    given.network.invoke()
    assert np.array_equal(given.network.outputs()[0], before)
    given.network.set_inputs([array])
    given.network.invoke()
    assert np.array_equal(kept, before)
    assert not np.array_equal(given.network.outputs()[0], before)


def test_a_users_file_with_a_symbolic_dimension_and_two_inputs_runs(model: Callable[..., Path], opened_alone: Any) -> None:
    _, network = opened_alone("openvino", model("Sub", [FLOAT, FLOAT], ["n", 3]))
    a, b = np.random.default_rng(0).standard_normal((2, 1, 3)).astype(np.float32)
    network.set_inputs([a, b])
    network.invoke()
    assert np.array_equal(network.outputs()[0], a - b)


def test_inputs_of_another_number_type_or_shape_are_refused(model: Callable[..., Path], opened_alone: Any) -> None:
    _, network = opened_alone("openvino", model("Neg", [INT32], [2]))
    with pytest.raises(ValueError, match="takes 1 inputs, 2 were given"):
        network.set_inputs([np.zeros(2, np.int32)] * 2)
    for array in (np.zeros(2, np.float32), np.zeros(3, np.int32)):
        with pytest.raises(TypeError, match=r"`x0` is i32\[2\]"):
            network.set_inputs([array])


def test_an_operator_it_does_not_have_is_unsupported_by_name(model: Callable[..., Path], opened_alone: Any) -> None:
    made = Exported("onnx", model("Frobnicate", [FLOAT], [2], domain="org.example"), "float32", 1, "NCHW", None, {})
    pytest.importorskip("openvino")
    with pytest.raises(Unsupported, match="Frobnicate"):
        BACKEND().build(made, Target("t"), made.path.parent)


def test_another_form_is_unsupported(tmp_path: Path) -> None:
    exported = Exported("tflite", tmp_path / "model.tflite", "float32", 1, "NHWC", None, {})
    with pytest.raises(Unsupported, match="not form `tflite`"):
        BACKEND().build(exported, Target("t"), tmp_path)
