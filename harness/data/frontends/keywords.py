"""Features of one-second clips for keyword spotting, as MLPerf Tiny makes them (with TensorFlow's signal library): MFCC and LFBE.

A frame is 30 ms, the next begins 20 ms later, so a second has 49. MLPerf Tiny's README speaks of 40 ms; its reference features are of 30.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from harness.data.frontends.mel import Floats, hann, htk_bank, spectra

FRAMES = 49
COEFFICIENTS = 10
WINDOW_S, STEP_S = 0.030, 0.020
_TOGETHER = 128
"""Clips whose spectra are in memory at once: 30 MB."""


def mfcc(clips: npt.NDArray[np.int16], rate_hz: int) -> npt.NDArray[np.float32]:
    """[n, rate] clips to [n, 1, 49, 10]: the first coefficients of the cosine transform of the log of 40 mel bands, 20 to 4000 Hz."""
    return _in_parts(_mfcc, clips, rate_hz)


def lfbe(clips: npt.NDArray[np.int16], rate_hz: int) -> npt.NDArray[np.float32]:
    """[n, rate] clips to [n, 1, 49, 10]: energies of 10 mel bands up to half the rate, in dB, with -52 ... 12 dB as 0 ... 1."""
    return _in_parts(_lfbe, clips, rate_hz)


def _mfcc(clips: Floats, rate_hz: int) -> Floats:
    spectrum = spectra(clips, hann(_samples(WINDOW_S, rate_hz)), _samples(STEP_S, rate_hz))
    bands = np.log(spectrum @ htk_bank(40, spectrum.shape[-1], rate_hz, 20.0, 4000.0) + 1e-6)
    angle = np.pi / 40 * (np.arange(40)[:, None] + 0.5) * np.arange(COEFFICIENTS)
    return np.asarray(bands @ (np.sqrt(2 / 40) * np.cos(angle)))  # DCT-II; the first is not scaled down by sqrt(2)


def _lfbe(clips: Floats, rate_hz: int) -> Floats:
    window = _samples(WINDOW_S, rate_hz)
    clips = clips - (1 - 2**-5) * np.pad(clips, ((0, 0), (1, 0)))[:, :-1]  # pre-emphasis
    spectrum = spectra(clips, np.hamming(window), _samples(STEP_S, rate_hz))
    power = np.maximum(spectrum**2 / window, 1e-30)
    bands = 10 * np.log10(power @ htk_bank(COEFFICIENTS, power.shape[-1], rate_hz, 0.0, rate_hz / 2))
    return np.asarray(np.clip((bands + 52) / 64, 0.0, 1.0))


def _in_parts(feature: Callable[[Floats, int], Floats], clips: npt.NDArray[np.int16], rate_hz: int) -> npt.NDArray[np.float32]:
    assert clips.shape[1] == rate_hz
    features = np.empty((len(clips), 1, FRAMES, COEFFICIENTS), np.float32)
    for start in range(0, len(clips), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        features[part, 0] = feature(_normalized(clips[part]), rate_hz)[:, :FRAMES]
    return features


def _normalized(clips: npt.NDArray[np.int16]) -> Floats:
    """Each clip over its largest sample (not its largest magnitude); a clip that never rises above 0 is left as it is."""
    largest = clips.max(axis=1, keepdims=True).astype(np.float64)
    return clips / np.where(largest > 0, largest, 1.0)


def _samples(seconds: float, rate_hz: int) -> int:
    return round(seconds * rate_hz)
