from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.backends.litert import BACKEND, delegated, load, quantization, stored
from harness.errors import Unsupported
from harness.export import Exported, from_file
from targets.target import Target


@pytest.mark.torch
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("numeric", ["float32", "int8"])
def test_it_answers_as_the_network_does(
    opened: Callable[..., Any], answers_right: Callable[[Any], None], numeric: str, batch: int, threads: int
) -> None:
    given = opened("litert", {}, numeric=numeric, batch=batch, threads=threads)
    answers_right(given)
    facts = given.network.facts()
    assert (facts["delegate"], facts["share"], facts["threads"]) == ("xnnpack", 1.0, threads)
    assert facts["operators"] == sum(given.exported.facts["ops"].values())


@pytest.mark.torch
@pytest.mark.parametrize("delegate", ["none", "reference"])
@pytest.mark.parametrize("numeric", ["float32", "int8"])
def test_its_own_kernels_answer_too_and_say_so(
    opened: Callable[..., Any], answers_right: Callable[[Any], None], numeric: str, delegate: str
) -> None:
    given = opened("litert", {"delegate": delegate}, numeric=numeric)
    answers_right(given)
    facts = given.network.facts()
    assert (facts["delegate_asked"], facts["delegate"], facts["operators_delegated"]) == (delegate, "none", 0)


@pytest.mark.torch
def test_an_int8_network_is_integers_throughout(opened: Callable[..., Any]) -> None:
    given = opened("litert", {"delegate": "none"}, numeric="int8")
    given.network.invoke()
    assert given.network.outputs()[0].dtype == np.int8
    operators = given.network._interpreter._get_ops_details()
    assert len(operators) > 4
    for operator in operators:
        assert operator["operand_types"][0] is np.int8, operator["op_name"]
        assert operator["result_types"] == [np.int8], operator["op_name"]


@pytest.mark.torch
def test_integers_given_as_they_are_answer_like_floats_that_round_to_them(opened: Callable[..., Any]) -> None:
    given = opened("litert", {}, numeric="int8", batch=4)
    (scale, zero_point) = given.network._interpreter.get_input_details()[0]["quantization"]
    levels = np.random.default_rng(0).integers(-128, 128, given.inputs.shape).astype(np.int8)
    given.network.set_inputs([levels])
    given.network.invoke()
    (first,) = given.network.outputs()
    given.network.set_inputs([((levels.astype(np.float32) - zero_point) * np.float32(scale)).astype(np.float32)])
    given.network.invoke()
    assert np.array_equal(given.network.outputs()[0], first)


@pytest.mark.torch
def test_outputs_are_copies_and_new_inputs_count(opened: Callable[..., Any]) -> None:
    given = opened("litert", {})
    given.network.invoke()
    (kept,) = given.network.outputs()
    before = kept.copy()
    given.network.set_inputs([np.zeros_like(given.inputs)])
    given.network.invoke()
    assert np.array_equal(kept, before)
    assert not np.array_equal(given.network.outputs()[0], before)


@pytest.mark.torch
def test_what_the_delegate_leaves_is_counted(tmp_path: Path) -> None:
    """XNNPACK has no kernel that reverses an axis: 2 of 3 operators are its."""
    import torch
    from torch import Tensor, nn

    from harness.export import Examples, export, save_program

    class Flip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.after = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.after(self.before(x).flip(1))
            return found

    torch.manual_seed(0)
    network = Flip().eval()
    inputs = np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32)
    save_program(network, np.zeros((1, 2, 4, 4), np.float32), tmp_path / "module.pt2")
    examples = Examples(inputs, network(torch.from_numpy(inputs)).detach().numpy())
    settings: dict[str, Any] = {"numeric": "float32", "quantization": None, "calibration": None}
    made = export(tmp_path / "module.pt2", form="tflite", batch=1, examples=examples, folder=tmp_path, **settings)
    facts = load(str(made.path.parent), made.path.name, {"threads": 1}).facts()
    assert made.facts["ops"] == {"CONV_2D": 2, "REVERSE_V2": 1}
    assert (facts["operators_delegated"], facts["operators"], facts["share"]) == (2, 3, pytest.approx(2 / 3))


