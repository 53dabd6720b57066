"""Power over time: nothing that stands out is lost by thinning, gaps stay gaps, windows are where they were."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np

from reports.power_plot import COLUMNS, power_plot
from results.record import Samples


def samples(watts: np.ndarray, time_s: np.ndarray, launch: np.ndarray | None = None, timed: np.ndarray | None = None) -> Samples:
    n = len(watts)
    launches = np.zeros(n, np.uint16) if launch is None else launch.astype(np.uint16)
    return Samples(watts, launches, np.ones(n, bool) if timed is None else timed, np.ones(n, np.uint32), time_s)


def path(markup: str) -> str:
    return str(re.search(r'<path d="([^"]*)"', markup)[1])  # type: ignore[index]


def test_the_extremes_survive_thinning_and_the_page_stays_small() -> None:
    watts = np.ones(200_000)
    watts[123_456] = 7.5
    drawn = str(power_plot(samples(watts, np.arange(200_000) / 1000), "p"))
    assert len(drawn) < 40_000 and "7.5" in drawn
    heights = [float(part) for part in re.findall(r"V([\d.]+)", path(drawn))]
    assert len(heights) <= COLUMNS + 1 and min(heights) == 12.0  # the top of the frame


def test_a_gap_breaks_the_line() -> None:
    time_s = np.concatenate([np.arange(0, 5, 0.01), np.arange(7, 12, 0.01)])
    assert path(str(power_plot(samples(np.ones(len(time_s)), time_s), "p"))).count("M") == 2


def test_each_window_is_shaded_where_it_was() -> None:
    time_s = np.arange(0, 10, 0.01)
    timed = ((time_s > 1) & (time_s < 4)) | ((time_s > 5) & (time_s < 9))
    root = ET.fromstring(str(power_plot(samples(np.ones(1000), time_s, (time_s > 4.5).astype(int), timed), "<p> & q")))
    boxes = root.findall("rect")
    assert len(boxes) == 2
    assert abs(float(boxes[0].get("x", 0)) - (62 + 578 * 0.1)) < 1 and abs(float(boxes[1].get("width", 0)) - 578 * 0.4) < 2
    assert root.findtext("title") == "<p> & q"


def test_one_reading_and_negative_power_are_drawn() -> None:
    assert "M62.0" in path(str(power_plot(samples(np.array([2.0]), np.array([0.0])), "p")))
    drawn = str(power_plot(samples(np.array([-1.0, 2.0, 1.0]), np.arange(3.0)), "p"))
    assert "-1" in drawn or "−1" in drawn
