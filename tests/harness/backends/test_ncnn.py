from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.backends.ncnn import BACKEND
from harness.errors import Unsupported
from harness.export import Exported, from_file
from harness.plugins import Choice
from harness.suite import Workload
from targets.target import Target

FLOAT, INT32 = 1, 6


@pytest.mark.torch
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 4])
def test_it_answers_as_the_network_does(
    opened: Callable[..., Any], answers_right: Callable[[Any], None], batch: int, threads: int
) -> None:
    given = opened("ncnn", {}, batch=batch, threads=threads)
    answers_right(given)
    facts = given.network.facts()
    assert facts["threads"] == threads
    assert facts["layers"]["Convolution"] + facts["layers"].get("ConvolutionDepthWise", 0) == 3
    assert {"use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage", "use_vulkan_compute"} <= set(facts["options_off"])


@pytest.mark.torch
def test_outputs_are_copies_and_new_inputs_count(opened: Callable[..., Any]) -> None:
    given = opened("ncnn", {})
    given.network.invoke()
    (kept,) = given.network.outputs()
    before = kept.copy()
    given.network.set_inputs([np.zeros_like(given.inputs)])
    given.network.invoke()
    assert np.array_equal(kept, before)
    assert not np.array_equal(given.network.outputs()[0], before)


def test_int8_is_unsupported_with_a_reason() -> None:
    reason = BACKEND().supports(Workload(Choice("resnet8"), "digits"), "int8", Target("t"))
    assert reason is not None and "quantizer" in reason


def test_a_users_file_with_two_inputs_runs(model: Callable[..., Path], opened_alone: Any) -> None:
    _, network = opened_alone("ncnn", model("Sub", [FLOAT, FLOAT], [1, 3, 4, 4]))
    a, b = np.random.default_rng(0).standard_normal((2, 1, 3, 4, 4)).astype(np.float32)
    network.set_inputs([a, b])
    network.invoke()
    assert np.array_equal(network.outputs()[0], a - b)
    with pytest.raises(ValueError, match="takes 2 inputs, 1 were given"):
        network.set_inputs([a])


def test_an_operator_it_does_not_have_is_unsupported_by_name(model: Callable[..., Path], opened_alone: Any) -> None:
    with pytest.raises(Unsupported, match="Det"):
        opened_alone("ncnn", model("Det", [FLOAT], [1, 2, 2]))


def test_integer_outputs_are_unsupported_by_name(model: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="`y` is int32"):
        BACKEND().build(from_file(model("Neg", [INT32], [2])), Target("t"), tmp_path)


def test_another_form_is_unsupported(tmp_path: Path) -> None:
    exported = Exported("tflite", tmp_path / "model.tflite", "float32", 1, "NHWC", None, {})
    with pytest.raises(Unsupported, match="not from form `tflite`"):
        BACKEND().build(exported, Target("t"), tmp_path)
