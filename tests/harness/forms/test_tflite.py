from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.compression import Quantization
from harness.forms import tflite as form
from harness.forms.form import Source

pytestmark = pytest.mark.torch


def test_maps_come_and_go_channels_last_without_a_transpose(tmp_path: Path) -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    layer = nn.Conv2d(3, 8, 3, padding=1).eval()
    written = form.write_float(Source(layer, np.zeros((1, 3, 5, 6), np.float32), 2), tmp_path)
    assert (written.input_layout, written.output_layout) == ("NHWC", "NHWC")
    assert written.facts["ops"] == {"CONV_2D": 1}
    assert written.facts["inputs"][0]["shape"] == [2, 5, 6, 3]
    assert written.facts["outputs"][0]["shape"] == [2, 5, 6, 8]
    x = torch.randn(2, 3, 5, 6)
    (answer,) = form.answer(written.path, [x.permute(0, 2, 3, 1).contiguous().numpy()])
    assert np.allclose(answer.transpose(0, 3, 1, 2), layer(x).detach().numpy(), atol=1e-5)


def test_a_network_that_flattens_its_channels_first_input_keeps_it(tmp_path: Path) -> None:
    """Channels last would put a transpose before the flattening, which no runtime of ours should be charged for."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(24, 5)).eval()
    written = form.write_float(Source(network, np.zeros((1, 2, 3, 4), np.float32), 2), tmp_path)
    assert written.input_layout == "NCHW"
    assert "TRANSPOSE" not in written.facts["ops"]


def test_vectors_have_no_layout(tmp_path: Path) -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    written = form.write_float(Source(nn.Linear(7, 5).eval(), np.zeros((1, 7), np.float32), 3), tmp_path)
    assert (written.input_layout, written.output_layout) == ("NCHW", "NCHW")
    assert written.facts["inputs"][0]["shape"] == [3, 7]


def test_only_linear_layers_hold_integers_where_that_is_asked(tmp_path: Path) -> None:
    import torch
    from ai_edge_litert.interpreter import Interpreter
    from torch import nn

    torch.manual_seed(0)
    calibration = np.random.default_rng(0).standard_normal((4, 16), np.float32)
    source = Source(
        nn.Sequential(nn.Linear(16, 32), nn.Softmax(-1), nn.Linear(32, 5)).eval(),
        calibration[:1],
        1,
        Quantization(8, 8, True, 4, "", "linear"),
        calibration,
    )
    written = form.write_int8(source, tmp_path)
    assert written.facts["inputs"][0]["dtype"] == written.facts["outputs"][0]["dtype"] == "float32"
    assert written.facts["activation_ranges"] == "as they come"
    interpreter = Interpreter(str(written.path))
    kinds = {tuple(tensor["shape"]): tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    assert kinds[(32, 16)] is kinds[(5, 32)] is np.int8
    assert kinds[(1, 32)] is np.float32


@pytest.mark.parametrize("per_channel", [True, False])
def test_int8_form_holds_the_whole_range_of_the_calibration_inputs(tmp_path: Path, *, per_channel: bool) -> None:
    """The extremes stand in two rows of many: a moving average would have lost them."""
    import torch
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
    from torch import nn

    torch.manual_seed(0)
    layer = nn.Conv2d(3, 8, 3, padding=1).eval()
    calibration = np.random.default_rng(0).uniform(-1, 1, (33, 3, 5, 6)).astype(np.float32)
    calibration[32, 0, 0, 0], calibration[3, 1, 2, 3] = 7.0, -5.0
    written = form.write_int8(
        Source(layer, np.zeros((1, 3, 5, 6), np.float32), 2, Quantization(8, 8, per_channel, 33, ""), calibration), tmp_path
    )
    assert written.facts["inputs"][0]["dtype"] == written.facts["outputs"][0]["dtype"] == "int8"
    assert written.facts["activation_ranges"] == "calibrated"
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(written.path), experimental_op_resolver_type=resolver)
    scale, zero_point = interpreter.get_input_details()[0]["quantization"]
    assert scale == pytest.approx(12 / 255, rel=1e-3)
    assert zero_point == pytest.approx(-128 + 5 / scale, abs=1)
    (operator,) = interpreter._get_ops_details()
    weight = next(t for t in interpreter.get_tensor_details() if t["index"] == operator["inputs"][1])
    values = np.abs(layer.weight.detach().numpy())
    expected = values.max(axis=(1, 2, 3)) / 127 if per_channel else [values.max() / 127]
    assert np.allclose(weight["quantization_parameters"]["scales"], expected, rtol=1e-5)
