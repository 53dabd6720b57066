"""Features of machine sounds, as MLPerf Tiny's anomaly detection makes them (with librosa's defaults): five frames of 128 log mel energies."""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt

from harness.data.frontends.mel import hann, slaney_bank, spectra
from harness.data.sources.audio import Samples16

BANDS, FRAMES = 128, 5
WINDOW, STEP = 1024, 512
MIDDLE = slice(50, 250)
"""Frames that count: the beginning and the end of a ten-second clip are left out."""


def windows(clip: Samples16, rate_hz: int) -> npt.NDArray[np.float32]:
    """[samples] to [n, 640]: each five frames in a row, the first frame's bands first; ten seconds give 196."""
    padded = np.pad(clip / 32768.0, WINDOW // 2)  # so that frame t is centred on sample t * STEP
    power = spectra(padded[None], hann(WINDOW), STEP)[0] ** 2
    bands = 10 * np.log10(power @ slaney_bank(BANDS, power.shape[1], rate_hz) + sys.float_info.epsilon)
    chosen = bands[MIDDLE].astype(np.float32)
    count = max(len(chosen) - FRAMES + 1, 0)
    return np.concatenate([chosen[frame : frame + count] for frame in range(FRAMES)], axis=1)
