"""Speech Commands from a made-up folder of the official layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.data import Split
from harness.data import speech_commands as module
from harness.data.frontends import keywords
from harness.data.speech_commands import DATA, NOISE, RATE_HZ, SILENCE, UNKNOWN, WORDS, Clip, clips
from harness.errors import UserError

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    caches = (module.clips, module._features, module._noise, module._files, module._listing_sha256)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def folder(shelf: Path, write_wav: Callable[..., None]) -> Path:
    """Six clips of each of the ten words and of three others; the fifth of each validates, the sixth tests."""
    root = shelf / "speech_commands_v0.02"
    rng = np.random.default_rng(0)
    for word in (*WORDS, "bed", "cat", "wow"):
        for number in range(6):
            write_wav(
                root / word / f"{number}.wav", rng.integers(-999, 999, int(rng.integers(9000, 16001))).astype(np.int16), RATE_HZ
            )
    write_wav(root / NOISE / "tap.wav", (np.arange(12 * RATE_HZ) % 30000).astype(np.int16), RATE_HZ)
    (root / NOISE / "README.md").write_text("noise")
    for name, number in (("validation", 4), ("testing", 5)):
        (root / f"{name}_list.txt").write_text("".join(f"{word}/{number}.wav\n" for word in (*WORDS, "bed", "cat", "wow")))
    return root


def test_splits_follow_the_official_lists_and_hold_each_clip_once(folder: Path) -> None:
    found = clips(folder)
    for split, numbers in zip(SPLITS, ({"0", "1", "2", "3"}, {"4"}, {"5"}), strict=True):
        words = [clip for clip in found[split] if clip.label < 10]
        assert len(words) == len(set(words)) == 10 * len(numbers)
        assert {Path(clip.file).stem for clip in words} == numbers
        assert all(clip.file.startswith(f"{WORDS[clip.label]}/") for clip in words)


def test_silence_and_unknown_are_as_many_as_clips_of_a_word(folder: Path) -> None:
    for split, each in zip(SPLITS, (4, 1, 1), strict=True):
        counts = Counter(clip.label for clip in clips(folder)[split])
        assert counts[SILENCE] == counts[UNKNOWN] == each
    assert {clip.file.partition("/")[0] for clip in clips(folder)["train"] if clip.label == UNKNOWN} <= {"bed", "cat", "wow"}


def test_splits_cut_silence_from_parts_that_do_not_overlap(folder: Path) -> None:
    ends = {split: (0.0, 0.8) if split == "train" else (0.8, 0.9) if split == "validation" else (0.9, 1.0) for split in SPLITS}
    for split, (first, last) in ends.items():
        for clip in clips(folder)[split]:
            if clip.label == SILENCE:
                assert first * 12 * RATE_HZ - 1 <= clip.start <= last * 12 * RATE_HZ - RATE_HZ


def test_an_example_is_the_front_end_of_its_clip(folder: Path) -> None:
    from harness.data.sources.audio import read_wav

    batch, chosen = DATA().load("test", 8), clips(folder)["test"][:8]
    assert batch.inputs.shape == (8, *DATA().spec.input_shape)
    for features, label, clip in zip(batch.inputs, batch.labels, chosen, strict=True):
        samples = read_wav(folder / clip.file, RATE_HZ, 20 * RATE_HZ)[clip.start : clip.start + RATE_HZ]
        padded = np.zeros((1, RATE_HZ), np.int16)
        padded[0, : len(samples)] = samples
        assert np.array_equal(features, keywords.mfcc(padded, RATE_HZ)[0]) and label == clip.label
    lfbe = DATA(features="lfbe").load("test", 8).inputs
    assert lfbe.min() >= 0 and lfbe.max() <= 1 and not np.array_equal(lfbe, batch.inputs)


def test_a_folder_given_by_path_is_the_same_data(folder: Path, tmp_path: Path) -> None:
    moved = folder.rename(tmp_path / "elsewhere")
    module.clips.cache_clear()
    assert len(DATA(path=str(moved)).load("validation")) == 12
    with pytest.raises(UserError, match=r"no `speech_commands_v0\.02` in"):
        DATA().fingerprint()


def test_fingerprint_sees_a_changed_size_and_the_lists(folder: Path, write_wav: Callable[..., None]) -> None:
    seen = {DATA().fingerprint(), DATA(features="lfbe").fingerprint()}
    (folder / "testing_list.txt").write_text("up/1.wav\n")
    module._listing_sha256.cache_clear()
    seen.add(DATA().fingerprint())
    write_wav(folder / "up" / "0.wav", np.zeros(5, np.int16), RATE_HZ)
    module._listing_sha256.cache_clear()
    module._files.cache_clear()
    seen.add(DATA().fingerprint())
    assert len(seen) == 4


@pytest.mark.parametrize("gone", ["testing_list.txt", NOISE])
def test_a_folder_that_lacks_a_part_is_refused(folder: Path, gone: str) -> None:
    path = folder / gone
    path.rename(folder.parent / "gone")
    with pytest.raises(UserError, match=gone):
        DATA().load("train", 1)


def test_noise_that_is_too_short_is_refused(folder: Path, write_wav: Callable[..., None]) -> None:
    write_wav(folder / NOISE / "tap.wav", np.ones(5 * RATE_HZ, np.int16), RATE_HZ)
    with pytest.raises(UserError, match="too short to cut a second"):
        DATA().load("train", 1)


def test_a_clip_that_is_no_wav_is_named(folder: Path) -> None:
    (folder / "up" / "5.wav").write_bytes(b"junk")
    assert Clip("up/5.wav", WORDS.index("up")) in clips(folder)["test"]
    with pytest.raises(UserError, match=r"up/5\.wav: not a WAV file"):
        DATA().load("test")
