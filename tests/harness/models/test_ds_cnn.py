from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from harness.data import DataSpec
from harness.models import Model
from harness.models.ds_cnn import MODEL

pytestmark = pytest.mark.torch


SPEC = DataSpec((1, 49, 10), 12, "MFCC")


def test_counts_are_the_published_ones(counted: Callable[[Model, DataSpec], tuple[int, ...]]) -> None:
    """24,908 parameters as Keras counts MLPerf Tiny's network; 2.66 M MACs in Banbury et al. 2021."""
    assert counted(MODEL(), SPEC) == (23_756, 24_908, 2_656_768)


def test_it_is_mlperf_tinys_own_network(with_published_weights: Callable[..., Any]) -> None:
    network, answer = with_published_weights(MODEL().build(SPEC), "mlperf_tiny_kws_dscnn_fp32.tflite")
    inputs = np.random.default_rng(0).uniform(-40, 40, (8, *SPEC.input_shape)).astype(np.float32)
    with torch.no_grad():
        ours = torch.softmax(network(torch.from_numpy(inputs)), 1).numpy()
    theirs = np.concatenate([answer(one[None]) for one in inputs])
    np.testing.assert_allclose(ours, theirs, atol=0.1)  # the file multiplies by 8-bit weights, and rounds what it multiplies
    assert (ours.argmax(1) == theirs.argmax(1)).all()
    assert len(set(ours.argmax(1))) > 1
