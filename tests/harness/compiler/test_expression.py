from __future__ import annotations

import math

import numpy as np
import pytest

from harness.compiler.expression import SCALARS, Constant, Input, applications, apply, dtype_of, evaluate, substituted

X, Y = Input(0), Input(1)
SIGMOID_TIMES = apply("mul", X, apply("sigmoid", X))


def test_it_evaluates_element_by_element_over_arrays_that_broadcast() -> None:
    x, y = np.array([[1, -2, 0.5]], np.float32), np.array([[3], [4]], np.float32)
    found = evaluate(apply("add", SIGMOID_TIMES, Y), [x, y])
    assert found.shape == (2, 3) and found.dtype == np.float32
    for (i, j), value in np.ndenumerate(found):
        assert math.isclose(value, x[0, j] / (1 + math.exp(-x[0, j])) + y[i, 0], rel_tol=1e-6)


def test_types_follow_from_the_arguments() -> None:
    assert dtype_of(apply("less", X, Y), ["int64", "int64"]) == "bool"
    assert dtype_of(apply("where", X, Y, Y), ["bool", "int32"]) == "int32"
    assert dtype_of(apply("cast", X, dtype="int64"), ["float32"]) == "int64"
    assert dtype_of(apply("dequantize", X, Constant(1, "float32"), Y), ["int8", "int8"]) == "float32"


@pytest.mark.parametrize("expression", [apply("add", X, Y), apply("where", Constant(1, "bool"), X, Y), apply("neg", X, Y)])
def test_arguments_that_do_not_belong_together_are_refused(expression: object) -> None:
    with pytest.raises(TypeError):
        dtype_of(expression, ["float32", "int64"])  # type: ignore[arg-type]


def test_quantized_values_round_to_even_and_saturate() -> None:
    levels = evaluate(
        apply("quantize", X, Constant(0.5, "float32"), Constant(2, "int8"), dtype="int8"),
        [np.array([0.25, 0.75, 1e9, -1e9], np.float32)],
    )
    assert levels.dtype == np.int8 and levels.tolist() == [2, 4, 127, -128]
    real = evaluate(apply("dequantize", X, Constant(0.5, "float32"), Constant(-128, "int8")), [np.array([127, -128], np.int8)])
    assert real.tolist() == [127.5, 0]


def test_substitution_and_the_order_of_steps() -> None:
    joined = substituted(apply("add", X, X), [SIGMOID_TIMES])
    assert joined == apply("add", SIGMOID_TIMES, SIGMOID_TIMES)
    assert [part.scalar for part in applications(joined)] == ["sigmoid", "mul", "add"]


def test_division_of_integers_drops_the_fraction_and_powers_of_negatives_are_nan() -> None:
    assert evaluate(apply("div", X, Y), [np.array([7, -7], np.int64), np.array([2, 2], np.int64)]).tolist() == [3, -3]
    assert np.isnan(evaluate(apply("pow", X, Constant(0.5, "float32")), [np.array([-1], np.float32)]))[0]
    assert evaluate(apply("sigmoid", X), [np.array([-1000, 1000], np.float32)]).tolist() == [0, 1]


def test_every_row_of_the_table_names_its_arguments_in_c() -> None:
    for name, row in SCALARS.items():
        used = {int(part[0]) for part in row.text.split("{")[1:] if part[0].isdigit()}
        assert used == set(range(row.arity)), name
