"""That the form answers as the network does, on every kind of network, is in tests/harness/test_export.py; here is what it is made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.compression import Quantization
from harness.errors import BuildError
from harness.forms import pt2e
from harness.forms.form import Source

pytestmark = pytest.mark.torch


def source(calibration: np.ndarray | None, *, per_channel: bool = True) -> Source:
    import torch
    from torch import nn

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()
    rows = 0 if calibration is None else len(calibration)
    return Source(network, np.zeros((1, 3, 8, 8), np.float32), 2, Quantization(8, 8, per_channel, rows, ""), calibration)


@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_are_int8_as_fine_as_asked_and_activations_one_scale_a_tensor(tmp_path: Path, per_channel: bool) -> None:
    pytest.importorskip("executorch", reason="executorch is not installed: its quantizer places the pairs")
    calibration = np.random.default_rng(0).standard_normal((8, 3, 8, 8), np.float32)
    written = pt2e.write(source(calibration, per_channel=per_channel), tmp_path)
    ops = written.facts["ops"]
    assert ops.get("quantized_decomposed.dequantize_per_channel.default", 0) == (2 if per_channel else 0)
    assert ops["quantized_decomposed.quantize_per_tensor.default"] >= 3
    assert written.facts["inputs"] == [{"name": "input", "shape": [2, 3, 8, 8], "dtype": "float32"}]
    assert [answer.shape for answer in pt2e.answer(written.path, [calibration[:2]])] == [(2, 5)]


def test_without_calibration_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="needs calibration inputs"):
        pt2e.write(source(None), tmp_path)
