from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.findings import Quantity
from reports.rounding import Printed, Scale, alone, printed, printed_half, scale_for, signed

PLAIN = Scale("", 1.0)


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (3.2149, 3.1049, 3.3249, ("3.21", "3.10", "3.32")),  # half-width 0.11: two digits are hundredths
        (0.785123, 0.7783, 0.7921, ("0.7851", "0.7783", "0.7921")),  # 0.0069: ten-thousandths
        (1.0, 0.9005, 1.0997, ("1.00", "0.90", "1.10")),  # 0.0996 is 0.10 in two digits: hundredths
        (123.4, 100.0, 160.0, ("123", "100", "160")),
        (1234.0, 834.0, 1634.0, ("1230", "830", "1630")),  # 400: tens
        (1.23456789, 1.23456788, 1.2345679, ("1.23457", "1.23457", "1.23457")),  # never more than six digits
        (-0.5, -0.61, -0.39, ("−0.50", "−0.61", "−0.39")),
    ],
)
def test_rounding_follows_the_width_of_the_interval(
    value: float, low: float, high: float, expected: tuple[str, str, str]
) -> None:
    assert printed(PLAIN, value, low, high) == Printed(*expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (640.0, "640"),
        (9.6, "9.60"),
        (3.14159, "3.14"),
        (0.0312, "0.0312"),
        (12345.0, "12300"),
        (9.999, "10.0"),
    ],
)
def test_without_an_interval_three_digits_are_printed(value: float, text: str) -> None:
    assert printed(PLAIN, value) == Printed(text)
    assert printed(PLAIN, value, value, value) == Printed(text)


@given(
    st.floats(1e-6, 1e6),
    st.floats(1e-5, 0.5),
)
def test_a_printed_number_is_never_off_by_more_than_a_tenth_of_the_half_width(value: float, share: float) -> None:
    half = value * share
    text = printed(PLAIN, value, value - half, value + half)
    assert abs(float(text.value) - value) <= max(0.05 * half, 0.5 * 10.0 ** (math.floor(math.log10(value)) - 5)) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("unit", "metric", "values", "scale"),
    [
        ("s", "latency", [80e-6, 90e-6, 14e-3], ("µs", 1e-6)),
        ("s", "latency", [1e-3], ("ms", 1e-3)),
        ("s", "latency", [999e-9], ("ns", 1e-9)),
        ("s", "latency", [0.9999e-3], ("ms", 1e-3)),
        ("s", "latency", [75.0], ("s", 1.0)),
        ("B", "artifact_size", [500.0], ("B", 1.0)),
        ("B", "artifact_size", [26_500.0], ("kB", 1e3)),
        ("B", "peak_memory", [48e6], ("MB", 1e6)),
        ("J", "energy", [2e-3], ("mJ", 1e-3)),
        ("count", "macs", [12.5e6], ("M", 1e6)),
        ("1", "top1", [0.9], ("%", 0.01)),
        ("1", "instructions", [25_431.0], ("k", 1e3)),
        ("x", "speedup", [3.0], ("×", 1.0)),
        ("K", "temperature", [300.0], ("K", 1.0)),
        ("s", "latency", [], ("s", 1.0)),
        ("B", "model_memory", [0.0], ("B", 1.0)),
    ],
)
def test_one_prefix_brings_the_middle_value_into_range(
    unit: str, metric: str, values: list[float], scale: tuple[str, float]
) -> None:
    found = scale_for(unit, metric, values)
    assert found.unit == scale[0]
    assert found.factor == pytest.approx(scale[1], rel=1e-12)


def test_a_negative_value_has_a_true_minus_and_zero_has_none() -> None:
    assert printed(Scale("points", 0.01, 1), -0.025).value == "−2.5"
    assert printed(Scale("points", 0.01, 1), -0.0001).value == "0.0"


def test_changes_carry_their_sign() -> None:
    assert [signed(text) for text in ("1.5", "−1.5", "0.0")] == ["+1.5", "−1.5", "0.0"]


def test_a_quantity_alone_has_its_unit_beside_it() -> None:
    assert alone("latency", Quantity("s", 0.785e-3, 0.778e-3, 0.792e-3)) == "785.0 µs [778.0, 792.0]"
    assert alone("quality_change", Quantity("points", 0.012)) == "+1.2 points"
    assert alone("top1", Quantity("1", 0.5)) == "50%"
    assert alone("energy", Quantity("J", missing="no meter")) == ""


@pytest.mark.parametrize(
    ("value", "low", "high", "text", "half"),
    [
        (1.0e-3, 0.99e-3, 1.01e-3, "1.000", "0.010"),
        (15e-3, 14.2e-3, 15.9e-3, "15.00", "0.85"),
        (0.2, 0.1, 0.4, "200", "150"),
        (1e-3, None, None, "1", ""),
    ],
)
def test_half_an_interval_has_as_many_digits_after_the_point(
    value: float, low: float | None, high: float | None, text: str, half: str
) -> None:
    assert printed_half(Scale("ms", 1e-3), Quantity("s", value, low, high)) == Printed(text, half=half)
