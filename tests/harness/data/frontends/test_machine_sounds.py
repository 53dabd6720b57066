from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from harness.data.frontends.machine_sounds import windows
from harness.data.frontends.mel import slaney_bank


def test_ten_seconds_give_196_windows_of_the_formula() -> None:
    clip = np.random.default_rng(0).normal(0, 3000, 160_000).astype(np.int16)
    found = windows(clip, 16000)
    assert found.shape == (196, 640) and found.dtype == np.float32
    signal, bank = clip / 32768, slaney_bank(128, 513, 16000)
    taper = [0.5 - 0.5 * math.cos(2 * math.pi * t / 1024) for t in range(1024)]
    for number, frame in ((0, 0), (7, 3), (195, 4)):
        centre = (50 + number + frame) * 512
        power = np.abs(np.fft.rfft(signal[centre - 512 : centre + 512] * taper)) ** 2
        for band in (0, 40, 127):
            decibel = 10 * math.log10(float(power @ bank[:, band]) + sys.float_info.epsilon)
            assert found[number, 128 * frame + band] == pytest.approx(decibel, abs=1e-3)


def test_a_clip_that_is_too_short_gives_no_window() -> None:
    assert windows(np.zeros(512 * 50, np.int16), 16000).shape == (0, 640)
    assert windows(np.zeros(512 * 54, np.int16), 16000).shape == (1, 640)
