from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from harness.data import DataSpec
from harness.models import Model
from harness.models.mobilenet_v1 import MODEL

pytestmark = pytest.mark.torch


SPEC = DataSpec((3, 96, 96), 2, "photographs")


def test_counts_are_the_published_ones(counted: Callable[[Model, DataSpec], tuple[int, ...]]) -> None:
    """221,794 parameters as Keras counts MLPerf Tiny's network; 7.49 M MACs in Banbury et al. 2021."""
    assert counted(MODEL(), SPEC) == (216_322, 221_794, 7_489_664)


def test_width_1_has_the_paper_s_convolutions(counted: Callable[[Model, DataSpec], tuple[int, ...]]) -> None:
    """Howard et al. 2017, table 4: 569 M MACs, 4.2 M parameters."""
    counts = counted(MODEL(width=1.0), DataSpec((3, 224, 224), 1000, ""))
    assert counts[0] / 1e6 == pytest.approx(4.2, abs=0.05)
    assert counts[2] / 1e6 == pytest.approx(569, abs=0.5)


def test_it_is_mlperf_tinys_own_network(with_published_weights: Callable[..., Any]) -> None:
    network, answer = with_published_weights(MODEL().build(SPEC), "mlperf_tiny_vww_mobilenetv1_025_fp32.tflite")
    inputs = np.random.default_rng(0).uniform(0, 1, (4, *SPEC.input_shape)).astype(np.float32)
    with torch.no_grad():
        ours = torch.softmax(network(torch.from_numpy(inputs)), 1).numpy()
    np.testing.assert_allclose(ours, np.concatenate([answer(one[None]) for one in inputs]), atol=1e-5)
    assert np.ptp(ours[:, 0]) > 1e-3
