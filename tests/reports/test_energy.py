"""What a meter told bears its tier, and its flags are said in words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from reports import cell
from reports.energy import FLAGS, METERED, flag_words, meter_remark, meters_sentence
from reports.findings import examine
from reports.report import draw
from reports.table import by_method
from results.record import Measurement, Record, Run, Samples

METER = {"energy": {"meter": "rapl", "tier": "T4", "tier_means": "a counter in the chip", "uncertainty": 0.05}}


def metered(values: tuple[float, ...], flags: tuple[str, ...] = (), metric: str = "energy", unit: str = "J") -> Measurement:
    samples = Samples(
        np.array(values), np.arange(len(values), dtype=np.uint16), np.ones(len(values), bool), np.ones(len(values), np.uint32), np.zeros(len(values))
    )  # fmt: skip
    return Measurement(metric, unit, "measured", "gross", samples, flags=flags)


def test_the_tier_stands_beside_every_number_of_a_meter_and_no_other(
    make_record: Callable[..., Record], make_run: Callable[..., Run]
) -> None:
    told = (metered((1e-3, 1.1e-3, 0.9e-3), ("short",)), metered((3.0, 3.1, 2.9), metric="power", unit="W"))
    record = make_record(more=told, provenance=METER)
    findings = examine(make_run([record]), [record])
    remark = "by rapl, tier T4 (a counter in the chip); its own uncertainty of 5.0% is not in the interval"
    assert findings.quantity(record, "energy").remarks == ("unstable: windows shorter than 10 s", remark)
    assert findings.quantity(record, "power").remarks == (remark,)
    assert findings.quantity(record, "latency").remarks == ()
    table = by_method(findings, "cnn")
    assert [column.metric for column in table.columns if column.metric in METERED] == ["energy", "power"], (
        "what no cell has is no column"
    )
    assert any(note.text == remark for note in table.notes)


def test_a_table_without_any_energy_has_no_columns_of_it(
    make_record: Callable[..., Record], make_run: Callable[..., Run]
) -> None:
    record = make_record(more=(Measurement("energy", "J", "measured", "not measured", None, "no meter"),))
    table = by_method(examine(make_run([record]), [record]), "cnn")
    assert "energy" not in {column.metric for column in table.columns}


def test_a_cell_whose_meter_failed_says_why_in_the_table(
    make_record: Callable[..., Record], make_run: Callable[..., Run]
) -> None:
    good = make_record(more=(metered((1e-3, 1.1e-3)),), provenance=METER)
    lost = make_record("int8", more=(Measurement("energy", "J", "measured", "not measured", None, "the cable broke"),))
    table = by_method(examine(make_run([good, lost]), [good, lost]), "cnn")
    at = [column.metric for column in table.columns].index("energy")
    assert table.rows[1].entries[at].printed.value == "–"
    assert any("no energy: the cable broke" in note.text for note in table.notes)


def test_an_estimated_energy_says_so(make_record: Callable[..., Record], make_run: Callable[..., Run]) -> None:
    measurement = Measurement("energy", "J", "estimated", "a model", metered((1e-3, 1e-3)).samples)
    record = make_record(more=(measurement,))
    assert any("estimated" in remark for remark in examine(make_run([record]), [record]).quantity(record, "energy").remarks)


def test_accuracy_against_energy_is_drawn_where_there_is_energy(
    make_record: Callable[..., Record], make_run: Callable[..., Run]
) -> None:
    right = [1.0] * 90 + [0.0] * 10
    told = [
        make_record(name, hits=right, more=(metered((mj, 1.1 * mj)),), provenance=METER)
        for name, mj in (("float32", 2e-3), ("int8", 1e-3))
    ]
    others = [make_record(name, target="board", hits=right) for name in ("float32", "int8")]
    findings = examine(make_run([*told, *others]), [*told, *others])
    drawn = {figure.name: figure for figure in draw(findings)}
    assert "energy-1" in drawn and "energy-2" not in drawn and "trade-off-2" in drawn
    assert drawn["energy-1"].title == "Accuracy and energy: target local" and drawn["energy-1"].svg is not None
    assert "energy (mJ), left is better" in drawn["energy-1"].svg and "no other beats in both" in drawn["energy-1"].sentence
    assert "Energy and power by rapl (T4)." in drawn["energy-1"].sentence and "rapl" not in drawn["trade-off-1"].sentence


def test_a_sentence_names_each_meter_once(make_record: Callable[..., Record]) -> None:
    records = [make_record(provenance=METER), make_record("int8", provenance=METER), make_record("none", provenance={})]
    assert meters_sentence(records, ("quality", "power")) == " Energy and power by rapl (T4)."
    assert meters_sentence(records, ("quality", "latency")) == meters_sentence(records[2:], ("energy",)) == ""


def test_every_flag_has_words_and_a_meaning(make_record: Callable[..., Record]) -> None:
    for flag in ("gap", "clipped", "drops", "sync", "short", "few_samples", "cross_check", "invalid_window"):
        assert flag_words(flag) in FLAGS
    assert flag_words("throttled") == "throttled"
    assert meter_remark(make_record(), "energy") is None


def test_the_traces_of_fast_meters_are_not_written_beside_the_pages(
    make_record: Callable[..., Record], make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = make_record(more=(metered((1.0,) * 1000, metric="power_trace", unit="W"),), provenance=METER)
    findings = examine(make_run([record]), [record])
    assert cell.has_downloads(findings)
    monkeypatch.setattr(cell, "MAX_DOWNLOADED", 1000)
    assert not cell.has_downloads(findings)


def test_the_page_of_a_cell_draws_its_power_and_says_the_tier(
    make_record: Callable[..., Record], make_run: Callable[..., Run]
) -> None:
    told = (metered((1e-3, 2e-3), ("gap",)), metered((1.0, 3.0, 2.0), metric="power_trace", unit="W"))
    record = make_record(more=told, provenance=METER)
    page = cell.cell_page(examine(make_run([record]), [record]), record)
    assert (
        '<svg class="power"' in page
        and "tier T4 (a counter in the chip)" in page
        and "gaps in the readings: the meter gave nothing" in page
    )
