"""Spectra against a discrete Fourier transform written out, filter banks against their definition band by band."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest

from harness.data.frontends.mel import hann, htk_bank, slaney_bank, spectra


def test_spectra_are_the_transform_written_out() -> None:
    clip = np.random.default_rng(0).normal(size=23)
    window = hann(6)
    found = spectra(clip[None], window, 5)[0]
    assert found.shape == ((23 - 6) // 5 + 1, 8 // 2 + 1)
    for frame in range(len(found)):
        for bin_ in range(5):
            total = sum(window[t] * clip[5 * frame + t] * cmath.exp(-2j * cmath.pi * bin_ * t / 8) for t in range(6))
            assert found[frame, bin_] == pytest.approx(abs(total), abs=1e-12)


def test_hann_is_one_period() -> None:
    assert hann(4) == pytest.approx([0, 0.5, 1, 0.5])


def mel(hz: float) -> float:
    return 1127 * math.log(1 + hz / 700)


def test_htk_triangles_rise_and_fall_straight_on_the_mel_scale() -> None:
    bank = htk_bank(5, 33, 8000, 100, 3000)
    step = (mel(3000) - mel(100)) / 6
    for bin_ in range(33):
        for band in range(5):
            distance = abs(mel(bin_ * 4000 / 32) - (mel(100) + (band + 1) * step)) / step
            assert bank[bin_, band] == pytest.approx(max(0.0, 1 - distance) if bin_ else 0.0, abs=1e-12)


def test_slaney_triangles_have_equal_area_in_hz() -> None:
    bank = slaney_bank(20, 4097, 16000)
    assert bank.sum(axis=0) * (8000 / 4096) == pytest.approx(
        1.0, rel=0.01
    )  # the integral of a triangle that sampling approximates


def test_slaney_bands_are_even_below_a_kilohertz_and_geometric_above() -> None:
    bank = slaney_bank(128, 1 << 16, 16000)
    peak = bank.argmax(axis=0) * 8000 / ((1 << 16) - 1)
    total = 15 + 27 * math.log(8) / math.log(6.4)
    expected = [(m * 200 / 3) if m < 15 else 1000 * 6.4 ** ((m - 15) / 27) for m in np.linspace(0, total, 130)[1:-1]]
    assert peak == pytest.approx(np.array(expected), abs=0.2)
