from __future__ import annotations

import hashlib

import numpy as np
import pytest

from harness.compression.numerics.calibration import calibration_inputs, sha256_of
from harness.data.digits import DATA
from harness.errors import UserError


def test_inputs_are_different_training_examples() -> None:
    inputs = calibration_inputs(DATA(), 50, np.random.default_rng(0))
    training = {image.tobytes() for image in DATA().load("train").inputs}
    assert inputs.shape == (50, 1, 8, 8)
    assert inputs.dtype == np.float32
    assert len({image.tobytes() for image in inputs} & training) == 50


def test_the_choice_follows_the_generator() -> None:
    def draw(seed: int) -> bytes:
        return calibration_inputs(DATA(), 20, np.random.default_rng(seed)).tobytes()

    assert draw(0) == draw(0) != draw(1)


def test_more_than_there_are_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"2000 are asked for, Digits .* has 1259"):
        calibration_inputs(DATA(), 2000, np.random.default_rng(0))


def test_hash_is_over_the_values_in_their_order() -> None:
    inputs = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert sha256_of(inputs) == hashlib.sha256(inputs.tobytes()).hexdigest()
    assert sha256_of(inputs[:, ::-1]) == sha256_of(inputs[:, ::-1].copy()) != sha256_of(inputs)
