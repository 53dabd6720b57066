from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data import Source, Split
from harness.data import fashion_mnist as module
from harness.data.fashion_mnist import DATA, DEBIAN, FILES, IdxFile, idx_size, parse_idx, source_folder, unpack
from harness.errors import UserError

installed = pytest.mark.skipif(
    not all((DEBIAN / f"{file.name}.gz").is_file() for file in FILES), reason="Debian's dataset-fashion-mnist is not installed"
)


def idx_bytes(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


CONTENT = idx_bytes(np.arange(6, dtype=np.uint8).reshape(2, 3))
SMALL = IdxFile("small-idx", (2, 3), hashlib.sha256(CONTENT).hexdigest())


@installed
@pytest.mark.parametrize(("split", "each"), [("train", 5500), ("validation", 500), ("test", 1000)])
def test_split_holds_as_many_of_each_class(split: Split, each: int) -> None:
    batch = DATA().load(split)
    assert np.bincount(batch.labels).tolist() == [each] * 10
    assert batch.inputs.shape == (10 * each, 1, 28, 28)
    assert batch.inputs.dtype == np.float32
    assert (batch.inputs.min(), batch.inputs.max()) == (0.0, 1.0)


@installed
def test_train_and_validation_are_the_official_training_images_once_each() -> None:
    both = np.concatenate([DATA().load("train").inputs, DATA().load("validation").inputs])
    with gzip.open(DEBIAN / "train-images-idx3-ubyte.gz") as file:
        official = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)

    def digest(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> list[bytes]:
        return sorted(image.tobytes() for image in images)

    assert digest((both.reshape(-1, 784) * 255).round().astype(np.uint8)) == digest(official)


@installed
def test_fingerprint_needs_no_unpacking_and_names_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "unpack", None)
    first = DATA().fingerprint()
    monkeypatch.setattr(module, "SALT", "another")
    assert DATA().fingerprint() != first


def test_folder_of_assay_data_is_taken_before_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_cache: Path) -> None:
    monkeypatch.setattr(module, "DEBIAN", tmp_path / "absent")
    monkeypatch.setenv("ASSAY_DATA", str(tmp_path))
    for folder in (tmp_path / "fashion-mnist", own_cache / "data" / "fashion-mnist"):
        folder.mkdir(parents=True)
        for file in FILES:
            (folder / f"{file.name}.gz").write_bytes(b"not gzip")
    assert source_folder() == tmp_path / "fashion-mnist"
    with pytest.raises(UserError, match="no gzip file"):
        DATA().load("test")


def test_missing_files_are_downloaded_once_into_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_cache: Path, server: Any
) -> None:
    monkeypatch.setattr(module, "DEBIAN", tmp_path / "absent")
    monkeypatch.setattr(module, "FILES", (SMALL,))
    monkeypatch.setattr(module, "URL", server.url)
    monkeypatch.delenv("ASSAY_DATA", raising=False)
    server.files["small-idx.gz"] = gzip.compress(CONTENT, mtime=0)
    folder = source_folder()
    assert folder == own_cache / "data" / "fashion-mnist"
    assert unpack((folder / "small-idx.gz").read_bytes(), SMALL, origin="here") == CONTENT
    server.files.clear()
    assert source_folder() == folder
    assert [path.name for path in folder.iterdir()] == ["small-idx.gz"]


def test_nowhere_to_be_had_is_a_user_error_that_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Any
) -> None:
    monkeypatch.setattr(module, "DEBIAN", tmp_path / "absent")
    monkeypatch.setattr(module, "URL", server.url)
    monkeypatch.delenv("ASSAY_DATA", raising=False)
    with pytest.raises(
        UserError, match=r"404.*install Debian's dataset-fashion-mnist, or put the four \.gz files into \$ASSAY_DATA"
    ):
        DATA().load("test")


def test_planning_fetches_nothing_and_says_what_will_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_cache: Path) -> None:
    monkeypatch.setattr(module, "DEBIAN", tmp_path / "absent")
    monkeypatch.setattr(module, "URL", "http://127.0.0.1:1/never-asked")
    monkeypatch.delenv("ASSAY_DATA", raising=False)
    assert len(DATA().fingerprint()) == 64
    assert DATA().source() == Source("http://127.0.0.1:1/never-asked", module.DOWNLOAD_BYTES)
    assert not own_cache.exists()


def test_gzip_header_may_differ() -> None:
    assert unpack(gzip.compress(CONTENT, mtime=1), SMALL, origin="here") == CONTENT
    assert unpack(gzip.compress(CONTENT, 1, mtime=2), SMALL, origin="here") == CONTENT


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(CONTENT, mtime=0)[:-9],
        gzip.compress(CONTENT + b"\0", mtime=0),
        gzip.compress(bytes(10**6), mtime=0),
        gzip.compress(b"", mtime=0),
    ],
)
def test_unpack_refuses_another_size(packed: bytes) -> None:
    with pytest.raises(UserError, match="does not unpack to 18 bytes"):
        unpack(packed, SMALL, origin="here")


def test_unpack_refuses_a_wrong_checksum() -> None:
    packed = bytearray(gzip.compress(CONTENT, mtime=0))
    packed[-6] ^= 1
    with pytest.raises(UserError, match="no gzip file"):
        unpack(bytes(packed), SMALL, origin="here")


def test_parse_idx_gives_the_array() -> None:
    assert idx_size((2, 3)) == len(CONTENT)
    assert parse_idx(CONTENT, (2, 3)).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "content",
    [
        CONTENT[:-1],
        CONTENT + b"\0",
        b"\0\0\x09\x02" + CONTENT[4:],
        idx_bytes(np.zeros((3, 2), np.uint8)),
        idx_bytes(np.zeros(6, np.uint8)),
        b"",
    ],
)
def test_parse_idx_refuses_another_type_shape_or_size(content: bytes) -> None:
    with pytest.raises(UserError, match="not an IDX file"):
        parse_idx(content, (2, 3))
