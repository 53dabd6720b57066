"""Samples as bytes and back: the columns one after the other as little-endian arrays, deflated. Exact, NaN payloads included."""

from __future__ import annotations

import zlib

import numpy as np

from results.record import COLUMNS, Samples

MAX_LENGTH = 1 << 24
"""Most samples of one measurement: half an hour of a meter at 9 kHz. More is refused when written and when read."""

_STORED = {name: dtype.newbyteorder("<") for name, dtype in COLUMNS.items()}
SAMPLE_BYTES = sum(dtype.itemsize for dtype in _STORED.values())
_LEVEL = 1
"""Fast deflate: times are noise in their low bits, a higher level gains little on them."""


def pack(samples: Samples) -> bytes:
    if len(samples) > MAX_LENGTH:
        raise ValueError(f"{len(samples):,} samples in one measurement; the most that is stored is {MAX_LENGTH:,}")
    return zlib.compress(b"".join(getattr(samples, name).astype(dtype).tobytes() for name, dtype in _STORED.items()), _LEVEL)


def unpack(packed: bytes, length: int) -> Samples:
    """ValueError unless `packed` holds exactly `length` samples; never unpacks to more than that, whatever the blob says."""
    if not 0 <= length <= MAX_LENGTH:
        raise ValueError(f"{length:,} samples in one measurement; the most that is stored is {MAX_LENGTH:,}")
    inflate = zlib.decompressobj()
    try:
        content = inflate.decompress(packed, length * SAMPLE_BYTES + 1)
    except zlib.error as error:
        raise ValueError(f"samples cannot be unpacked: {error}") from error
    if len(content) != length * SAMPLE_BYTES or not inflate.eof or inflate.unused_data:
        raise ValueError(f"samples do not unpack to the {length:,} that were written")
    columns, offset = {}, 0
    for name, dtype in _STORED.items():
        columns[name] = np.frombuffer(content, dtype, length, offset).astype(COLUMNS[name])
        offset += length * dtype.itemsize
    return Samples(**columns)
