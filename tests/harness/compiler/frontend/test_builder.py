from __future__ import annotations

import numpy as np
import pytest

from harness.compiler.expression import Constant, Input, apply
from harness.compiler.frontend.builder import CONVERT, Builder, OnnxNode, axis_of
from harness.compiler.ir import Type
from harness.compiler.operators import Map, Transpose
from harness.errors import Unsupported


def builder() -> Builder:
    found = Builder(20)
    found.types["x"] = Type("float32", (2, 3))
    return found


def test_what_constants_decide_is_computed_at_once_except_dequantized_weights() -> None:
    made = builder()
    k = made.constant(np.arange(6, dtype=np.int8).reshape(2, 3))
    assert made.transpose(k, (1, 0)) in made.constants and not made.nodes
    scale, zero = made.constant(np.float32(0.5)), made.constant(np.int8(0))
    weights = made.map(
        apply("quantize", Input(0), Input(1), Input(2), dtype="int8"), made.constant(np.ones(3, np.float32)), scale, zero
    )
    assert weights in made.constants
    real = made.map(apply("dequantize", Input(0), Input(1), Input(2)), k, scale, zero)
    assert real not in made.constants and real in made.static and len(made.nodes) == 1


def test_constants_of_one_element_become_part_of_the_expression_and_keep_their_shape() -> None:
    made = builder()
    name = made.map(apply("add", Input(1), Input(0)), made.constant(np.full((1, 1, 1), 2, np.float32)), "x")
    assert made.nodes[0].op == Map(apply("add", Input(0), Constant(2.0, "float32")), (1, 2, 3))
    assert made.nodes[0].inputs == ("x",) and made.shape(name) == (1, 2, 3)


def test_moves_that_do_nothing_are_not_made() -> None:
    made = builder()
    assert made.reshape("x", (2, 3)) == "x" == made.transpose("x", (0, 1)) and not made.nodes


def test_what_does_not_fit_is_unsupported_with_the_nodes_name() -> None:
    made = builder()
    made.origin = "here"
    with pytest.raises(Unsupported, match=r"node `here`: Transpose over \(float32\[2, 3\]\)"):
        made.add(Transpose((0,)), "x")


def test_axes_are_counted_from_the_front() -> None:
    node = OnnxNode("Concat", "n", ("x", ""), ("y",), {})
    assert axis_of(node, -1, 3) == 2 and axis_of(node, 1, 3) == 1
    assert node.has(0) and not node.has(1) and not node.has(2)
    with pytest.raises(Unsupported, match="axis 3"):
        axis_of(node, 3, 3)


def test_every_operator_of_the_zoo_is_known() -> None:
    import harness.compiler.frontend.network  # noqa: F401 - fills CONVERT

    zoo = "Add Cast Clip Concat Conv DequantizeLinear Div Equal Gather Gelu Gemm GlobalAveragePool LayerNormalization MatMul MaxPool Mul Not"
    zoo += " QuantizeLinear ReduceSum Relu Reshape Softmax Sub Transpose Unsqueeze"
    assert set(zoo.split()) <= set(CONVERT)
