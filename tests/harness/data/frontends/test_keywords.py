"""MFCC and LFBE: against their formulas written out in loops, and against MLPerf Tiny's own features of 300 clips."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

from harness.data.frontends.keywords import lfbe, mfcc
from harness.data.frontends.mel import hann, htk_bank, spectra
from harness.data.sources.audio import read_flac

DATA = Path(os.environ.get("ASSAY_DATA", "absent"))
at_hand = pytest.mark.skipif(
    not (DATA / "kws_mlperf_tiny_features_300.npz").is_file(), reason="ASSAY_DATA names no folder with MLPerf Tiny's features"
)


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    """[3, 8000] a chord, noise, and silence."""
    time = np.arange(8000) / 8000
    chord = sum(3000 * np.sin(2 * np.pi * hz * time) for hz in (220, 440, 1760))
    noise = np.random.default_rng(0).normal(0, 4000, 8000)
    return np.stack([chord, noise, np.zeros(8000)]).astype(np.int16)


def test_mfcc_is_the_formula_written_out(clips: np.ndarray) -> None:
    found = mfcc(clips, 8000)
    assert found.shape == (3, 1, 49, 10) and found.dtype == np.float32
    for number, clip in enumerate(clips[:2]):
        spectrum = spectra((clip / clip.max())[None], hann(240), 160)[0]
        bands = np.log(spectrum @ htk_bank(40, 129, 8000, 20, 4000) + 1e-6)
        for frame in (0, 17, 48):
            for k in range(10):
                total = sum(bands[frame, m] * math.cos(math.pi / 40 * (m + 0.5) * k) for m in range(40))
                assert found[number, 0, frame, k] == pytest.approx(math.sqrt(2 / 40) * total, abs=1e-4)


def test_lfbe_is_the_formula_written_out(clips: np.ndarray) -> None:
    found = lfbe(clips, 8000)
    bank = htk_bank(10, 129, 8000, 0, 4000)
    for number, clip in enumerate(clips[:2]):
        signal = clip / clip.max()
        raised = np.array([signal[t] - (31 / 32) * (signal[t - 1] if t else 0.0) for t in range(8000)])
        for frame in (0, 17, 48):
            window = [0.54 - 0.46 * math.cos(2 * math.pi * t / 239) for t in range(240)]
            power = np.abs(np.fft.rfft(raised[160 * frame : 160 * frame + 240] * window, 256)) ** 2 / 240
            for band in range(10):
                decibel = 10 * math.log10(sum(power[i] * bank[i, band] for i in range(129)))
                assert found[number, 0, frame, band] == pytest.approx(min(max((decibel + 52) / 64, 0), 1), abs=1e-6)


def test_loudness_does_not_matter_and_silence_is_finite(clips: np.ndarray) -> None:
    assert mfcc(clips[:1] // 2 * 2, 8000) == pytest.approx(mfcc(clips[:1] // 2, 8000), abs=0.01)
    for feature in (mfcc, lfbe):
        assert np.isfinite(feature(clips, 8000)).all()
    assert (lfbe(clips, 8000)[2] == 0).all()


def test_clips_do_not_depend_on_those_beside_them(clips: np.ndarray) -> None:
    many = np.concatenate([clips] * 50)  # more than are transformed together
    assert np.array_equal(mfcc(many, 8000)[-3:], mfcc(clips, 8000))


@at_hand
def test_mfcc_equals_mlperf_tinys_within_its_quantization_step() -> None:
    reference = np.load(DATA / "kws_mlperf_tiny_features_300.npz")
    audio = read_flac((DATA / "kws_speech_commands_300.flac").read_bytes(), "clips", 16000).reshape(300, 16000)
    places = mfcc(audio, 16000)[:, 0] / reference["mfcc_scale"] + reference["mfcc_zero_point"]
    assert np.abs(places - reference["mfcc_int8"]).max() < 1.01
    truncated = np.clip(np.trunc(places), -128, 127)  # so the reference was quantized, towards 0
    assert (truncated == reference["mfcc_int8"]).mean() > 0.998


@at_hand
def test_lfbe_equals_mlperf_tinys_within_its_quantization_step() -> None:
    reference = np.load(DATA / "kws_mlperf_tiny_features_300.npz")
    audio = read_flac((DATA / "kws_speech_commands_300.flac").read_bytes(), "clips", 16000).reshape(300, 16000)
    places = np.floor(lfbe(audio, 16000).reshape(300, 490) * 255)
    difference = np.abs(places - reference["lfbe_uint8"])
    assert difference.max() <= 1 and (difference == 0).mean() > 0.999


@at_hand
def test_the_reference_network_scores_on_our_features_what_it_scores_on_theirs() -> None:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    reference = np.load(DATA / "kws_mlperf_tiny_features_300.npz")
    audio = read_flac((DATA / "kws_speech_commands_300.flac").read_bytes(), "clips", 16000).reshape(300, 16000)
    network = Interpreter(
        model_path=str(DATA / "models" / "mlperf_tiny_kws_dscnn_int8.tflite"),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    network.allocate_tensors()
    given, answer = network.get_input_details()[0], network.get_output_details()[0]
    scale, zero = given["quantization"]
    ours = np.clip(np.round(mfcc(audio, 16000)[:, 0] / scale + zero), -128, 127).astype(np.int8)

    def hits(features: np.ndarray) -> np.ndarray:
        found = []
        for clip in features:
            network.set_tensor(given["index"], clip.reshape(given["shape"]))
            network.invoke()
            found.append(int(network.get_tensor(answer["index"]).argmax()))
        return np.asarray(np.array(found) == reference["label"])

    on_ours, on_theirs = hits(ours), hits(reference["mfcc_int8"])
    assert on_theirs.mean() > 0.9
    assert abs(int(on_ours.sum()) - int(on_theirs.sum())) <= 3 and (on_ours == on_theirs).mean() > 0.98
