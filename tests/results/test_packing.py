"""Packed samples: exact, and no blob unpacks to more than was written."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from results import packing
from results.packing import SAMPLE_BYTES, pack, unpack
from results.record import COLUMNS, Samples


@given(st.integers(0, 20).flatmap(lambda n: st.fixed_dictionaries({k: hnp.arrays(d, n) for k, d in COLUMNS.items()})))
def test_every_bit_comes_back(columns: dict[str, np.ndarray]) -> None:
    samples = Samples(**columns)
    found = unpack(pack(samples), len(samples))
    for name, dtype in COLUMNS.items():
        column = getattr(found, name)
        assert column.tobytes() == columns[name].tobytes() and column.dtype == dtype
        assert column.flags.writeable


def test_layout_is_little_endian_columns_one_after_the_other() -> None:
    """Stores outlive programs: this is the format, spelled out."""
    samples = Samples(
        np.array([1.0, -2.0]),
        np.array([1, 258], np.uint16),
        np.array([True, False]),
        np.array([3, 4], np.uint32),
        np.array([0.5, 0.25]),
        np.array([-1, 7], np.int32),
    )
    content = (
        bytes.fromhex("000000000000f03f 00000000000000c0")
        + bytes.fromhex("0100 0201")
        + bytes.fromhex("01 00")
        + bytes.fromhex("03000000 04000000")
        + bytes.fromhex("000000000000e03f 000000000000d03f")
        + bytes.fromhex("ffffffff 07000000")
    )
    assert zlib.decompress(pack(samples)) == content
    assert unpack(zlib.compress(content), 2) == samples


def test_a_bomb_does_not_unpack() -> None:
    bomb = zlib.compress(bytes(64 << 20))
    assert len(bomb) < 100_000
    with pytest.raises(ValueError, match="do not unpack to the 3 that were written"):
        unpack(bomb, 3)
    with pytest.raises(ValueError, match="the most that is stored"):
        unpack(bomb, packing.MAX_LENGTH + 1)
    with pytest.raises(ValueError, match="the most that is stored"):
        unpack(bomb, -1)


@pytest.mark.parametrize(
    ("packed", "says"),
    [
        (b"not deflated", "cannot be unpacked"),
        (zlib.compress(bytes(SAMPLE_BYTES))[:-2], "do not unpack to the 1"),
        (zlib.compress(bytes(SAMPLE_BYTES - 1)), "do not unpack to the 1"),
        (zlib.compress(bytes(SAMPLE_BYTES + 1)), "do not unpack to the 1"),
        (zlib.compress(bytes(SAMPLE_BYTES)) + b"more", "do not unpack to the 1"),
        (b"", "do not unpack to the 1"),
    ],
)
def test_damage_is_named(packed: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        unpack(packed, 1)


def test_too_many_samples_are_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MAX_LENGTH", 2)
    assert unpack(pack(Samples.of([1.0, 2.0])), 2) == Samples.of([1.0, 2.0])
    with pytest.raises(ValueError, match="3 samples in one measurement; the most that is stored is 2"):
        pack(Samples.of([1.0, 2.0, 3.0]))
