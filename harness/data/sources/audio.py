"""Recordings: 16-bit mono WAV by the standard library, FLAC by libsndfile; of the rate, the length and the sample format expected."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.errors import UserError

Samples16 = npt.NDArray[np.int16]


def read_wav(path: Path, rate_hz: int, most_samples: int) -> Samples16:
    """[samples] of a 16-bit mono WAV file of this rate; no more than `most_samples` are read."""
    try:
        with wave.open(str(path), "rb") as file:
            shape = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            content = file.readframes(most_samples)
    except (wave.Error, EOFError, OSError) as error:
        raise UserError(f"{path}: not a WAV file that can be read ({error}); get it again") from error
    if shape != (1, 2, rate_hz):
        raise UserError(
            f"{path}: {shape[0]} channels of {8 * shape[1]} bits at {shape[2]:,} Hz, not 1 of 16 bits at {rate_hz:,} Hz"
        )
    return np.frombuffer(content[: len(content) // 2 * 2], "<i2").astype(np.int16)


def read_flac(content: bytes, origin: str, rate_hz: int) -> Samples16:
    """[samples] of a 16-bit mono FLAC file of this rate, whose bytes are known."""
    import soundfile

    try:
        samples, rate = soundfile.read(io.BytesIO(content), dtype="int16")
    except soundfile.LibsndfileError as error:
        raise UserError(f"{origin}: not a FLAC file that can be read ({error}); get it again") from error
    if samples.ndim != 1 or rate != rate_hz:
        raise UserError(f"{origin}: {samples.shape[1:] or 1} channels at {rate:,} Hz, not 1 at {rate_hz:,} Hz")
    return np.asarray(samples, np.int16)


def fitted(clip: Samples16, samples: int) -> Samples16:
    """[samples] the beginning of a clip, or the clip with silence after it."""
    return np.pad(clip[:samples], (0, max(samples - len(clip), 0)))
