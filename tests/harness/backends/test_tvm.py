"""In TVM's own environment, where there is one: `assay setup tvm`, with ASSAY_ENVIRONMENTS naming the folder for these tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.backends.tvm import BACKEND
from harness.errors import Unsupported
from harness.export import Exported
from harness.plugins import Choice
from harness.suite import Workload
from targets.target import Target

WORKLOAD = Workload(Choice("resnet8"), "digits")


@pytest.mark.torch
@pytest.mark.toolchain
@pytest.mark.parametrize(("batch", "threads"), [(1, 1), (4, 2)])
def test_it_answers_as_the_network_does(answered: Callable[..., Any], batch: int, threads: int) -> None:
    given = answered("tvm", batch=batch, threads=threads)
    assert np.abs(given.answer.outputs[0] - given.reference).max() <= 1e-5 * np.abs(given.reference).max()
    assert (given.facts["tuned"], given.facts["threads"]) == (False, threads)
    assert len({operator.name for operator in given.operators}) == len(given.operators) >= 5
    assert {"conv2d", "matmul"} <= {operator.op for operator in given.operators}
    assert all(operator.time_s > 0 for operator in given.operators)


def test_int8_is_unsupported_since_it_would_be_computed_in_float32() -> None:
    reason = BACKEND().supports(WORKLOAD, "int8", Target("t"))
    assert reason is not None and "float32" in reason


def test_it_compiles_for_this_machine_only() -> None:
    reason = BACKEND().supports(WORKLOAD, "float32", Target("pi", transport="ssh"))
    assert reason is not None and "`pi`" in reason


def test_an_operator_it_does_not_have_is_unsupported_by_name(model: Callable[..., Path], tmp_path: Path) -> None:
    from harness import environment

    if reason := environment.missing("tvm", Target("t")):
        pytest.skip(reason)
    made = Exported("onnx", model("Frobnicate", [1], [2], domain="org.example"), "float32", 1, "NCHW", None, {})
    with pytest.raises(Unsupported, match="Frobnicate"):
        BACKEND().build(made, Target("t"), tmp_path)


def test_another_form_is_unsupported(tmp_path: Path) -> None:
    exported = Exported("tflite", tmp_path / "model.tflite", "float32", 1, "NHWC", None, {})
    with pytest.raises(Unsupported, match="not form `tflite`"):
        BACKEND().build(exported, Target("t"), tmp_path)
