from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from harness.compression.channel_prune import METHOD
from harness.compression.numerics.counting import claims
from harness.compression.numerics.dependency import dependencies
from harness.compression.numerics.shrink import l1_norms, shrunk, smallest
from harness.context import Context
from harness.data.digits import DATA
from harness.models.networks.resnet8 import ResNet8
from harness.train import evaluate

pytestmark = pytest.mark.torch
NewContext = Callable[..., Context]


def test_half_the_channels_of_resnet8_are_a_resnet8_of_half_the_width(resnet: nn.Module, new_context: NewContext) -> None:
    (member,) = METHOD(ratio=0.5).compress(resnet, DATA(), new_context()).members
    half = ResNet8(1, 10, 2)
    assert {n: p.shape for n, p in member.module.named_parameters()} == {n: p.shape for n, p in half.named_parameters()}
    assert member.claims.macs == claims(half, np.zeros((1, 1, 8, 8), np.float32)).macs
    assert isinstance(member.module, ResNet8)


@pytest.mark.parametrize(
    ("ratio", "round_to", "widths"), [(0.25, 1, (6, 12, 12)), (0.5, 1, (4, 8, 8)), (0.5, 3, (6, 9, 9)), (0.9, 8, (8, 8, 8))]
)
def test_macs_fall_as_the_widths_say(
    cnn: nn.Module, new_context: NewContext, ratio: float, round_to: int, widths: tuple[int, ...]
) -> None:
    (member,) = METHOD(ratio=ratio, round_to=round_to).compress(cnn, DATA(), new_context()).members
    a, b, c = widths
    assert member.claims.macs == 64 * 9 * a + 16 * 9 * (a * b + b * c) + 10 * c
    assert member.claims.params == 9 * (a + a * b + b * c) + 10 * c + 10 + 2 * (a + b + c)
    assert member.claims.weight_bytes == 4 * member.claims.params


def test_the_filters_of_largest_norm_stay_in_their_order(cnn: nn.Module, new_context: NewContext) -> None:
    (member,) = METHOD(ratio=0.5).compress(cnn, DATA(), new_context()).members
    dense, pruned = cnn.get_parameter("conv1.weight"), member.module.get_parameter("conv1.weight")
    kept = sorted(dense.detach().abs().sum((1, 2, 3)).argsort(descending=True)[:4].tolist())
    assert torch.equal(pruned, dense[kept])


def test_the_classes_are_never_pruned(cnn: nn.Module, new_context: NewContext) -> None:
    compressed = METHOD(ratio=0.9).compress(cnn, DATA(), new_context())
    assert compressed.members[0].module.get_parameter("classifier.weight").shape[0] == 10
    assert compressed.left_alone == {"classifier": "its channels are the network's output"}


def test_batchnorm_reset_and_fine_tuning_each_win_accuracy_back(cnn: nn.Module, new_context: NewContext) -> None:
    def top1(method: METHOD) -> float:
        return evaluate(method.compress(cnn, DATA(), new_context()).members[0].module, DATA().load("test"))["top1"]

    plain = top1(METHOD(ratio=0.4))
    assert plain < 0.5
    assert top1(METHOD(ratio=0.4, bn_reset=True)) > plain + 0.1
    assert top1(METHOD(ratio=0.4, fine_tune_epochs=5)) > 0.8


def test_the_log_lists_the_edits(cnn: nn.Module, new_context: NewContext) -> None:
    log = METHOD(ratio=0.125).compress(cnn, DATA(), new_context()).log
    (edits,) = [event["edits"] for event in log if event["event"] == "edits"]
    assert [edit.rsplit(" ", 1)[0] for edit in edits[:3]] == ["conv1: remove out", "bn1: remove out", "conv2: remove in"]


@pytest.mark.parametrize("document", ['{"ratio": 0}', '{"ratio": 1.0}', '{"round_to": 0}', '{"fine_tune_epochs": 1.5}'])
def test_parameters_out_of_range_are_refused(document: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(METHOD).validate_json(document, strict=True)


@pytest.mark.parametrize("name", ["cnn", "resnet"])
def test_a_network_without_its_zero_channels_computes_the_same(name: str, request: pytest.FixtureRequest) -> None:
    """Masked: filters, biases and batch-norm of the smallest channels are zero. Compacted: they are gone."""
    masked: nn.Module = copy.deepcopy(request.getfixturevalue(name))
    edits = [
        edit
        for group in dependencies(masked, DATA().spec.example()).groups
        for edit in group.edits(smallest(l1_norms(masked, group), 0.5, 1))
    ]
    for edit in edits:
        if edit.node.axis == "out":
            layer = masked.get_submodule(edit.node.layer)
            for tensor in [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]:
                if tensor.dim():
                    tensor.data[list(edit.indices)] = 0.0
    x = torch.tensor(DATA().load("test").inputs)
    with torch.no_grad():
        expected, found = masked(x), shrunk(masked, edits)(x)
    assert float((expected - found).abs().max()) <= 1e-5 * float(expected.abs().max())
