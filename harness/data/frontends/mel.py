"""Spectra and mel filter banks, from which all our audio features are made. Formulas in float64; see each function for its source."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def spectra(clips: Floats, window: Floats, step: int) -> Floats:
    """[n, samples] to magnitudes [n, frames, bins]: frames that fit whole, each windowed and padded to the next power of two."""
    frames = np.lib.stride_tricks.sliding_window_view(clips, len(window), axis=-1)[:, ::step]
    return np.asarray(np.abs(np.fft.rfft(frames * window, 1 << (len(window) - 1).bit_length())))


def hann(length: int) -> Floats:
    """[length] one period of the raised cosine, as for spectra (not symmetric)."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length))


def htk_bank(bands: int, bins: int, rate_hz: float, low_hz: float, high_hz: float) -> Floats:
    """[bins, bands] triangles that are straight on HTK's mel scale, 1127 ln(1 + f / 700), each 1 at its peak; bin 0 counts nowhere.

    So does `tf.signal.linear_to_mel_weight_matrix`.
    """
    mel = 1127.0 * np.log1p(np.linspace(0.0, rate_hz / 2, bins)[1:, None] / 700.0)
    edges = np.linspace(1127.0 * np.log1p(low_hz / 700.0), 1127.0 * np.log1p(high_hz / 700.0), bands + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (mel - lower) / (centre - lower), (upper - mel) / (upper - centre)
    return np.pad(np.maximum(0.0, np.minimum(rising, falling)), ((1, 0), (0, 0)))


def slaney_bank(bands: int, bins: int, rate_hz: float) -> Floats:
    """[bins, bands] triangles that are straight in Hz, of equal area, between points even on Slaney's mel scale from 0 to half the rate.

    That scale (Auditory Toolbox, 1998) has 3 mel to 200 Hz up to 1 kHz, and from there 27 to a factor of 6.4. So does librosa by default.
    """
    edges = _slaney_hz(np.linspace(0.0, _slaney_mel(rate_hz / 2), bands + 2))
    hz = np.linspace(0.0, rate_hz / 2, bins)[:, None]
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (hz - lower) / (centre - lower), (upper - hz) / (upper - centre)
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)) * 2.0 / (upper - lower))


def _slaney_mel(hz: float) -> float:
    return 3 * hz / 200 if hz < 1000 else 15 + 27 * float(np.log(hz / 1000) / np.log(6.4))


def _slaney_hz(mel: Floats) -> Floats:
    return np.asarray(np.where(mel < 15, 200 * mel / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27)))
