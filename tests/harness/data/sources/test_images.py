"""Photographs: exact bytes, exact places, every scale by its formula, and hostile files refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data.sources import images
from harness.data.sources.images import Scale, class_folders, decode, decode_all, listed, scaled
from harness.errors import UserError


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)


@pytest.mark.parametrize("scale", ["unit", "imagenet", "symmetric", "pixels"])
def test_scaled_is_the_formula_pixel_by_pixel(scale: Scale, picture: np.ndarray) -> None:
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    found = scaled(picture[None], scale)
    assert found.shape == (1, 3, 12, 20) and found.dtype == np.float32 and found.flags.c_contiguous
    for channel in range(3):
        for y in range(12):
            value = int(picture[y, 5, channel])
            expected = {
                "pixels": value,
                "unit": value / 255,
                "symmetric": value / 127.5 - 1,
                "imagenet": (value / 255 - mean[channel]) / deviation[channel],
            }[scale]
            assert found[0, channel, y, 5] == pytest.approx(expected, abs=1e-6)


def test_a_lossless_picture_is_decoded_to_its_pixels(picture: np.ndarray) -> None:
    assert np.array_equal(decode(encoded(picture), "here", (12, 20)), picture)


def test_a_grey_picture_becomes_three_equal_channels() -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert np.array_equal(decode(encoded(grey), "here", (8, 8)), np.stack([grey] * 3, axis=-1))


def test_resizing_makes_the_shorter_side_exact_and_cuts_the_middle() -> None:
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, 30:50] = 200  # the middle quarter
    found = decode(encoded(wide), "here", (16, 16), resize=20)
    assert found.shape == (16, 16, 3)
    assert found[:, 4:12].min() >= 195 and found[:, 0].max() <= 5 and found[:, -1].max() <= 5
    tall = decode(encoded(wide.transpose(1, 0, 2).copy()), "here", (16, 16), resize=20)
    assert np.array_equal(tall, found.transpose(1, 0, 2))


def test_another_size_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(UserError, match="here: 20 x 12 pixels, not 12 x 20"):
        decode(encoded(picture), "here", (20, 12))


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", encoded(np.zeros((64, 64, 3), np.uint8), "JPEG")[:200], b"\xff\xd8\xff\xe0" * 50]
)
def test_what_cannot_be_decoded_is_refused(content: bytes) -> None:
    with pytest.raises(UserError, match="here: not an image that can be decoded"):
        decode(content, "here", (64, 64))


def test_a_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    with pytest.raises(UserError, match=r"here: 40 x 40 pixels; at most 1,000"):
        decode(encoded(np.zeros((40, 40, 3), np.uint8)), "here", (40, 40))


def test_decode_all_keeps_the_order(picture: np.ndarray) -> None:
    files = [("a", lambda: encoded(picture)), ("b", lambda: encoded(255 - picture))]
    assert np.array_equal(decode_all(files, (12, 20)), np.stack([picture, 255 - picture]))


def test_folders_are_classes_in_alphabetical_order(tmp_path: Path) -> None:
    for name in ("b/2.JPEG", "b/1.jpg", "a/9.png", "a/notes.txt", ".hidden/x.jpg", "c/x.jpg/y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "d.jpg").touch()
    assert class_folders(tmp_path) == ("a", "b", "c")
    names, labels = listed(tmp_path, ("a", "b", "c", "absent"))
    assert names == ("a/9.png", "b/1.jpg", "b/2.JPEG") and labels.tolist() == [0, 1, 1]
