"""Sanity before performance: is the device's answer the compressed network's own? A wrong answer has no latency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harness.errors import WrongAnswer

Array = npt.NDArray[Any]
Rule = Literal["float32", "int8", "exact", "same"]
"""The numeric class of a network, `exact` where the reference is bit-true, `same` for the same artifact asked again."""

RELATIVE = 1e-4
ABSOLUTE = 1e-6
"""float32: largest error over largest magnitude. Reordered sums of float32 stay two orders of magnitude below it."""
LEAST_SQNR_DB = 20.0
"""int8: a backend may place its quantizers elsewhere than the fake-quantized reference does, so answers differ by some steps of 8 bits.

Honest int8 forms measured 20-39 dB (the lower end by clipped calibration), swapped layouts, wrong scales or zero points below 10 dB.
"""
LEAST_PROBABILITY_SQNR_DB = 12.0
"""int8 networks that end in a softmax, their distance from the uniform distribution as the signal.

Softmax turns an error e of a logit into up to e/4 of a probability: logits at 20 dB (a tenth of their typical size, 5) may leave probabilities
of undecided examples 0.125 off, 12 dB. MLPerf Tiny's own int8 ResNet-8 measured 18-21 dB between two kernels of one runtime.
"""
FLOOR_SQNR_DB = 10.0
NOISE_MARGIN_DB = 6.0
"""A deep network whose own rounding leaves less than that: another placement of the roundings may do to it up to twice what they do (6 dB),
down to what wrong networks reach. EfficientNet-Lite0: 20 dB by its own rounding, 18-19 dB between the simulation and two runtimes.
"""
TEXT = {
    "float32": f"largest error at most {RELATIVE:g} of the largest magnitude",
    "int8": f"signal to quantization noise at least {LEAST_SQNR_DB:g} dB, of probabilities {LEAST_PROBABILITY_SQNR_DB:g} dB, "
    f"or {NOISE_MARGIN_DB:g} dB below what the network's own rounding leaves and not below {FLOOR_SQNR_DB:g} dB",
    "exact": "equal in every element",
    "same": f"largest error at most {RELATIVE:g} of the largest magnitude, by another process over the same artifact",
}


@dataclass(frozen=True, slots=True)
class Check:
    """How far answers are from the reference, over the worst output. A figure that does not exist is None, and `reason` says why."""

    max_abs_error: float | None
    relative_error: float | None
    """Largest error over the reference's largest magnitude; None where that is 0."""
    sqnr_db: float | None
    """10 log10(sum of squares of the reference / sum of squares of the error); None where either is 0."""
    passed: bool
    rule: str
    reason: str | None = None
    """What is wrong, where it is not the figures."""


def check(outputs: Sequence[Array], reference: Sequence[Array], numeric: Rule, unrounded: Sequence[Array] | None = None) -> Check:
    """Compare real values, output by output. NaN, infinity, another shape, another kind of number or another count is wrong.

    An output of integers (an index, a class) has no tolerance under any rule. `unrounded`, for a network that rounds its activations: what
    the reference answers where they are not rounded. A float32 network that does is compared by the rule for int8.
    """
    if numeric == "float32" and unrounded is not None:
        numeric = "int8"
    if len(outputs) != len(reference):
        return Check(None, None, None, False, TEXT[numeric], f"{len(outputs)} outputs instead of {len(reference)}")
    exact: Sequence[Array | None] = unrounded or [None] * len(outputs)
    each = [_check_one(f"output {i}", *given, numeric) for i, given in enumerate(zip(outputs, reference, exact, strict=True))]
    if not each:
        return Check(None, None, None, False, TEXT[numeric], "there is no output to compare")
    return Check(
        _worst([one.max_abs_error for one in each], max),
        _worst([one.relative_error for one in each], max),
        _worst([one.sqnr_db for one in each], min),
        all(one.passed for one in each),
        TEXT[numeric],
        next((one.reason for one in each if one.reason is not None), None),
    )


def require(check: Check) -> None:
    """Raise WrongAnswer, with the figures, unless the check passed."""
    if not check.passed:
        raise WrongAnswer(f"wrong answer: {described(check)}")


def described(check: Check) -> str:
    """The figures, or what is wrong beside them, and what was required."""
    figures = [check.reason] if check.reason is not None else [f"largest error {check.max_abs_error:.3g}"]
    if check.reason is None and check.relative_error is not None:
        figures.append(f"{check.relative_error:.3g} of the largest magnitude")
    if check.reason is None and check.sqnr_db is not None:
        figures.append(f"SQNR {check.sqnr_db:.1f} dB")
    return f"{', '.join(figures)}; required: {check.rule}"


def _check_one(name: str, output: Array, reference: Array, unrounded: Array | None, numeric: Rule) -> Check:
    def wrong(reason: str) -> Check:
        return Check(None, None, None, False, TEXT[numeric], f"{name} {reason}")

    if output.shape != reference.shape:
        return wrong(f"has shape {list(output.shape)} instead of {list(reference.shape)}")
    is_float = reference.dtype.kind == "f"
    if (output.dtype.kind == "f") != is_float or ((numeric == "exact" or not is_float) and output.dtype != reference.dtype):
        return wrong(f"is {output.dtype} instead of {reference.dtype}")
    if reference.size == 0:
        return wrong("is empty")
    if not np.isfinite(reference).all():
        return wrong("cannot be checked: the reference is not finite")
    if not np.isfinite(output).all():
        return wrong(f"holds {int((~np.isfinite(output)).sum())} values that are not finite")
    a, b = output.astype(np.float64), reference.astype(np.float64)
    error, magnitude = float(np.max(np.abs(a - b))), float(np.max(np.abs(b)))
    probabilities = numeric == "int8" and is_float and _are_probabilities(b)
    sqnr_db = _sqnr_db(a, b, probabilities)
    least_db = LEAST_PROBABILITY_SQNR_DB if probabilities else LEAST_SQNR_DB
    if unrounded is not None and (own_db := _sqnr_db(b, unrounded.astype(np.float64), probabilities)) is not None:
        least_db = min(least_db, max(FLOOR_SQNR_DB, own_db - NOISE_MARGIN_DB))
    if numeric == "exact" or not is_float:
        passed = bool(np.array_equal(output, reference))
    elif numeric == "int8":
        passed = error == 0 or (sqnr_db is not None and sqnr_db >= least_db)
    else:
        passed = error <= RELATIVE * magnitude + ABSOLUTE
    return Check(error, error / magnitude if magnitude > 0 else None, sqnr_db, passed, TEXT[numeric])


def _sqnr_db(array: Array, reference: Array, probabilities: bool) -> float | None:
    """Of probabilities the signal is their distance from the uniform distribution."""
    scale = (
        max(float(np.max(np.abs(array - reference))), float(np.max(np.abs(reference)))) or 1.0
    )  # squares neither overflow nor vanish
    centre = 1 / reference.shape[-1] if probabilities else 0.0
    noise, signal = float(np.sum(((array - reference) / scale) ** 2)), float(np.sum(((reference - centre) / scale) ** 2))
    return 10 * math.log10(signal / noise) if noise > 0 and signal > 0 else None


def _are_probabilities(array: Array) -> bool:
    """Whether each row is a distribution over several classes, stored in steps of 1/256 or finer."""
    classes = array.shape[-1] if array.ndim >= 2 else 0
    return classes > 1 and bool(array.min() >= 0) and bool(np.all(np.abs(array.sum(axis=-1) - 1) <= classes / 512))


def _worst(figures: Sequence[float | None], pick: Any) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return float(pick(known)) if known else None