@pytest.mark.torch
def test_a_users_file_is_built_unchanged(exported: Callable[..., Any], tmp_path: Path) -> None:
    made, _ = exported("tflite_int8", 1)
    artifact = BACKEND().build(from_file(made.path), Target("t"), tmp_path)
    assert (tmp_path / "model.tflite").read_bytes() == made.path.read_bytes()
    assert artifact.facts["precision"] == "int8"


def test_another_form_is_unsupported(tmp_path: Path) -> None:
    exported = Exported("onnx", tmp_path / "model.onnx", "float32", 1, "NCHW", None, {})
    with pytest.raises(Unsupported, match="not form `onnx`"):
        BACKEND().build(exported, Target("t"), tmp_path)


def detail(dtype: type, scale: float = 0.0, zero_point: int = 0) -> dict[str, Any]:
    return {"name": "x", "dtype": dtype, "quantization": (scale, zero_point)}


@pytest.mark.parametrize(("dtype", "low", "high"), [(np.int8, -128, 127), (np.uint8, 0, 255), (np.int16, -32768, 32767)])
def test_stored_rounds_to_the_nearest_level_and_clips(dtype: type, low: int, high: int) -> None:
    scale, zero_point = 0.25, 3
    values = np.array([-1e9, -0.26, -0.24, 0.0, 0.13, 0.9, 1e9], np.float32)
    levels = stored(values, detail(dtype, scale, zero_point))
    assert levels.dtype == dtype
    for value, level in zip(values, levels, strict=True):
        assert level == min(range(max(low, -200), min(high, 300) + 1), key=lambda n: abs(scale * (n - zero_point) - value)) or (
            level == (low if value < 0 else high)
        )
    assert (levels[0], levels[-1]) == (low, high)


def test_stored_leaves_arrays_of_the_tensors_own_type_alone() -> None:
    array = np.array([1, 2], np.int8)
    assert stored(array, detail(np.int8, 0.5, 1)) is array


@pytest.mark.parametrize("array", [np.zeros(2, np.float64), np.zeros(2, np.int32)])
def test_stored_refuses_other_types(array: Any) -> None:
    with pytest.raises(TypeError, match=f"`x` is int8, {array.dtype} was given"):
        stored(array, detail(np.int8, 0.5))


def test_stored_refuses_floats_for_integers_without_a_scale() -> None:
    with pytest.raises(TypeError, match="`x` is int32, float32 was given"):
        stored(np.zeros(2, np.float32), detail(np.int32))


def test_quantization_is_none_where_there_is_no_scale() -> None:
    assert quantization(detail(np.float32)) is None
    assert quantization(detail(np.int8, 0.5, -3)) == (0.5, -3)


def operator(name: str, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    return {"op_name": name, "inputs": inputs, "outputs": outputs}


CHAIN = [operator("A", [0, 10], [1]), operator("B", [1], [2]), operator("C", [2, 1], [3]), operator("D", [3], [4])]


@pytest.mark.parametrize(
    ("delegates", "taken"),
    [
        ([], 0),
        ([operator("DELEGATE", [0, 10], [4])], 4),
        ([operator("DELEGATE", [0, 10], [1])], 1),
        ([operator("DELEGATE", [1], [3])], 2),
        ([operator("DELEGATE", [0, 10], [1]), operator("DELEGATE", [3], [4])], 2),
        ([operator("DELEGATE", [2, 1], [4])], 2),
    ],
)
def test_delegated_counts_the_operators_between_a_delegates_ends(delegates: list[dict[str, Any]], taken: int) -> None:
    assert delegated([*CHAIN, *delegates]) == (taken, 4)
