from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from reports.findings import examine
from reports.sweeps import HEIGHT, LEAST, METRICS, WIDTH, Sweep, sweeps
from reports.table import by_method
from results.record import Record, Run

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]


def _sweeps(records: list[Record], make_run: MakeRun) -> tuple[Sweep, ...]:
    findings = examine(make_run(records), records)
    return sweeps(findings, by_method(findings, "cnn"))


def _points(svg: str) -> list[tuple[float, float]]:
    (path,) = re.findall(r'class="points" d="([^"]*)"', svg)
    return [(float(x), float(y)) for x, y in re.findall(r"M([-\d.]+) ([-\d.]+)h0", path)]


def _swept(make_record: MakeRecord, values: list[float], **more: Any) -> list[Record]:
    return [
        make_record(f"prune(sparsity={v})", latency=[1e-3 * (1 - v / 2) * f for f in (1, 1.001, 0.999)], **more) for v in values
    ]


def test_a_line_goes_through_every_strength_in_order(make_record: MakeRecord, make_run: MakeRun) -> None:
    values = [0.9, 0.1, 0.5]
    records = [make_record(latency=[1e-3, 1.001e-3, 0.999e-3]), *_swept(make_record, values)]
    (sweep,) = _sweeps(records, make_run)
    assert (sweep.labels, sweep.parameter, sweep.first, sweep.last) == (("ort", "prune"), "sparsity", "0.1", "0.9")
    speedup = sweep.lines[METRICS.index("speedup")]
    assert speedup is not None
    points = _points(speedup.svg)
    assert len(points) == 3
    assert [x for x, _ in points] == sorted(x for x, _ in points), "the least strength is leftmost"
    assert abs((points[1][0] - points[0][0]) - (points[2][0] - points[1][0])) < 0.2, "0.5 lies midway between 0.1 and 0.9"
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True), "faster is higher"
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert sweep.lines[METRICS.index("quality_change")] is None, "no quality was measured"


def test_lines_of_one_metric_share_their_scale(make_record: MakeRecord, make_run: MakeRun) -> None:
    alike = [1e-3 * f for f in (1, 1.001, 0.999)]
    flat = [make_record(f"slim(ratio={v})", latency=alike) for v in (0.1, 0.2, 0.3)]
    records = [make_record(latency=alike), *_swept(make_record, [0.1, 0.5, 0.9]), *flat]
    steep, level = _sweeps(records, make_run)
    heights = [y for _, y in _points(level.lines[0].svg)] if level.lines[0] else []
    assert heights and max(heights) - min(heights) < 0.5
    (baseline,) = re.findall(r'class="level" d="M0 ([\d.]+)H', level.lines[0].svg if level.lines[0] else "")
    assert abs(float(baseline) - heights[0]) < 0.5, "as fast as the baseline, so on its line"
    assert baseline in (steep.lines[0].svg if steep.lines[0] else "")


def test_a_strength_that_gave_no_number_is_left_out(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [
        make_record(),
        *_swept(make_record, [0.1, 0.5, 0.9]),
        make_record("prune(sparsity=0.7)", status="wrong", reason="SQNR"),
    ]
    (sweep,) = _sweeps(records, make_run)
    assert sweep.lines[0] is not None and len(_points(sweep.lines[0].svg)) == 3


def test_few_strengths_or_none_make_no_line(make_record: MakeRecord, make_run: MakeRun) -> None:
    assert _sweeps([make_record(), *_swept(make_record, [0.1, 0.5])], make_run) == ()
    assert LEAST == 3
    assert _sweeps([make_record(), make_record("a"), make_record("b")], make_run) == ()


def test_backends_have_lines_of_their_own_and_names_are_escaped(make_record: MakeRecord, make_run: MakeRun) -> None:
    bad = "<b>\"'"
    records = [r for b in ("ort", bad) for r in (make_record(backend=b), *_swept(make_record, [0.1, 0.5, 0.9], backend=b))]
    found = _sweeps(records, make_run)
    assert [sweep.labels[0] for sweep in found] == ["ort", bad]
    records = [make_record(), *(make_record(f"{bad}(x={v})", latency=[1e-3]) for v in (1, 2, 3))]
    (sweep,) = _sweeps(records, make_run)
    assert sweep.lines[0] is not None and "<b>" not in sweep.lines[0].svg
