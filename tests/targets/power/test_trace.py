"""A trace holds what was read and nothing else; its times are the device's once there is an offset."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from targets.power.trace import TIERS, Channel, Offset, Trace

WATTS = (Channel("total", "W"),)


def trace(**changes: Any) -> Trace:
    fields: dict[str, Any] = {
        "meter": "made_up", "tier": "T3", "origin": "measured", "clock": "its own", "time_s": np.array([1.0, 2.0]),
        "values": np.ones((2, 1)), "channels": WATTS, "rate_hz": 1.0, "range_w": None,
    }  # fmt: skip
    return Trace(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"values": np.ones((2, 2))}, "1 channels"),
        ({"values": np.ones((3, 1))}, "2 times"),
        ({"values": np.ones((2, 0)), "channels": ()}, "0 channels"),
        ({"values": np.array([[1.0], [np.nan]])}, "is a gap"),
        ({"time_s": np.array([1.0, np.inf])}, "is a gap"),
        ({"time_s": np.array([2.0, 1.0])}, "never fall"),
        ({"time_s": np.array([1.0, 2.0], np.float32)}, "float64"),
    ],
    ids=["channels", "rows", "none", "nan", "inf", "falls", "float32"],
)
def test_what_is_no_trace_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        trace(**changes)


def test_times_are_the_devices_own() -> None:
    assert trace().device_s.tolist() == [1.0, 2.0]
    moved = trace(offset=Offset(100.0, 0.001, 1e-3, at_s=2.0))
    assert moved.device_s == pytest.approx([101.0 - 1e-3, 102.0])


def test_tiers_are_told_best_first() -> None:
    assert list(TIERS) == sorted(TIERS) and len(TIERS) == 5
