from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from harness.data import DataSpec
from harness.models import Model
from harness.models.fc_autoencoder import MODEL

pytestmark = pytest.mark.torch


SPEC = DataSpec((640,), 2, "mel bands")


def test_counts_are_the_published_ones(counted: Callable[[Model, DataSpec], tuple[int, ...]]) -> None:
    """269,992 parameters as Keras counts MLPerf Tiny's network; 264 k MACs in Banbury et al. 2021."""
    assert counted(MODEL(), SPEC) == (267_928, 269_992, 264_192)


def test_it_is_mlperf_tinys_own_network(with_published_weights: Callable[..., Any]) -> None:
    network, answer = with_published_weights(MODEL().build(SPEC), "mlperf_tiny_ad_fcae_fp32.tflite")
    inputs = np.random.default_rng(0).uniform(-60, 0, (8, *SPEC.input_shape)).astype(np.float32)
    with torch.no_grad():
        ours = network(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(ours, np.concatenate([answer(one[None]) for one in inputs]), rtol=1e-4, atol=1e-3)


def test_only_vectors_labelled_normal_or_anomaly_are_taken() -> None:
    assert MODEL().accepts(DataSpec((64,), 2, "")) is None
    assert "of 10 classes" in str(MODEL().accepts(DataSpec((64,), 10, "")))
