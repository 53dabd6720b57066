"""Right or wrong, class by class, at the edge of each tolerance."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.check import TEXT, Check, Rule, check, require
from harness.errors import WrongAnswer

RULES: tuple[Rule, ...] = get_args(Rule)


def floats(*values: float) -> npt.NDArray[np.float32]:
    return np.array(values, np.float32)


def oracle_sqnr_db(outputs: list[float], reference: list[float]) -> float:
    signal = sum(b * b for b in reference)
    noise = sum((a - b) * (a - b) for a, b in zip(outputs, reference, strict=True))
    return 10 * math.log10(signal / noise)


@pytest.mark.parametrize("rule", RULES)
def test_the_same_answer_is_right_under_every_rule(rule: Rule) -> None:
    result = check([floats(1, -2), np.array([3])], [floats(1, -2), np.array([3])], rule)
    assert result == Check(0.0, 0.0, None, True, TEXT[rule])
    require(result)


@pytest.mark.parametrize("rule", RULES)
def test_zeros_may_be_expected(rule: Rule) -> None:
    assert check([floats(0, 0)], [floats(0, 0)], rule) == Check(0.0, None, None, True, TEXT[rule])
    assert not check([floats(0, 1)], [floats(0, 0)], rule).passed


@pytest.mark.parametrize("rule", ["float32", "same"])
@pytest.mark.parametrize(("error", "passed"), [(0.9e-2, True), (1.1e-2, False), (-0.9e-2, True), (-1.1e-2, False)])
def test_floats_may_differ_by_a_ten_thousandth_of_the_largest(rule: Rule, error: float, passed: bool) -> None:
    reference = np.array([100.0, 1.0, 0.0])
    result = check([reference + np.array([0, 0, error])], [reference], rule)
    assert result.passed == passed
    assert result.max_abs_error == pytest.approx(abs(error)) and result.relative_error == pytest.approx(abs(error) / 100)


def test_tiny_floats_may_differ_by_a_millionth() -> None:
    assert check([np.array([1e-9, 0.9e-6])], [np.array([0.0, 0.0])], "float32").passed
    assert not check([np.array([1e-9, 1.1e-6])], [np.array([0.0, 0.0])], "float32").passed


@pytest.mark.parametrize(("noise", "passed"), [(0.099, True), (0.101, False)])
def test_integers_answer_by_signal_to_noise(noise: float, passed: bool) -> None:
    reference = np.random.default_rng(0).standard_normal(1000)
    output = reference + noise * np.sqrt(np.mean(reference**2)) * np.where(np.arange(1000) % 2, 1, -1)
    result = check([output], [reference], "int8")
    assert result.passed == passed
    assert result.sqnr_db == pytest.approx(oracle_sqnr_db(output.tolist(), reference.tolist()))


def test_exact_is_exact() -> None:
    assert not check([floats(1 + 1e-6)], [floats(1)], "exact").passed
    assert check([floats(1 + 1e-6)], [floats(1)], "float32").passed


@pytest.mark.parametrize("rule", RULES)
def test_an_index_has_no_tolerance(rule: Rule) -> None:
    reference = np.array([1000, 7])
    assert not check([np.array([1001, 7])], [reference], rule).passed
    assert not check([np.array([1000, 7], np.int32)], [reference], rule).passed


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (floats(1, 2, 3), r"output 0 has shape \[3\] instead of \[2\]"),
        (np.ones((2, 1), np.float32), r"output 0 has shape \[2, 1\] instead of \[2\]"),
        (floats(1, math.nan), "output 0 holds 1 values that are not finite"),
        (floats(math.inf, -math.inf), "output 0 holds 2 values that are not finite"),
        (np.array([1, 2]), "output 0 is int64 instead of float32"),
    ],
)
def test_what_cannot_be_compared_is_wrong(rule: Rule, output: npt.NDArray[Any], reason: str) -> None:
    result = check([output], [floats(1, 2)], rule)
    assert not result.passed and result.max_abs_error is None
    with pytest.raises(WrongAnswer, match=f"wrong answer: {reason}; required"):
        require(result)


def test_a_reference_that_is_not_finite_proves_nothing() -> None:
    result = check([floats(math.nan)], [floats(math.nan)], "float32")
    assert not result.passed and result.reason == "output 0 cannot be checked: the reference is not finite"


@pytest.mark.parametrize(
    ("outputs", "reason"), [([], "0 outputs instead of 1"), ([floats(1), floats(1)], "2 outputs instead of 1")]
)
def test_every_output_must_be_there(outputs: list[npt.NDArray[Any]], reason: str) -> None:
    assert check(outputs, [floats(1)], "float32").reason == reason


def test_nothing_is_not_an_answer() -> None:
    assert not check([], [], "float32").passed
    assert not check([floats()], [floats()], "float32").passed


def test_the_worst_output_counts() -> None:
    result = check([floats(1), floats(10.5), floats(1)], [floats(1), floats(10), floats(1)], "int8")
    assert result.passed and result.max_abs_error == 0.5
    result = check([floats(1), floats(15), floats(1)], [floats(1), floats(10), floats(1)], "int8")
    assert not result.passed and result.sqnr_db == pytest.approx(20 * math.log10(2))
    with pytest.raises(WrongAnswer, match=r"largest error 5, 0\.5 of the largest magnitude, SQNR 6\.0 dB; required: signal to"):
        require(result)


def test_figures_stay_finite_at_the_ends_of_float64() -> None:
    for value, expected in ((1e300, 1e-300), (1e-300, 1e300)):
        result = check([np.array([value])], [np.array([expected])], "int8")
        assert not result.passed and (result.sqnr_db is None or math.isfinite(result.sqnr_db))


def test_half_floats_are_compared_in_full_precision() -> None:
    big = np.array([60000], np.float16)
    assert check([big], [big], "float32").max_abs_error == 0


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=20), st.sampled_from([1e-150, 1e-3, 0.7, 1e3, 1e150]))
def test_scaling_both_changes_no_verdict(values: list[int], scale: float) -> None:
    reference = np.array(values, np.float64)
    output = reference + 0.5 * np.sign(reference)
    one, other = check([output], [reference], "int8"), check([scale * output], [scale * reference], "int8")
    if one.sqnr_db is not None and abs(one.sqnr_db - 20) > 1e-6:
        assert one.passed == other.passed and other.sqnr_db == pytest.approx(one.sqnr_db)


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


@pytest.mark.parametrize("spread", [0.5, 2.0, 6.0])
def test_probabilities_are_right_where_their_logits_are_and_wrong_where_those_are_of_another_example(spread: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, spread, (64, 10))
    steps = np.round(256 * softmax(logits + rng.normal(0, 0.07 * spread, logits.shape))) / 256
    right, wrong = (
        check([steps.astype(np.float32)], [softmax(logits)], "int8"),
        check([softmax(logits[::-1])], [softmax(logits)], "int8"),
    )
    assert right.passed, right
    assert not wrong.passed
    assert wrong.sqnr_db is not None and wrong.sqnr_db < 3


@pytest.mark.parametrize(("own_db", "least_db"), [(40.0, 20.0), (24.0, 18.0), (17.0, 11.0), (3.0, 10.0)])
def test_a_network_that_its_own_rounding_harms_may_be_harmed_twice_as_much_by_another_but_never_beyond_the_floor(
    own_db: float, least_db: float
) -> None:
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(4, 10)).astype(np.float32)

    def off_by(db: float) -> npt.NDArray[np.float32]:
        noise = rng.normal(size=reference.shape)
        return np.asarray(reference + noise * np.linalg.norm(reference) / np.linalg.norm(noise) * 10 ** (-db / 20), np.float32)

    unrounded = off_by(own_db)  # the signal is its own, whose norm is nearly the reference's
    assert check([off_by(least_db + 1)], [reference], "int8", [unrounded]).passed
    assert not check([off_by(least_db - 1)], [reference], "int8", [unrounded]).passed


def test_a_float_network_that_rounds_its_activations_is_compared_as_an_integer_one_is() -> None:
    """One step the other way at one place is far beyond float32's tolerance, and nothing to a network of few steps."""
    rng = np.random.default_rng(0)
    unrounded = rng.normal(size=(4, 10)).astype(np.float32)
    reference = np.asarray(np.round(unrounded * 8) / 8, np.float32)
    answer = reference.copy()
    answer[1, 2] += 0.125
    assert not check([answer], [reference], "float32").passed
    found = check([answer], [reference], "float32", [unrounded])
    assert found.passed and "quantization noise" in found.rule
    assert not check([reference[::-1]], [reference], "float32", [unrounded]).passed
