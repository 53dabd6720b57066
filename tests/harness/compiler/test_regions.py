from __future__ import annotations

import math

import numpy as np
import pytest

from harness.compiler.interpret import computed
from harness.compiler.ir import Node, Type
from harness.compiler.operators import Window
from harness.compiler.regions import FromRegions, RegionConv, Regions, ToRegions, reaches, regions_of

SIZES = [(1, 1), (2, 2), (7, 7), (5, 13), (14, 14), (28, 28), (56, 56), (3, 40)]


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("size", SIZES)
def test_every_place_lies_in_one_region_amid_its_neighbours(size: tuple[int, int], lanes: int) -> None:
    regions = regions_of(*size, lanes)
    image = np.arange(math.prod(size)).reshape(size) + 1
    around = np.pad(image, ((1, math.prod(regions.size) + 1), (1, math.prod(regions.size) + 1)))
    numbers = regions.places()
    down, across = regions.grid
    for lane in range(lanes):
        y, x = lane // across * regions.size[0], lane % across * regions.size[1]
        wanted = around[y : y + regions.size[0] + 2, x : x + regions.size[1] + 2] if lane < down * across else np.zeros(1)
        np.testing.assert_array_equal(numbers[..., lane] + 1, np.broadcast_to(wanted, regions.vectors))
    assert sorted(regions.elements_of_places()) == sorted(set(regions.elements_of_places()))
    np.testing.assert_array_equal(numbers.ravel()[regions.elements_of_places()], np.arange(math.prod(size)))


def test_an_image_is_cut_into_as_few_vectors_as_can_be() -> None:
    assert regions_of(56, 56, 16) == Regions(56, 56, (4, 4), (14, 14), 16)
    assert regions_of(14, 14, 16) == Regions(14, 14, (2, 7), (7, 2), 16)
    for height, width in SIZES:
        least = min(math.ceil(height / d) * math.ceil(width / (16 // d)) for d in range(1, 17))
        assert math.prod(regions_of(height, width, 16).size) == least


@pytest.mark.parametrize("size", SIZES)
def test_there_and_back_again_is_where_one_was(size: tuple[int, int]) -> None:
    regions = regions_of(*size, 8)
    x = np.random.default_rng(0).standard_normal((2, *size, 3)).astype(np.float32)
    there = computed(Node(ToRegions(regions), ("x",), "t", ""), [x])
    assert there.shape == regions.type(2, 3).shape
    np.testing.assert_array_equal(computed(Node(FromRegions(regions), ("t",), "y", ""), [there]), x)


@pytest.mark.parametrize(
    ("window", "enough"),
    [
        (Window((1, 1)), True),
        (Window((3, 3), pads=(1, 1, 1, 1)), True),
        (Window((3, 3), (2, 2), (1, 1, 1, 1)), True),
        (Window((2, 2)), True),
        (Window((3, 3)), False),  # right of the last place lie two that it sees
        (Window((5, 5), pads=(2, 2, 2, 2)), False),
        (Window((3, 3), pads=(1, 1, 1, 1), dilations=(2, 1)), False),
        (Window((1, 1), (2, 1)), False),  # regions grow alike both ways
    ],
)
def test_windows_that_see_beyond_the_border_are_told(window: Window, enough: bool) -> None:
    assert reaches(window) is enough


def test_what_does_not_fit_is_no_graph() -> None:
    regions = regions_of(8, 8, 4)
    x, weights, bias = regions.type(1, 3), Type("float32", (3, 3, 3, 5)), Type("float32", (5,))
    same = Window((3, 3), pads=(1, 1, 1, 1))
    assert RegionConv(same, regions, regions).infer([x, weights, bias, regions.type(1, 5)]) == regions.type(1, 5)
    with pytest.raises(ValueError, match="beyond the borders"):
        RegionConv(Window((3, 3), pads=(2, 2, 0, 0)), regions, regions).infer([x, weights, bias])
    with pytest.raises(ValueError, match="does not lie in"):
        FromRegions(regions).infer([Type("float32", (1, 3, 6, 6, 8))])
    with pytest.raises(ValueError, match="cut from"):
        ToRegions(regions).infer([Type("float32", (1, 8, 9, 3))])
