from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from harness.data.sources.audio import fitted, read_flac, read_wav
from harness.errors import UserError

SAMPLES = np.array([0, 1, -1, 32767, -32768, 1234], np.int16)


def wav(
    path: Path, channels: int = 1, width: int = 2, rate: int = 8000, content: bytes = SAMPLES.astype("<i2").tobytes()
) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(content)
    return path


def test_wav_gives_its_samples_and_no_more_than_asked_for(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav")
    assert np.array_equal(read_wav(path, 8000, 100), SAMPLES)
    assert np.array_equal(read_wav(path, 8000, 2), SAMPLES[:2])


@pytest.mark.parametrize("other", [{"channels": 2}, {"width": 1}, {"rate": 16000}])
def test_another_format_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="not 1 of 16 bits at 8,000 Hz"):
        read_wav(wav(tmp_path / "a.wav", **other), 8000, 100)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\0\0\0\0WAVEfmt ", b"junk" * 30])
def test_what_is_no_wav_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(UserError, match="not a WAV file that can be read"):
        read_wav(tmp_path / "a.wav", 8000, 100)
    with pytest.raises(UserError, match="not a WAV file that can be read"):
        read_wav(tmp_path / "absent.wav", 8000, 100)


def flac(samples: np.ndarray, rate: int = 8000) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format="FLAC", subtype="PCM_16")
    return content.getvalue()


def test_flac_gives_its_samples() -> None:
    assert np.array_equal(read_flac(flac(SAMPLES), "here", 8000), SAMPLES)


def test_flac_of_another_format_or_none_is_refused() -> None:
    with pytest.raises(UserError, match="here: 1 channels at 16,000 Hz, not 1 at 8,000"):
        read_flac(flac(SAMPLES, 16000), "here", 8000)
    with pytest.raises(UserError, match="not 1 at 8,000"):
        read_flac(flac(np.stack([SAMPLES, SAMPLES], axis=1)), "here", 8000)
    with pytest.raises(UserError, match="not a FLAC file that can be read"):
        read_flac(b"junk", "here", 8000)


def test_fitted_cuts_or_fills_with_silence() -> None:
    assert fitted(SAMPLES, 3).tolist() == [0, 1, -1]
    assert fitted(SAMPLES, 8).tolist() == [*SAMPLES.tolist(), 0, 0]
