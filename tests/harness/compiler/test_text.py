from __future__ import annotations

import numpy as np
import pytest

from harness.compiler.expression import Constant, Input, apply
from harness.compiler.text import View, broadcast, literal, loops, statements, strides_of, type_name
from harness.errors import Unsupported


def test_axes_that_are_walked_alike_become_one_loop() -> None:
    views = [View("y", strides_of((2, 3, 4))), broadcast("x0", (2, 3, 4), (2, 3, 4))]
    assert loops((2, 3, 4), views, lambda e: [f"{e[0]} = {e[1]};"]) == [
        "for (int i0 = hk_first(share, 24); i0 < hk_end(share, 24); i0++) {",
        "    y[i0] = x0[i0];",
        "}",
    ]


def test_a_broadcast_axis_is_a_loop_of_its_own() -> None:
    views = [View("y", strides_of((2, 3, 4))), broadcast("x0", (3, 1), (2, 3, 4))]
    found = loops((2, 3, 4), views, lambda e: [f"{e[0]} = {e[1]};"])
    assert "        y[12 * i0 + 4 * i1 + i2] = x0[i1];" in [line.removeprefix("    ") for line in found] and found.count("}") == 1


def test_one_element_needs_no_loop_and_views_begin_where_they_say() -> None:
    assert loops((1, 1), [View("y", (1, 1)), View("x0", (5, 1), 7)], lambda e: [f"{e[0]} = {e[1]};"]) == ["y[0] = x0[7];"]


@pytest.mark.parametrize("value", [0.1, 1e-30, 3.4028235e38, -0.0, 16777217.0, 1 / 3])
def test_literals_are_read_back_as_the_same_float(value: float) -> None:
    assert np.float32(literal(value, "float32").rstrip("f")) == np.float32(value)


def test_other_literals() -> None:
    texts = [
        literal(float("inf"), "float32"),
        literal(float("nan"), "float32"),
        literal(3, "int64"),
        literal(1, "bool"),
        literal(-4, "int8"),
    ]
    assert texts == ["INFINITY", "NAN", "INT64_C(3)", "true", "-4"]


def test_an_expression_is_computed_step_by_step_and_no_part_twice() -> None:
    square = apply("mul", Input(0), Input(0))
    lines, value = statements(apply("add", square, apply("neg", square)), ["x0[i0]"], ["float32"], "n")
    assert lines == [
        "const float a0 = x0[i0];",
        "const float v1 = a0 * a0;",
        "const float v2 = -v1;",
        "const float v3 = v1 + v2;",
    ]
    assert value == "v3"
    lines, _ = statements(apply("add", Input(0), Constant(1, "int8")), ["x0[i0]"], ["int8"], "n")
    assert lines[-1] == "const int8_t v1 = (int8_t)(a0 + 1);"


def test_what_programs_do_not_compute_is_unsupported_by_name() -> None:
    with pytest.raises(Unsupported, match="`n`: float64 at run time"):
        type_name("float64", "n")
    with pytest.raises(Unsupported, match="`n`: sqrt of int64"):
        statements(apply("sqrt", Input(0)), ["x0[0]"], ["int64"], "n")
