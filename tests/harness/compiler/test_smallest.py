from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.compiler.formats import places_first
from harness.compiler.smallest import smallest, ways
from harness.compiler.sparsity import zeros_of

Array = npt.NDArray[Any]


def written_bits(packed: Any) -> int:
    return 8 * sum(len(array.tobytes()) for array in packed.indices)


def patterned(filters: int, channels: int, shared: int) -> Array:
    """Half of the kernels are dropped, the others keep 4 of 9 places in one of eight ways; `shared` neighbouring filters alike."""
    rng = np.random.default_rng(0)
    ways_of = np.zeros((8, 9), np.float32)
    for way in ways_of:
        way[[4, *rng.choice([0, 1, 2, 3, 5, 6, 7, 8], 3, replace=False)]] = 1
    chosen = rng.integers(0, 8, (filters // shared, channels)).repeat(shared, 0)
    kept = (rng.random((filters // shared, channels)) < 0.5).repeat(shared, 0)
    return (ways_of[chosen] * kept[..., None]).swapaxes(1, 2)


def blocks(outputs: int, inputs: int, seed: int = 1) -> Array:
    kept = np.random.default_rng(seed).random((64 // outputs, 9, 32 // inputs)) < 0.25
    return np.ones((64, 9, 32), np.float32) * kept.repeat(outputs, 0).repeat(inputs, 2)


def weights_2_of_4() -> Array:
    order = np.random.default_rng(3).random((64, 9, 8, 4)).argsort(3)
    return np.ones((64, 9, 32), np.float32) * (order < 2).reshape(64, 9, 32)


def scattered(density: float) -> Array:
    return (np.random.default_rng(4).random((64, 9, 32)) < density).astype(np.float32)


@pytest.mark.parametrize(
    ("made", "names"),
    [
        (lambda: np.ones((64, 9, 32), np.float32), {"dense"}),
        (lambda: blocks(8, 4), {"block-punched 8x4"}),
        (lambda: blocks(16, 4), {"block-punched 16x4"}),
        (lambda: patterned(64, 32, 1), {"FKW"}),
        (weights_2_of_4, {"2:4"}),
        (lambda: scattered(0.5), {"bitmap"}),
        (lambda: scattered(0.01), {"CSR"}),
    ],
)
def test_the_smallest_format_is_the_one_made_for_the_pattern(made: Callable[[], Array], names: set[str]) -> None:
    as_file = made().swapaxes(1, 2).reshape(64, -1, 3, 3)
    np.testing.assert_array_equal(places_first(as_file), made())
    for bits in (8, 32):
        found = smallest(as_file, bits)
        assert found.format in names
        slow = min(
            way.encode(made()).values.size * bits + written_bits(way.encode(made()))
            for way in ways(zeros_of(made().transpose(1, 2, 0)[None]).pattern)
        )
        assert found.bits == slow


def test_a_linear_layer_and_an_empty_one() -> None:
    assert smallest(np.eye(8, 16, dtype=np.float32), 4) == ("1:16", 8 * 4 + 8 * 4)
    assert smallest(np.zeros((4, 2, 3, 3), np.float32), 32).bits <= 4 * 2 * 9
