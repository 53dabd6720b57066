"""A long launch over time: extremes survive thinning, the knee is where it was found, sensors bear their names."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np

from reports.power_plot import LEFT, WIDTH
from reports.time_plot import DRAWN, time_plot
from results.record import Samples


def series(*sensors: np.ndarray, seconds: float = 100.0) -> Samples:
    n = len(sensors[0])
    return Samples(
        np.concatenate(sensors),
        np.repeat(np.arange(len(sensors)), n).astype(np.uint16),
        np.ones(n * len(sensors), np.bool_),
        np.ones(n * len(sensors), np.uint32),
        np.tile(np.linspace(0, seconds, n), len(sensors)),
    )


def test_extremes_and_knee_are_drawn_where_they_are() -> None:
    latency = np.full(50_000, 1e-3)
    latency[25_000] = 4e-3
    drawn = str(time_plot(series(latency), "s", "sustained_latency", "latency", knee_s=50.0))
    assert len(drawn) < 40_000 and "4 ms" in drawn and "knee at 50" in drawn
    dashed = re.search(r'd="M([\d.]+) [\d.]+V[\d.]+" stroke-dasharray', drawn)
    assert dashed is not None and abs(float(dashed[1]) - (LEFT + WIDTH) / 2) < 1
    ET.fromstring(drawn)


def test_each_sensor_is_a_line_with_its_name_and_the_quiet_ones_are_left_out() -> None:
    sensors = [np.linspace(40, 41 + number, 20) for number in range(DRAWN + 2)]
    names = [f"<zone{number}>" for number in range(DRAWN + 2)]
    drawn = str(time_plot(series(*sensors), "°C", "temperature_trace", "heat", names))
    assert drawn.count("<path") == DRAWN and "&lt;zone9&gt;" in drawn and "zone0" not in drawn and "°C" in drawn
    ET.fromstring(drawn)


def test_a_value_that_never_moves_is_a_line_in_the_middle() -> None:
    ET.fromstring(str(time_plot(series(np.full(20, 1.5e9)), "Hz", "clock_trace", "clock", ["policy0"])))
