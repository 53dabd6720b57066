from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from harness.compiler.sparsity import BLOCKS, KERNELS, MOST_PATTERNS, zeros_of

Array = npt.NDArray[Any]
KH, KW, CHANNELS, OUTPUTS = 3, 3, 16, 48


def weights(seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((KH, KW, CHANNELS, OUTPUTS), np.float32)


def blocks(outputs: int, inputs: int) -> Array:
    """A random half of the blocks of so many outputs x inputs is kept at each place."""
    kept = np.random.default_rng(1).random((KH, KW, CHANNELS // inputs, -(-OUTPUTS // outputs))) < 0.5
    return kept.repeat(inputs, 2).repeat(outputs, 3)[..., :OUTPUTS]


def whole_kernels(outputs: int) -> Array:
    """The last block of outputs may be smaller."""
    kept = np.random.default_rng(1).random((CHANNELS, -(-OUTPUTS // outputs))) < 0.5
    return np.broadcast_to(kept.repeat(outputs, 1)[:, :OUTPUTS], (KH, KW, CHANNELS, OUTPUTS))


def channels() -> Array:
    kept = np.ones((KH, KW, CHANNELS, OUTPUTS), bool)
    kept[:, :, [2, 5, 6]] = False
    kept[..., [0, 40]] = False
    return kept


def filters() -> Array:
    kept = np.ones((KH, KW, CHANNELS, OUTPUTS), bool)
    kept[..., [0, 7, 40]] = False
    return kept


def tiles() -> Array:
    """In each tile of 8 outputs x 8 channels a random half of the rows, and of the columns."""
    rng = np.random.default_rng(6)
    rows = rng.random((KH, KW, CHANNELS // 8, OUTPUTS)) < 0.5
    columns = rng.random((KH, KW, CHANNELS, OUTPUTS // 8)) < 0.5
    return rows.repeat(8, 2) & columns.repeat(8, 3)


def kernels() -> Array:
    """Each kernel keeps 4 of 9 places in one of two ways, or is dropped."""
    ways = np.zeros((3, 9), bool)
    ways[1, [1, 3, 4, 5]] = ways[2, [0, 1, 3, 4]] = True
    chosen = np.random.default_rng(2).integers(0, 3, CHANNELS * OUTPUTS)
    return ways[chosen].T.reshape(3, 3, CHANNELS, OUTPUTS)


def groups() -> Array:
    """2 of 4 neighbouring input channels."""
    order = np.random.default_rng(3).random((KH, KW, CHANNELS // 4, 4, OUTPUTS)).argsort(3)
    return (order < 2).reshape(KH, KW, CHANNELS, OUTPUTS)


def scattered() -> Array:
    return np.random.default_rng(4).random((KH, KW, CHANNELS, OUTPUTS)) < 0.5


@pytest.mark.parametrize(
    ("mask", "pattern"),
    [
        (channels, "channel"),
        (filters, "filter"),
        *((lambda o=o, i=i: blocks(o, i), f"block-punched {o}x{i}") for o, i in BLOCKS),
        *((lambda o=o: whole_kernels(o), f"1x{o}") for o in KERNELS),
        (tiles, "block 8x8"),
        (kernels, "pattern 4:9"),
        (groups, "2:4"),
        (scattered, "unstructured"),
        (lambda: np.ones((KH, KW, CHANNELS, OUTPUTS), bool), "dense"),
    ],
)
def test_a_pattern_is_found_in_the_zeros_alone(mask: Callable[[], Array], pattern: str) -> None:
    kept = mask()
    found = zeros_of(np.where(kept, weights(), 0))
    assert found.pattern == pattern and found.density == pytest.approx(kept.mean())
    stray = np.where(kept, weights(), 0)
    stray.ravel()[np.flatnonzero(stray)[::500]] = 0  # a zero here and there means nothing
    assert zeros_of(stray).pattern == pattern or pattern in ("pattern 4:9", "2:4")


def test_int8_weights_have_patterns_too() -> None:
    assert zeros_of(np.where(blocks(16, 4), 3, 0).astype(np.int8)).pattern == "block-punched 16x4"


def test_every_way_of_4_in_9_is_no_pattern() -> None:
    """126 ways are chosen: it takes as many as are kept apart to run each without a branch."""
    order = np.random.default_rng(5).random((9, CHANNELS * OUTPUTS)).argsort(0)
    found = zeros_of(np.where((order < 4).reshape(3, 3, CHANNELS, OUTPUTS), weights(), 0))
    assert MOST_PATTERNS < 126 and found.pattern == "unstructured"


@given(arrays(np.int8, array_shapes(min_dims=4, max_dims=4, max_side=6), elements=st.integers(-1, 1)))
def test_any_weights_have_a_pattern_and_their_density(given_weights: Array) -> None:
    found = zeros_of(given_weights)
    assert found.density == pytest.approx(np.count_nonzero(given_weights) / given_weights.size)
    assert (found.pattern == "dense") == (found.density >= 0.99)


@pytest.mark.torch
@pytest.mark.parametrize(
    "label", ["1x16", "1x4", "block-punched 8x4", "block-punched 16x16", "block 4x4", "pattern 4:9", "2:4", "4:8", "filter"]
)
def test_what_a_method_pruned_is_named_as_the_method_names_it(label: str) -> None:
    import torch

    from harness.compression.numerics.regularity import parse

    weight = torch.randn(64, 32, 3, 3, generator=torch.Generator().manual_seed(0))
    pruned = weight * parse(label).mask(weight, 0.5 if ":" in label and "pattern" not in label else 0.7)
    found = zeros_of(pruned.permute(2, 3, 1, 0).numpy()).pattern
    assert parse(found) == parse(label)
