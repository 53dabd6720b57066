"""Histories from the past of a run, held against nights whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from reports.history import History, by_newest_step, histories
from results import stats
from results.changes import LONGEST
from results.query import Past
from results.record import Record, Samples, Status

PastOf = Callable[..., Past]
Synthetic = Callable[..., Any]


@pytest.fixture
def point() -> PastOf:
    """`point(night, value, key, machine)`: three launches about the value, a little apart and different each night."""

    def make(night: int, value: float | None, key: str = "cell", machine: str = "m1", *, inputs: str = "same") -> Past:
        samples = None
        if value is not None:
            rng = np.random.default_rng(night)
            launches = value * np.exp(rng.normal(0, 0.003, 3))
            samples = Samples(launches, np.arange(3, dtype=np.uint16), np.ones(3, np.bool_), np.ones(3, np.uint32), np.zeros(3))
        started = f"2026-01-{night + 1:02d}T02:00:00Z"
        status: Status = "ok" if value is not None else "failed"
        return Past(f"{night:02x}", key, machine, inputs, started, status, "s", "measured", samples)

    return make


def test_a_night_is_the_estimate_of_its_record_with_its_interval(point: PastOf) -> None:
    past = point(0, 1e-3)
    (history,) = histories([past]).values()
    assert past.samples is not None
    expected = stats.median_interval(past.samples)
    (night,) = history.series[0].nights
    assert (night.value, night.low, night.high) == expected[:3]
    assert (history.unit, history.origin, history.newest) == ("s", "measured", None)


def test_planted_changes_are_found_and_nothing_else(synthetic: Synthetic, past_of: Callable[[Record], Past]) -> None:
    truth = synthetic(1, 30)
    found = histories(past_of(record) for records in truth.records for record in records)
    changed = by_newest_step(found)
    assert set(changed) == set(truth.changes)
    for key in changed:
        (step,) = found[key].series[-1].steps
        assert step.change.at == truth.changes[key]
        assert step.night.started[:10] == f"2026-01-{truth.changes[key] + 1:02d}"
        assert step.significant and step.same_inputs
        assert step.change.ratio == pytest.approx(1.1 if step.is_worse else 0.92, abs=0.01)


def test_machines_are_never_joined(synthetic: Synthetic, past_of: Callable[[Record], Past]) -> None:
    truth = synthetic(1, 30)
    found = histories(past_of(record) for records in truth.records for record in records)
    axes = {record.cell_key: record.axes for record in truth.records[0]}
    for key, history in found.items():
        moved = truth.machine_changes.get(axes[key].target)
        assert [len(series.nights) for series in history.series] == ([30] if moved is None else [moved, 30 - moved])
        if moved is not None:
            assert not any(series.steps for series in history.series), "a faster machine is no change of level"


def test_a_night_that_failed_has_its_place_and_no_value(point: PastOf) -> None:
    (history,) = histories([point(0, 1e-3), point(1, None), point(2, 1e-3)]).values()
    (series,) = history.series
    assert [night.status for night in series.nights] == ["ok", "failed", "ok"]
    assert [night.value is None for night in series.nights] == [False, True, False]
    assert len(series.measured) == 2 and history.nights == 3


def test_a_change_behind_failed_nights_names_its_own_night(point: PastOf) -> None:
    values = [1e-3] * 8 + [None] * 4 + [1.2e-3] * 8
    (history,) = histories(point(night, value) for night, value in enumerate(values)).values()
    assert history.newest is not None
    assert history.newest.night.started == "2026-01-13T02:00:00Z"


def test_a_change_says_whether_the_inputs_changed_with_it(point: PastOf) -> None:
    def history(switch: int) -> History:
        nights = [point(n, 1e-3 if n < 10 else 1.3e-3, inputs="old" if n < switch else "new") for n in range(20)]
        return histories(nights)["cell"]

    for switch, same in ((10, False), (5, True)):
        step = history(switch).newest
        assert step is not None and step.same_inputs is same


def test_a_lone_small_change_among_many_series_is_only_possible(point: PastOf) -> None:
    """Ten nights cannot have a p below 0.005: enough for one series alone, not for one among fifty."""
    alone = [point(n, 1e-3 if n < 5 else 1.3e-3) for n in range(10)]
    step = histories(alone)["cell"].newest
    assert step is not None and step.significant
    others = [point(100 + 13 * k + n, 1e-3, f"other{k}") for k in range(50) for n in range(10)]
    crowd = histories([*alone, *others])["cell"].newest
    assert crowd is not None and not crowd.significant


def test_the_list_begins_with_what_is_significant_then_newest_then_largest(point: PastOf) -> None:
    def nights(key: str, at: int, factor: float, n: int = 24) -> list[Past]:
        return [point(k, 1e-3 * (factor if k >= at else 1.0), key) for k in range(n)]

    found = histories([*nights("old", 8, 1.5), *nights("new", 14, 1.1), *nights("newer", 14, 1.4), *nights("none", 99, 1.0)])
    assert by_newest_step(found) == ["newer", "new", "old"]


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_a_value_without_a_ratio_is_left_out(bad: float, point: PastOf) -> None:
    odd = point(3, 1e-3)
    assert odd.samples is not None
    odd.samples.value[1] = bad
    (history,) = histories([point(0, 1e-3), odd]).values()
    assert [night.value is None for night in history.series[0].nights] == [False, True]


def test_cells_that_were_never_measured_have_no_history(point: PastOf) -> None:
    never = [point(n, None)._replace(unit=None, origin=None) for n in range(3)]
    assert histories(never) == {}
    assert histories([]) == {}


def test_of_a_long_series_the_newest_nights_are_kept(point: PastOf) -> None:
    nights = [point(n % 28, 1e-3)._replace(record_id=f"{n:04x}") for n in range(LONGEST + 5)]
    (series,) = histories(nights)["cell"].series
    assert len(series.nights) == LONGEST and series.nights[0].record_id == "0005"
