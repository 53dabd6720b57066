from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from harness.compression.numerics.layers import batchnorms, calls, kind, shape_of, traced, weighted_layers, with_shapes
from harness.errors import BuildError

pytestmark = pytest.mark.torch


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def network() -> nn.Sequential:
    inner = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
    return nn.Sequential(inner, nn.Flatten(), nn.Linear(12, 2))


def test_layers_are_found_by_dotted_name_in_order() -> None:
    assert list(weighted_layers(network())) == ["0.0", "2"]
    assert list(batchnorms(network())) == ["0.1"]


def test_traced_is_a_copy_in_eval_mode() -> None:
    module = network().train()
    graph = traced(module)
    assert module.training
    assert not graph.training
    assert graph.get_parameter("2.weight") is not module.get_parameter("2.weight")
    assert calls(graph, "0.0") == 1
    assert calls(graph, "nowhere") == 0


def test_shapes_and_kinds_of_the_nodes() -> None:
    graph = with_shapes(traced(network()), np.zeros((1, 1, 4, 4), np.float32), batch=5)
    found = {str(node.target): (kind(graph, node), shape_of(node)) for node in graph.graph.nodes if node.op == "call_module"}
    assert found["0.0"] == (nn.Conv2d, (5, 3, 2, 2))
    assert found["1"] == (nn.Flatten, (5, 12))


def test_control_flow_on_data_is_a_build_error_that_says_so() -> None:
    with pytest.raises(BuildError, match="Branching cannot be traced"):
        traced(Branching())
