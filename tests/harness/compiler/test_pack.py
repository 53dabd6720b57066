from __future__ import annotations

import numpy as np
import pytest

from harness.compiler.pack import BLOCK, by_block, bytes_by_four


@pytest.mark.parametrize(("outputs", "groups"), [(1, 1), (16, 1), (17, 1), (40, 2)])
def test_outputs_lie_in_blocks_filled_with_zeros(outputs: int, groups: int) -> None:
    weights = np.random.default_rng(0).standard_normal((3, 2, outputs))
    packed, each = by_block(weights, groups), outputs // groups
    assert packed.shape == (groups, -(-each // BLOCK), 3, 2, BLOCK)
    for group in range(groups):
        for output in range(packed.shape[1] * BLOCK):
            found = packed[group, output // BLOCK, ..., output % BLOCK]
            wanted = weights[..., group * each + output] if output < each else 0 * found
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("is_whole", [True, False])
def test_bytes_lie_four_neighbours_to_an_output(is_whole: bool) -> None:
    weights = np.random.default_rng(0).integers(-128, 128, (2, 3, 5, 18)).astype(np.int8)
    packed = bytes_by_four(weights, 1, is_whole=is_whole)
    runs, run = (1, 15) if is_whole else (3, 5)
    assert packed.shape == (1, 2, 2, runs, -(-run // 4), BLOCK, 4)
    flat = weights.reshape(2, runs, run, 18)
    for row, part, k, output in np.ndindex(2, runs, -(-run // 4) * 4, 32):
        found = packed[0, output // BLOCK, row, part, k // 4, output % BLOCK, k % 4]
        assert found == (flat[row, part, k, output] if k < run and output < 18 else 0)
