"""Calibration inputs: training examples that a method may look at, never validation or test."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from harness.data import Data
from harness.errors import UserError


def calibration_inputs(data: Data, samples: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """[samples, *input_shape] training inputs drawn without replacement."""
    batch = data.load("train")
    if samples > len(batch):
        raise UserError(
            f"calibration_samples: {samples} are asked for, {data.spec.title} has {len(batch)} training examples; ask for fewer"
        )
    return np.ascontiguousarray(batch.inputs[rng.choice(len(batch), samples, replace=False)])


def sha256_of(inputs: npt.NDArray[np.float32]) -> str:
    """Of the values in their order, as little-endian float32."""
    return hashlib.sha256(np.ascontiguousarray(inputs, "<f4").tobytes()).hexdigest()
