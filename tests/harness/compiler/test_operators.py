from __future__ import annotations

import pytest

from harness.compiler.expression import Constant, Input, apply
from harness.compiler.ir import Operator, Type
from harness.compiler.operators import (
    Concat,
    Conv,
    Dense,
    Gather,
    Map,
    MatMul,
    Normalize,
    Pad,
    Pool,
    Reduce,
    Requantize,
    Reshape,
    Slice,
    Softmax,
    Transpose,
    Window,
    dequantizes,
)


def f32(*shape: int) -> Type:
    return Type("float32", shape)


IMAGE, FILTERS, BIAS = f32(2, 7, 9, 6), f32(3, 3, 2, 9), f32(9)
WINDOW = Window((3, 3), (2, 3), (1, 0, 1, 1), (1, 2))
BYTES = Requantize(3, 5, "uint8", 0, 255)


@pytest.mark.parametrize(
    ("op", "types", "shape"),
    [
        (Conv(WINDOW, 3), [IMAGE, FILTERS, BIAS], (2, 4, 2, 9)),
        (Conv(WINDOW, 3), [IMAGE, FILTERS, BIAS, f32(2, 4, 2, 9)], (2, 4, 2, 9)),
        (Dense(), [f32(2, 5, 6), f32(6, 4), f32(4)], (2, 5, 4)),
        (Dense(requantize=BYTES), [Type("int8", (2, 6)), Type("int8", (6, 4)), Type("int32", (4,)), f32(4)], (2, 4)),
        (MatMul(), [f32(3, 1, 5, 6), f32(2, 6, 4)], (3, 2, 5, 4)),
        (Pool("max", WINDOW), [IMAGE], (2, 4, 2, 6)),
        (Map(apply("add", Input(0), Input(1)), (2, 3)), [f32(3), f32(2, 1)], (2, 3)),
        (Reduce("mean", (1, 2)), [IMAGE], (2, 1, 1, 6)),
        (Softmax(1), [f32(2, 3)], (2, 3)),
        (Normalize(1e-5), [f32(2, 3), f32(3), f32(3)], (2, 3)),
        (Transpose((2, 0, 1)), [f32(2, 3, 4)], (4, 2, 3)),
        (Concat(1), [f32(2, 3), f32(2, 4)], (2, 7)),
        (Slice((1, 0), (2, 2), (3, 2)), [f32(5, 4)], (2, 2)),
        (Pad((1, 0), (0, 2)), [f32(5, 4)], (6, 6)),
        (Gather(1), [f32(2, 5, 3), Type("int64", (4, 4))], (2, 4, 4, 3)),
    ],
)
def test_shapes(op: Operator, types: list[Type], shape: tuple[int, ...]) -> None:
    assert op.infer(types).shape == shape


@pytest.mark.parametrize(
    ("op", "types"),
    [
        (Conv(WINDOW, 2), [IMAGE, FILTERS, BIAS]),
        (Conv(WINDOW, 3), [IMAGE, FILTERS, f32(8)]),
        (Conv(WINDOW, 3), [IMAGE, FILTERS, BIAS, f32(2, 4, 2, 8)]),
        (Conv(Window((9, 9))), [IMAGE, f32(9, 9, 6, 1), f32(1)]),
        (Dense(), [f32(2, 5), f32(6, 4), f32(4)]),
        (Dense(requantize=BYTES), [f32(2, 6), Type("int8", (6, 4)), Type("int32", (4,)), f32(4)]),
        (Dense(requantize=BYTES), [Type("int8", (2, 6)), Type("int8", (6, 4)), Type("int32", (4,))]),
        (MatMul(), [f32(5, 6), f32(5, 6)]),
        (Pool("mean", WINDOW), [Type("int8", (1, 9, 9, 1))]),
        (Map(Input(0), (2, 3)), [f32(2, 4)]),
        (Reduce("sum", (0, 2)), [f32(2, 3, 4)]),
        (Reduce("max", (0,)), [f32(0, 4)]),
        (Softmax(2), [f32(2, 3)]),
        (Normalize(1e-5), [f32(2, 3), f32(2), f32(3)]),
        (Transpose((0, 0)), [f32(2, 3)]),
        (Reshape((7,)), [f32(2, 3)]),
        (Concat(1), [f32(2, 3), f32(3, 4)]),
        (Slice((1,), (2,), (3,)), [f32(4)]),
        (Pad((-1,), (0,)), [f32(4)]),
        (Gather(0), [f32(4), f32(2)]),
    ],
)
def test_what_does_not_fit_is_refused(op: Operator, types: list[Type]) -> None:
    with pytest.raises((ValueError, TypeError)):
        op.infer(types)


def test_only_dequantizing_is_dequantizing() -> None:
    expression = apply("dequantize", Input(0), Constant(1, "float32"), Constant(0, "int8"))
    assert dequantizes(Map(expression, (1,)))
    assert not dequantizes(Map(apply("neg", expression), (1,))) and not dequantizes(Softmax(0))
