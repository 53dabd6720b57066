from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.backends.iree import BACKEND
from harness.errors import Unsupported
from harness.export import Exported
from harness.plugins import Choice
from harness.suite import Workload
from targets.target import Target

FLOAT = 1


@pytest.mark.torch
@pytest.mark.parametrize("numeric", ["float32", "int8"])
def test_it_answers_as_the_network_does(opened: Callable[..., Any], answers_right: Callable[[Any], None], numeric: str) -> None:
    given = opened("iree", {}, numeric=numeric, batch=4)
    answers_right(given)
    facts = given.network.facts()
    assert (facts["driver"], facts["threads"]) == ("local-sync", 1)
    assert "--iree-llvmcpu-target-cpu=host" in given.artifact.facts["flags"]


@pytest.mark.torch
def test_two_threads_are_a_pool_of_two_workers(answered: Callable[..., Any]) -> None:
    """By a process of its own: the pool's size is a flag of the process."""
    given = answered("iree", threads=2)
    assert np.abs(given.answer.outputs[0] - given.reference).max() <= 1e-5 * np.abs(given.reference).max()
    assert (given.facts["driver"], given.facts["threads"]) == ("local-task", 2)


def test_a_users_file_with_a_symbolic_dimension_and_two_inputs_runs(model: Callable[..., Path], opened_alone: Any) -> None:
    _, network = opened_alone("iree", model("Sub", [FLOAT, FLOAT], ["n", 3]))
    for seed in (0, 1):
        a, b = np.random.default_rng(seed).standard_normal((2, 1, 3)).astype(np.float32)
        network.set_inputs([a, b])
        network.invoke()
        assert np.array_equal(network.outputs()[0], a - b)
    assert network.output_quantization() == [None]


def test_an_operator_it_does_not_have_is_unsupported_by_name(model: Callable[..., Path]) -> None:
    pytest.importorskip("iree.compiler", reason="iree-base-compiler is not installed")
    made = Exported("onnx", model("Frobnicate", [FLOAT], [2], domain="org.example"), "float32", 1, "NCHW", None, {})
    with pytest.raises(Unsupported, match=r"(?i)frobnicate"):
        BACKEND().build(made, Target("t"), made.path.parent)


def test_another_form_is_unsupported(tmp_path: Path) -> None:
    exported = Exported("tflite", tmp_path / "model.tflite", "float32", 1, "NHWC", None, {})
    with pytest.raises(Unsupported, match="not form `tflite`"):
        BACKEND().build(exported, Target("t"), tmp_path)


def test_it_compiles_for_this_machine_only() -> None:
    reason = BACKEND().supports(Workload(Choice("resnet8"), "digits"), "float32", Target("pi", transport="ssh"))
    assert reason is not None and "`pi`" in reason
