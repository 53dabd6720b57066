from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.backend import refusal
from harness.backends.tflite_micro import BACKEND, load, quantization, stored
from harness.errors import Unsupported
from harness.export import Exported, from_file
from harness.forms.conversion import conversion
from harness.plugins import Choice
from harness.suite import Workload
from targets.target import Target


@pytest.mark.torch
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("numeric", ["float32", "int8"])
def test_it_answers_as_the_network_does(
    opened: Callable[..., Any], answers_right: Callable[[Any], None], numeric: str, batch: int
) -> None:
    given = opened("tflite_micro", {}, numeric=numeric, batch=batch)
    for _ in range(3):  # its inputs' memory is used again by each inference
        answers_right(given)
    facts = given.network.facts()
    assert facts["kernels"] == "reference" and 0 < facts["arena_bytes"] <= facts["reserved_bytes"]


@pytest.mark.torch
def test_the_arena_of_an_int8_network_is_a_quarter_of_the_float_ones(
    opened: Callable[..., Any], exported: Any, tmp_path: Path
) -> None:
    integer = opened("tflite_micro", {}, numeric="int8").artifact.facts["arena_bytes"]
    (tmp_path / "float").mkdir()
    floating = BACKEND().build(exported("tflite", 1)[0], Target("t"), tmp_path / "float").facts["arena_bytes"]
    # the largest activations, of the stem and of its copy that the skip connection keeps: 16 channels of 12 x 12
    assert 2 * 16 * 12 * 12 < integer < floating / 2


@pytest.mark.torch
def test_it_runs_on_one_thread_and_says_so(exported: Any, tmp_path: Path) -> None:
    workload = Workload(Choice("resnet8"), "digits")
    reason = refusal(Choice("tflite_micro"), workload, "float32", Target("t"), 2)
    assert reason == "tflite_micro runs on 1 thread, not on 2"
    pytest.importorskip("tflite_micro")
    made = exported("tflite", 1)[0]
    with pytest.raises(ValueError, match="on one thread, 2 were asked for"):
        load(str(made.path.parent), made.path.name, {"threads": 2})


@pytest.mark.torch
def test_an_operator_it_does_not_have_is_unsupported_by_name(tmp_path: Path) -> None:
    import litert_torch
    import torch
    from torch import Tensor, nn

    pytest.importorskip("tflite_micro")

    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.atan2(x, x + 2)

    with conversion("a network of one odd operator"):
        litert_torch.convert(Odd().eval(), (torch.zeros(1, 4),)).export(str(tmp_path / "odd.tflite"))
    with pytest.raises(Unsupported, match="ATAN2"):
        BACKEND().build(from_file(tmp_path / "odd.tflite"), Target("t"), tmp_path)


def test_another_form_is_unsupported(tmp_path: Path) -> None:
    exported = Exported("onnx", tmp_path / "model.onnx", "float32", 1, "NCHW", None, {})
    with pytest.raises(Unsupported, match="not form `onnx`"):
        BACKEND().build(exported, Target("t"), tmp_path)


def detail(dtype: type, scale: float | None = None, zero_point: int = 0) -> dict[str, Any]:
    given = [] if scale is None else [scale]
    return {"dtype": dtype, "quantization_parameters": {"scales": given, "zero_points": [zero_point] * len(given)}}


def test_stored_rounds_to_the_nearest_level_and_clips() -> None:
    values = np.array([-1e9, -0.26, -0.24, 0.0, 0.13, 0.9, 1e9], np.float32)
    levels = stored(values, detail(np.int8, 0.25, 3))
    assert levels.dtype == np.int8
    for value, level in zip(values, levels, strict=True):
        assert level == min(range(-128, 128), key=lambda n: abs(0.25 * (n - 3) - float(value)))


def test_stored_refuses_other_types() -> None:
    for array, wanted in ((np.zeros(2, np.int32), detail(np.int8, 0.5)), (np.zeros(2, np.float32), detail(np.int32))):
        with pytest.raises(TypeError, match="was given"):
            stored(array, wanted)


def test_quantization_is_none_where_there_is_no_scale() -> None:
    assert quantization(detail(np.float32)) is None
    assert quantization(detail(np.int8, 0.5, -3)) == (0.5, -3)
