from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from harness.data import Batch
from harness.data.digits import DATA
from harness.errors import BuildError
from harness.head import RELATIVE_RIDGE, fit_head
from harness.train import evaluate

pytestmark = pytest.mark.torch


def network(features: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, features), nn.ReLU(), nn.Dropout(0.5), nn.Linear(features, classes))


def test_it_is_the_ridge_regression_on_one_hot_labels() -> None:
    """Against the augmented least squares of the same problem: sqrt(n r) I under the centred features, zeros under the labels."""
    batch = DATA().load("train", 300)
    module = network(20, 10)
    fit_head(module, "4", batch, 10)
    with torch.no_grad():
        features = module[:3](torch.from_numpy(batch.inputs)).double().numpy()
    mean, labels = features.mean(0), np.eye(10)[batch.labels]
    centred = features - mean
    ridge = RELATIVE_RIDGE * centred.var(0).mean() * len(batch)
    above, below = np.vstack([centred, np.sqrt(ridge) * np.eye(20)]), np.vstack([labels - labels.mean(0), np.zeros((20, 10))])
    weight = np.linalg.lstsq(above, below, rcond=None)[0]
    np.testing.assert_allclose(module.state_dict()["4.weight"].numpy(), weight.T, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(module.state_dict()["4.bias"].numpy(), labels.mean(0) - mean @ weight, rtol=1e-3, atol=1e-5)


def test_random_features_with_a_fitted_head_tell_digits_apart() -> None:
    torch.manual_seed(0)
    module = network(200, 10).train()
    before = evaluate(module, DATA().load("test"))["top1"]
    fit_head(module, "4", DATA().load("train"), 10)
    assert module.training
    assert evaluate(module, DATA().load("test"))["top1"] > 0.9 > before


def test_features_that_say_nothing_are_refused() -> None:
    with pytest.raises(BuildError, match="the same features for every example"):
        fit_head(network(5, 3), "4", Batch(np.zeros((9, 1, 8, 8), np.float32), np.arange(9) % 3), 3)
