from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.compiler.blocklist import decoded, encoded, entries_mask, entry_places, size_bytes
from harness.compiler.operators import Window

Array = npt.NDArray[Any]
SHAPES = st.tuples(st.integers(0, 4), st.integers(0, 9), st.just(4))


@given(SHAPES.flatmap(lambda shape: arrays(np.int8, shape, elements=st.sampled_from([0, 0, 0, 0, 5, -128]))))
def test_a_list_decodes_to_what_it_was(packed: Array) -> None:
    found = encoded(packed)
    np.testing.assert_array_equal(decoded(found, packed.shape[1]), packed)
    assert (found.values != 0).any(1).all()  # it holds no entry of zeros
    assert (found.starts[0], found.starts[-1]) == (0, len(found.values)) and (np.diff(found.starts) >= 0).all()


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_the_calculator_gives_the_bytes_that_are_written(dtype: str) -> None:
    packed = np.random.default_rng(0).integers(0, 2, (5, 40, 16)).astype(dtype) * (np.arange(40) % 3 == 0)[:, None]
    found = encoded(packed.astype(dtype))
    written = b"".join(array.tobytes() for array in found)
    assert len(written) == found.size_bytes == size_bytes(5, 5 * 14, 16 * np.dtype(dtype).itemsize)


@pytest.mark.parametrize(("window", "channels", "step"), [(Window((3, 2)), 5, 1), (Window((2, 3), dilations=(2, 3)), 8, 4)])
def test_places_are_where_a_window_looks(window: Window, channels: int, step: int) -> None:
    width = 11
    image = np.arange(9 * width * channels).reshape(9, width, channels)
    (kh, kw), (dh, dw) = window.kernel, window.dilations
    wanted = [image[i * dh, j * dw, c] for i in range(kh) for j in range(kw) for c in range(0, channels, step)]
    np.testing.assert_array_equal(entry_places(window, width, channels, step), wanted)


def test_an_entry_of_four_is_kept_for_any_of_them() -> None:
    weights = np.zeros((1, 2, 8, 3), np.int8)
    weights[0, 1, 6, 2] = 1
    np.testing.assert_array_equal(np.argwhere(entries_mask(weights, 4).reshape(-1, weights.shape[-1])), [[3, 2]])
    np.testing.assert_array_equal(np.argwhere(entries_mask(weights, 1).reshape(-1, weights.shape[-1])), [[14, 2]])
