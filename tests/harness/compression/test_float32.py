from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from harness.compression.float32 import METHOD
from harness.context import Context
from harness.data.digits import DATA

pytestmark = pytest.mark.torch


def test_the_network_comes_back_as_it_was(cnn: nn.Module, new_context: Callable[..., Context]) -> None:
    compressed = METHOD().compress(cnn, DATA(), new_context())
    (member,) = compressed.members
    assert member.module is member.reference is not cnn
    assert all(torch.equal(a, b) for a, b in zip(member.module.state_dict().values(), cnn.state_dict().values(), strict=True))
    assert compressed.numeric == "float32"
    assert compressed.left_alone == {}


def test_claims_are_dense(cnn: nn.Module, new_context: Callable[..., Context]) -> None:
    claims = METHOD().compress(cnn, DATA(), new_context()).members[0].claims
    weights = 8 * 9 + 16 * 8 * 9 + 16 * 16 * 9 + 160
    assert claims.macs == 64 * 72 + 16 * (16 * 8 * 9 + 16 * 16 * 9) + 160
    assert claims.params == claims.nonzero_params == weights + 2 * (8 + 16 + 16) + 10
    assert (claims.weight_bits, claims.weight_bytes) == (32.0, 4 * claims.params)
