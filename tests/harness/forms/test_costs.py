"""Costs of operators against counting by hand, and against the claims, which are counted from the module."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from harness.compression import Quantization
from harness.compression.numerics.counting import claims
from harness.forms import onnx
from harness.forms.costs import Cost, operator_costs, original_name
from harness.forms.form import Source

pytestmark = pytest.mark.torch

EXAMPLE = np.zeros((1, 3, 8, 8), np.float32)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2, groups=2), nn.Flatten(), nn.Linear(36, 5)
    ).eval()


def costs(path: Path) -> list[Cost]:
    """Of every node of a file, by its own name."""
    import onnx as onnx_package

    found = operator_costs(path, [node.name for node in onnx_package.load(path).graph.node])
    return [cost for cost in found if cost is not None]


def test_convolutions_and_products_of_a_float_network(tmp_path: Path) -> None:
    module = network()
    module.get_parameter("4.weight").data[:, :18] = 0.0
    found = costs(onnx.write_float(Source(module, EXAMPLE, 2), tmp_path).path)
    by_layer = {cost.layer: cost for cost in found if cost.layer}
    assert {name: cost.macs for name, cost in by_layer.items()} == {
        "0": 2 * 64 * 4 * 3 * 9,
        "2": 2 * 9 * 4 * 2 * 9,
        "4": 2 * 5 * 36,
    }
    assert by_layer["0"].bytes == 4 * (2 * 3 * 64 + 4 * 27 + 4 + 2 * 4 * 64)
    assert (by_layer["4"].format, by_layer["4"].sparsity, by_layer["0"].sparsity) == ("float32", 0.5, 0.0)
    assert sum(cost.macs or 0 for cost in found) == 2 * claims(module, EXAMPLE).macs
    others = [cost for cost in found if cost.layer is None]
    assert others and all(cost.macs is None and cost.sparsity is None for cost in others)


def test_integers_count_as_integers(tmp_path: Path) -> None:
    calibration = np.random.default_rng(0).standard_normal((8, 3, 8, 8), np.float32)
    source = Source(network(), EXAMPLE, 1, Quantization(8, 8, True, 8, ""), calibration)
    found = costs(onnx.write_u8s8(source, tmp_path).path)
    first = next(cost for cost in found if cost.layer == "0")
    assert first.format == "int8 per channel" and first.macs == 64 * 4 * 27
    bias = 4 * 4
    assert first.bytes == 3 * 64 + 4 * 27 + bias + 4 * 64


@pytest.mark.parametrize(
    ("renamed", "name"),
    [
        ("node_conv2d_token_12", "node_conv2d"),
        ("conv_nchwc", "conv"),
        ("node_conv2d_1", "node_conv2d_1"),
        ("a_token_1_nchwc", "a"),
        ("fc/WithoutBiases/DequantizationMultiply", "fc"),
    ],
)
def test_the_runtimes_own_names_lead_back_to_the_files(renamed: str, name: str) -> None:
    assert original_name(renamed) == name


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.shortcut = (nn.Conv2d(3, 3, 1) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))
        return y


def test_a_fused_operator_is_known_by_the_tensor_that_comes_out_of_it(tmp_path: Path) -> None:
    """As ONNX Runtime names them: the shortcut by its own output, the others by what was fused into them."""
    import onnx as onnx_package

    path = onnx.write_float(Source(Residual().eval(), EXAMPLE, 1), tmp_path).path
    graph = onnx_package.load(path).graph
    weights = {node.input[1]: node for node in graph.node if node.op_type == "Conv"}
    shortcut = weights["shortcut.weight"].output[0]
    inner, outer = (node.output[0] for node in graph.node if node.op_type == "Relu")
    found = operator_costs(path, [f"{inner}_nchwc", f"{shortcut}_nchwc", f"{outer}_nchwc", "ReorderOutput"])
    assert [cost.layer if cost else None for cost in found] == ["first", "shortcut", "second", None]
