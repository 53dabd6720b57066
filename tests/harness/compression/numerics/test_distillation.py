from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from harness.compression.numerics.distillation import distilled
from harness.criterion import CLASSIFICATION, Criterion

pytestmark = pytest.mark.torch


def softmax(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def test_class_scores_are_compared_by_hintons_formula() -> None:
    teacher, student = nn.Linear(3, 4), nn.Linear(3, 4)
    x = torch.randn(5, 3)
    outputs, plain = student(x), torch.tensor(2.0)
    p, q = (softmax(scores.detach().double().numpy() / 3.0) for scores in (teacher(x), outputs))
    wanted = 0.25 * 2.0 + 0.75 * 9.0 * (p * np.log(p / q)).sum() / 5
    found = distilled(teacher, CLASSIFICATION, 0.75, 3.0)(student, x, outputs, plain)
    assert float(found.detach()) == pytest.approx(wanted, rel=1e-5)


def test_reconstructions_are_compared_by_squares() -> None:
    teacher, x = nn.Linear(3, 3), torch.randn(5, 3)
    loss = distilled(teacher, Criterion(("auc",), "reconstruction"), 0.5, 4.0)
    found = loss(nn.Identity(), x, x, torch.tensor(1.0)).detach()
    assert float(found) == pytest.approx(0.5 + 0.5 * float((teacher(x) - x).square().mean().detach()), rel=1e-6)


def test_a_teacher_who_agrees_leaves_the_plain_loss_and_no_gradient() -> None:
    network, x = nn.Linear(3, 4), torch.randn(5, 3)
    distilled(network, CLASSIFICATION, 1.0, 2.0)(network, x, network(x), torch.tensor(7.0)).backward()  # type: ignore[no-untyped-call]
    assert network.weight.grad is not None
    assert float(network.weight.grad.abs().max()) < 1e-6


def test_the_teacher_is_asked_in_eval_mode_and_keeps_its_own() -> None:
    teacher = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.9), nn.Linear(3, 4)).train()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    loss = distilled(teacher, CLASSIFICATION, 1.0, 2.0)
    x, plain = torch.randn(6, 3), torch.tensor(0.0)
    outputs = torch.randn(6, 4, requires_grad=True)
    first, second = loss(teacher, x, outputs, plain), loss(teacher, x, outputs, plain)
    assert torch.equal(first, second)
    first.backward()  # type: ignore[no-untyped-call]
    assert all(part.training for part in teacher.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())
