from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.compression import Quantization
from harness.errors import BuildError, Unsupported
from harness.forms import onnx as form
from harness.forms.form import Source

if TYPE_CHECKING:
    from torch import nn

pytestmark = pytest.mark.torch


def small() -> nn.Sequential:
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)]
    return nn.Sequential(*layers).eval()


def test_float_form_has_batch_normalization_folded_and_nothing_of_this_machine_in_it(tmp_path: Path) -> None:
    import onnx

    written = form.write_float(Source(small(), np.zeros((1, 3, 6, 6), np.float32), 2), tmp_path)
    assert written.facts["ops"] == {"Conv": 1, "Gemm": 1, "GlobalAveragePool": 1, "Relu": 1, "Reshape": 1}
    assert written.facts["inputs"] == [{"name": "input", "shape": [2, 3, 6, 6], "dtype": "float32"}]
    assert written.facts["outputs"] == [{"name": "output", "shape": [2, 5], "dtype": "float32"}]
    content = written.path.read_bytes()
    for word in (b'File "', b"site-packages", b"/home", b"torch.nn.modules"):
        assert word not in content
    model = onnx.load(written.path)
    assert not any(tensor.HasField("data_location") and tensor.data_location for tensor in model.graph.initializer)


@pytest.mark.parametrize(("keepdims", "expected"), [(True, ["GlobalAveragePool"]), (False, ["GlobalAveragePool", "Flatten"])])
@pytest.mark.parametrize("axes", [(2, 3), (-1, -2)])
def test_mean_over_the_map_becomes_a_pooling(
    tmp_path: Path, axes: tuple[int, int], expected: list[str], *, keepdims: bool
) -> None:
    import torch
    from torch import nn

    class Mean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(axes, keepdim=keepdims)

    written = form.write_float(Source(Mean().eval(), np.zeros((1, 4, 3, 5), np.float32), 2), tmp_path)
    assert sorted(written.facts["ops"]) == sorted(expected)
    x = np.random.default_rng(0).standard_normal((2, 4, 3, 5), np.float32)
    assert np.allclose(form.answer(written.path, [x])[0], x.mean((2, 3), keepdims=keepdims), atol=1e-6)


@pytest.mark.parametrize(("axes", "shape"), [((1, 2), (4, 3, 5)), ((3,), (4, 3, 5)), ((1, 2), (4, 3))])
def test_any_other_mean_is_left_alone(tmp_path: Path, axes: tuple[int, ...], shape: tuple[int, ...]) -> None:
    import torch
    from torch import nn

    class Mean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(axes)

    written = form.write_float(Source(Mean().eval(), np.zeros((1, *shape), np.float32), 2), tmp_path)
    assert "GlobalAveragePool" not in written.facts["ops"]
    x = np.random.default_rng(0).standard_normal((2, *shape), np.float32)
    assert np.allclose(form.answer(written.path, [x])[0], x.mean(axes), atol=1e-6)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(("write", "kind"), [(form.write_u8s8, np.uint8), (form.write_s8s8, np.int8)])
def test_integer_forms_hold_the_ranges_of_the_calibration_inputs(
    tmp_path: Path, write: object, kind: type, *, per_channel: bool
) -> None:
    """Input scale = (max - min) / 255 over ALL rows (13, no multiple of the batch); weight scale = absmax / 127 a channel or tensor."""
    import onnx
    import torch
    from onnx import numpy_helper

    module = small()
    calibration = np.random.default_rng(0).standard_normal((13, 3, 6, 6), np.float32)
    calibration[12, 0, 0, 0], calibration[3, 1, 2, 3] = 7.0, -5.0
    source = Source(module, np.zeros((1, 3, 6, 6), np.float32), 4, Quantization(8, 8, per_channel, 13, ""), calibration)
    written = write(source, tmp_path)  # type: ignore[operator]
    graph = onnx.load(written.path).graph
    constants = {c.name: numpy_helper.to_array(c) for c in graph.initializer}
    entry = next(node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "input")
    assert constants[entry.input[1]] == pytest.approx(12 / 255, rel=1e-6)
    assert constants[entry.input[2]].dtype == kind
    convolution, norm = module[0], module[1]
    assert isinstance(convolution, torch.nn.Conv2d)
    assert isinstance(norm, torch.nn.BatchNorm2d)
    assert norm.running_var is not None
    gain = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach().numpy()
    weights = convolution.weight.detach().numpy()
    folded = weights.astype(np.float64) * gain.reshape(-1, 1, 1, 1)
    stored = next(
        node for node in graph.node if node.op_type == "DequantizeLinear" and constants.get(node.input[0], weights[0]).ndim == 4
    )
    expected = np.abs(folded).max(axis=(1, 2, 3) if per_channel else None) / 127
    assert np.allclose(constants[stored.input[1]], expected, rtol=1e-5)
    assert np.abs(constants[stored.input[0]]).max() == 127


@pytest.mark.parametrize("per_channel", [True, False])
def test_only_what_goes_into_linear_layers_is_integer_where_that_is_asked(tmp_path: Path, *, per_channel: bool) -> None:
    """The input is rounded for the layer and not for the sum beside it; attention's product of two inputs has no pairs."""
    import onnx
    import torch
    from torch import nn

    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x + self.layer(x)
            result: torch.Tensor = y @ y.transpose(0, 1)
            return result

    torch.manual_seed(0)
    calibration = np.random.default_rng(0).standard_normal((4, 6), np.float32)
    source = Source(Beside().eval(), calibration[:1], 1, Quantization(8, 8, per_channel, 4, "", "linear"), calibration)
    graph = onnx.load(form.write_u8s8(source, tmp_path).path).graph
    (pair,) = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    (rounded,) = [node.output[0] for node in graph.node if node.input[0] == pair.output[0]]
    assert pair.input[0] == "input"
    assert [node.op_type for node in graph.node if rounded in node.input] == ["Gemm"]
    assert [node.op_type for node in graph.node if "input" in node.input and node is not pair] == ["Add"]
    with pytest.raises(Unsupported, match="give integers"):
        form.write_integer_operators(source, tmp_path)


def test_a_network_that_onnx_cannot_hold_is_a_build_error(tmp_path: Path) -> None:
    import torch
    from torch import nn

    class Branch(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if bool(x.sum() > 0) else -x

    with pytest.raises(BuildError, match="ONNX export failed"):
        form.write_float(Source(Branch().eval(), np.zeros((1, 3), np.float32), 1), tmp_path)
