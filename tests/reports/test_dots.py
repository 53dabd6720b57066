from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from reports.dots import BINS, DOTS_END, HEIGHT, LEFT, MANY, MAX_DOTS, SHAPES, WIDTH, is_thinned, sample_dots
from reports.rounding import Scale
from results.record import Samples

MS = Scale("ms", 1e-3)


def _samples(values: list[float], launch: list[int], timed: list[bool]) -> Samples:
    n = len(values)
    return Samples(np.array(values), np.array(launch, np.uint16), np.array(timed), np.ones(n, np.uint32), np.full(n, np.nan))


def _dots(svg: str, kind: str) -> list[tuple[float, float]]:
    paths = re.findall(rf'class="{kind}[^"]*" d="([^"]*)"', svg)
    return [(float(x), float(y)) for path in paths for x, y in re.findall(r"M([\d.]+) ([\d.]+)h0", path)]


def test_a_dot_a_sample_in_the_order_taken_and_within_the_frame() -> None:
    samples = _samples([3e-3, 1e-3, 2e-3, 3e-3, 1e-3, 1e-3], [0, 0, 0, 1, 1, 1], [False, True, True, False, True, True])
    svg = str(sample_dots(samples, MS, 1.2e-3, "t"))
    dots = _dots(svg, "dot ")
    assert len(dots) == 6
    assert len(_dots(svg, "hole")) == 2
    assert all(LEFT <= x <= DOTS_END and 0 < y < HEIGHT for x, y in dots)
    heights = dict(sorted(dots))
    assert [round(y) for y in heights.values()] == [
        10,
        128,
        10,
        10,
        128,
        128,
    ]  # timed: 1 to 2 ms; warm-up above stands at the edge
    assert "2 beyond the frame, at its edge: 3<" in svg
    assert ET.fromstring(svg).findtext("title") == "t"


def test_launches_take_turns_with_the_colours_and_are_named() -> None:
    svg = str(sample_dots(_samples([1e-3, 2e-3] * 7, sorted([*range(7)] * 2), [True] * 14), MS, 1.5e-3, "t"))
    assert [re.findall(r"dot (l\d)", svg)[k] for k in (0, 5, 6)] == ["l0", "l5", "l0"]
    assert "launch 1" in svg and "launch 7" in svg
    crowd = str(sample_dots(_samples([1e-3, 2e-3] * 9, sorted([*range(9)] * 2), [True] * 18), MS, 1.5e-3, "t"))
    assert "launch 1" not in crowd


def test_the_scale_names_least_greatest_and_estimate() -> None:
    svg = str(sample_dots(_samples([1e-3, 2e-3, 3e-3], [0] * 3, [True] * 3), MS, 2.1e-3, "t"))
    assert re.findall(r'text-anchor="end">([^<]*)<', svg) == ["1", "3", "2.10"]
    assert 'class="middle"' in svg


def test_equal_samples_are_drawn_on_one_line() -> None:
    dots = _dots(str(sample_dots(_samples([1e-3] * 4, [0] * 4, [True] * 4), MS, 1e-3, "t")), "dot ")
    assert len(dots) == 4 and len({y for _, y in dots}) == 1


def test_one_far_sample_does_not_press_the_others_into_a_line() -> None:
    values = [1e-3 + 1e-6 * (k % 10) for k in range(50)]
    values[7] = 1.0
    svg = str(sample_dots(_samples(values, [0] * 50, [True] * 50), MS, 1.0045e-3, "t"))
    heights = sorted({round(y) for _, y in _dots(svg, "dot ")})
    assert len(heights) == 11 and heights[0] == 10
    assert "1 beyond the frame, at its edge: 1000<" in svg


def test_too_many_samples_are_thinned_but_keep_their_extremes() -> None:
    values = [1e-3] * (4 * MAX_DOTS)
    values[1], values[-2] = 9e-3, 1e-6
    values[2::3] = [1.1e-3] * len(values[2::3])
    samples = _samples(values, [0] * len(values), [True] * len(values))
    dots = _dots(str(sample_dots(samples, MS, 1e-3, "t")), "dot ")
    assert is_thinned(samples)
    assert len(dots) <= MAX_DOTS + 2
    heights = {y for _, y in dots}
    assert min(heights) == 10.0 and max(heights) == 128.0


def test_the_title_is_escaped() -> None:
    svg = str(sample_dots(_samples([1e-3, 2e-3], [0, 0], [True, True]), MS, 1e-3, "<b>&"))
    assert "<title>&lt;b&gt;&amp;</title>" in svg


def _shapes(svg: str) -> list[list[float]]:
    """How far right of its own edge each distribution reaches, bin by bin from the greatest value down."""
    found = []
    for left, outline in re.findall(r'class="shape l\d" d="M([\d.]+) \d+((?:H[\d.]+v[\d.]+)+)', svg):
        found.append([float(x) - float(left) for x in re.findall(r"H([\d.]+)v", outline)])
    return found


def test_each_launch_has_the_distribution_of_its_timed_samples() -> None:
    low = [1e-3] * 3 + [2e-3]
    high = [1e-3] + [2e-3] * 3
    samples = _samples([9e-3, *low, 9e-3, *high], [0] * 5 + [1] * 5, [False, *[True] * 4] * 2)
    shapes = _shapes(str(sample_dots(samples, MS, 1.5e-3, "t")))
    assert [len(shape) for shape in shapes] == [BINS, BINS]
    assert shapes[0][-1] == pytest.approx(3 * shapes[0][0], abs=0.3), "three at the bottom, one at the top"
    assert shapes[1][0] == pytest.approx(3 * shapes[1][-1], abs=0.3)
    assert shapes[0][1:-1] == [0.0] * (BINS - 2)
    assert SHAPES + 2 * max(max(shape) for shape in shapes) < WIDTH


def test_many_launches_share_one_distribution_and_a_warm_launch_has_none() -> None:
    crowd = _samples([1e-3, 2e-3] * (MANY + 1), sorted([*range(MANY + 1)] * 2), [True] * (2 * MANY + 2))
    svg = str(sample_dots(crowd, MS, 1.5e-3, "t"))
    assert len(_shapes(svg)) == 1 and "all samples" in svg
    warm = _samples([1e-3, 2e-3, 1e-3, 2e-3], [0, 0, 1, 1], [True, True, False, False])
    assert len(_shapes(str(sample_dots(warm, MS, 1.5e-3, "t")))) == 1


def test_equal_samples_have_no_distribution() -> None:
    assert _shapes(str(sample_dots(_samples([1e-3] * 4, [0] * 4, [True] * 4), MS, 1e-3, "t"))) == []


def test_a_plot_is_small_however_many_samples_there_are() -> None:
    rng = np.random.default_rng(0)
    n = 100_000
    samples = _samples(rng.lognormal(-7, 0.1, n).tolist(), sorted(rng.integers(0, 5, n).tolist()), [True] * n)
    assert len(sample_dots(samples, MS, 1e-3, "t")) < 30_000
