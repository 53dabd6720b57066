from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from reports.figures import INK, PAPER, Point, claimed_and_measured, inline, pareto, points, speedup_bars
from reports.findings import examine
from results.record import Record, Run

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]
SVG = "{http://www.w3.org/2000/svg}"


def _smoke_points(records: list[Record], make_run: MakeRun) -> list[Point]:
    findings = examine(make_run(records), records)
    return points(findings, findings.matrix.records)


def _texts(svg: str | None) -> list[str]:
    assert svg is not None
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter(f"{SVG}text")]


def _marks(svg: str | None, kind: str) -> int:
    """How many marks of this kind (`symbol`, `rect`, `rule`, `line`) the plot itself has, legends and axes left out."""
    assert svg is not None
    groups = [g for g in ET.fromstring(svg).iter(f"{SVG}g") if re.search(rf"mark-{kind} role-mark", g.get("class") or "")]
    return sum(len(list(group)) for group in groups)


def test_points_are_the_ok_cells_with_their_intervals(smoke_records: list[Record], make_run: MakeRun) -> None:
    found = _smoke_points(smoke_records, make_run)
    assert len(found) == 14
    int8 = next(p for p in found if (p.model, p.method, p.backend) == ("cnn", "int8", "lite"))
    assert int8.latency_s == pytest.approx(0.25e-3, rel=0.01)
    assert int8.speedup == pytest.approx(4.0, rel=0.01)
    assert int8.speedup_low is not None and int8.speedup_low < 4.0
    assert (int8.claimed, int8.significant, int8.measured) == (1.0, True, True)
    assert [p.measured for p in found].count(False) == 1


def test_the_trade_off_draws_every_cell_and_names_methods_and_backends(smoke_records: list[Record], make_run: MakeRun) -> None:
    rows = _smoke_points(smoke_records, make_run)
    figure = pareto("p", "t", rows)
    assert _marks(figure.svg, "symbol") == len(rows)
    texts = _texts(figure.svg)
    for name in ("float32", "int8", "prune", "slim", "ort", "lite"):
        assert name in texts
    assert "Hollow" in figure.sentence
    assert "latency (ms), left is better" in texts


def test_claimed_and_measured_leaves_the_baselines_out_and_draws_the_line(smoke_records: list[Record], make_run: MakeRun) -> None:
    rows = _smoke_points(smoke_records, make_run)
    figure = claimed_and_measured("c", "t", rows)
    drawn = [p for p in rows if p.speedup is not None and not p.is_baseline]
    assert _marks(figure.svg, "symbol") == len(drawn) == 9
    assert _marks(figure.svg, "line") == 2


def test_bars_leave_from_one_to_either_side(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [
        make_record(),
        make_record("fast", latency=[0.5e-3, 0.502e-3, 0.498e-3]),
        make_record("slow", latency=[2e-3, 2.01e-3, 1.99e-3]),
    ]
    figure = speedup_bars("b", "t", _smoke_points(records, make_run))
    assert figure.svg is not None
    assert _marks(figure.svg, "rect") == 2
    bars = [
        [float(n) for n in re.findall(r"M(-?[\d.]+),-?[\d.]+h(-?[\d.]+)", node.get("d") or "")[0]]
        for group in ET.fromstring(figure.svg).iter(f"{SVG}g")
        if "mark-rect role-mark" in (group.get("class") or "")
        for node in group
    ]
    ends = sorted((x, x + width) for x, width in (sorted_pair for sorted_pair in bars))
    assert ends[0][1] == pytest.approx(ends[1][0], abs=0.6), "both bars touch the line at 1"


def test_with_nothing_to_draw_there_is_a_sentence_and_no_figure(make_record: MakeRecord, make_run: MakeRun) -> None:
    lonely = _smoke_points([make_record()], make_run)
    for chart in (pareto, claimed_and_measured, speedup_bars):
        for rows in ([], lonely):
            figure = chart("n", "t", rows)
            assert figure.svg is None
            assert figure.sentence.endswith(".")


def test_hostile_names_print_and_do_nothing(make_record: MakeRecord, make_run: MakeRun) -> None:
    bad = "<script>alert(1)</script>\"&'datum.x"
    records = [make_record(hits=[1, 0, 1]), make_record(bad, bad, hits=[1, 1, 1]), make_record("float32", bad, hits=[1, 0, 1])]
    rows = _smoke_points(records, make_run)
    for chart in (pareto, claimed_and_measured, speedup_bars):
        svg = chart("n", "t", rows).svg
        assert svg is not None
        assert not list(ET.fromstring(svg).iter(f"{SVG}script"))
        assert any(bad.startswith(text.rstrip("…")[:20]) for text in _texts(svg))


def test_figures_are_byte_stable(smoke_records: list[Record], make_run: MakeRun) -> None:
    rows = _smoke_points(smoke_records, make_run)
    assert pareto("p", "t", rows) == pareto("p", "t", rows)


def test_inline_takes_the_pages_colours_and_keeps_ids_apart() -> None:
    svg = f'<svg><rect fill="{PAPER}"/><clipPath id="c0"/><g clip-path="url(#c0)" stroke="{INK}"/><use xlink:href="#c0"/></svg>'
    assert inline(svg, "f1") == (
        '<svg><rect fill="none"/><clipPath id="f1-c0"/><g clip-path="url(#f1-c0)" stroke="currentColor"/><use xlink:href="#f1-c0"/></svg>'
    )


def test_more_names_than_colours_is_said(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record("float32", hits=[1, 0]), *(make_record(f"m{chr(97 + i)}", hits=[1, 0]) for i in range(9))]
    assert "more names than colours" in pareto("n", "t", _smoke_points(records, make_run)).sentence
