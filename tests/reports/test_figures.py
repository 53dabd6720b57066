from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest

from reports.figures import MAX_PANELS, Figure, draw, front
from reports.findings import Findings, examine
from results.paper import FigureSpec
from results.record import Record, Run

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]
SVG = "{http://www.w3.org/2000/svg}"
KINDS: tuple[Any, ...] = ("trade_off", "claimed_and_measured", "speedup_bars", "sweep")


@pytest.fixture
def smoke(smoke_records: list[Record], make_run: MakeRun) -> Findings:
    return examine(make_run(smoke_records), smoke_records)


@pytest.fixture
def swept(make_record: MakeRecord, make_run: MakeRun) -> Findings:
    """Two families at three strengths: `slim` pays, `prune` does not; what each loses grows with its strength."""
    records = [make_record(latency=[1e-3, 1.003e-3, 0.999e-3], hits=[1.0] * 100)]
    for family, gain in (("slim", 2.0), ("prune", 0.0)):
        for strength in (0.25, 0.5, 0.9):
            launches = [1e-3 / (1 + gain * strength) * k for k in (1.0, 1.004, 0.997)]
            hits = [1.0] * int(100 - 40 * strength) + [0.0] * int(40 * strength)
            records.append(make_record(f"{family}(ratio={strength}, epochs=4)", latency=launches, hits=hits, macs=100_000))
    return examine(make_run(records), records)


def _texts(figure: Figure) -> list[str]:
    assert figure.svg is not None, figure.sentence
    return ["".join(node.itertext()) for node in ET.fromstring(figure.svg).iter(f"{SVG}text")]


def _marks(figure: Figure, kind: str) -> int:
    """How many marks of this kind (`symbol`, `rect`, `rule`, `line`) the plots themselves have, legends and axes left out."""
    assert figure.svg is not None, figure.sentence
    groups = [g for g in ET.fromstring(figure.svg).iter(f"{SVG}g") if re.search(rf"mark-{kind} role-mark", g.get("class") or "")]
    return sum(len(list(group)) for group in groups)


def test_the_trade_off_draws_every_cell_in_the_panel_of_its_backend(smoke: Findings) -> None:
    figure = draw(FigureSpec("t", "trade_off", only={"model": ("cnn",)}), smoke)
    assert _marks(figure, "symbol") == 7
    texts = _texts(figure)
    for name in ("float32", "int8", "prune", "slim", "ort", "lite", "latency (ms), left is better", "top-1 (%)"):
        assert name in texts
    assert "Hollow" not in figure.sentence
    assert "Hollow" in draw(FigureSpec("t", "trade_off"), smoke).sentence


def test_the_axes_of_a_trade_off_are_the_suites_to_choose(smoke: Findings) -> None:
    texts = _texts(draw(FigureSpec("t", "trade_off", x="artifact_size", y="speedup", panels=()), smoke))
    assert {"artifact size (kB), left is better", "speed-up (×)"} <= {*texts}
    assert "ort" not in texts, "without panels"


def test_the_front_is_what_nothing_beats_in_both() -> None:
    cells = [{"x": x, "y": y} for x, y in ((3, 9), (1, 5), (2, 5), (2, 7), (4, 8), (5, 9), (1, 4))]
    slow = [c for c in cells if not any(o["x"] <= c["x"] and o["y"] >= c["y"] and o != c for o in cells)]
    assert front(cells) == sorted(slow, key=lambda cell: cell["x"]) == [{"x": 1, "y": 5}, {"x": 2, "y": 7}, {"x": 3, "y": 9}]


def test_claimed_and_measured_leaves_the_baselines_out_and_draws_the_line(smoke: Findings) -> None:
    figure = draw(FigureSpec("c", "claimed_and_measured", panels=()), smoke)
    assert _marks(figure, "symbol") == 9
    assert _marks(figure, "line") == 2


def test_bars_leave_from_one_to_either_side_and_say_what_chance_could_explain(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [
        make_record(latency=[1e-3, 1.01e-3, 0.99e-3]),
        make_record("fast", latency=[0.5e-3, 0.502e-3, 0.498e-3]),
        make_record("slow", latency=[2e-3, 2.01e-3, 1.99e-3]),
        make_record("even", latency=[1.02e-3, 0.98e-3, 1e-3]),
    ]
    figure = draw(FigureSpec("b", "speedup_bars"), examine(make_run(records), records))
    assert _marks(figure, "rect") == 3
    assert _texts(figure).count("n.s.") == 1
    assert figure.svg is not None
    bars = [
        (float(x), float(x) + float(width))
        for group in ET.fromstring(figure.svg).iter(f"{SVG}g")
        if "mark-rect role-mark" in (group.get("class") or "")
        for node in group
        for x, width in re.findall(r"M(-?[\d.]+),-?[\d.]+h(-?[\d.]+)", node.get("d") or "")
    ]
    slow, _, fast = sorted(bars, key=sum)
    assert slow[1] == pytest.approx(fast[0], abs=0.6), "both touch the line at 1"


def test_bars_of_several_backends_are_hatched_in_the_suites_order(smoke: Findings) -> None:
    figure = draw(FigureSpec("b", "speedup_bars"), smoke)
    assert figure.svg is not None and '<pattern id="hatch-3"' in figure.svg
    legend = [text for text in _texts(figure) if ", " in text and "better" not in text]
    assert legend == ["cnn, ort", "cnn, lite", "resnet(width=16), ort", "resnet(width=16), lite"]


def test_a_sweep_is_a_line_a_family_with_the_baseline_across(swept: Findings) -> None:
    figure = draw(FigureSpec("s", "sweep", y="speedup"), swept)
    assert (_marks(figure, "symbol"), _marks(figure, "line")) == (6, 2)
    assert {"ratio", "speed-up (×)", "slim", "prune"} <= {*_texts(figure)}
    assert "float32" not in _texts(figure)


@pytest.mark.parametrize("kind", KINDS)
def test_with_nothing_to_draw_there_is_a_sentence_and_no_figure(kind: Any, make_record: MakeRecord, make_run: MakeRun) -> None:
    for records in ([], [make_record(status="failed", reason="no compiler")], [make_record()]):
        figure = draw(FigureSpec("n", kind), examine(make_run(records), records))
        assert figure.svg is None and figure.sentence.endswith("."), kind


def test_what_nobody_could_read_is_not_drawn(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(m, model=f"m{i}", hits=[1, 0]) for i in range(MAX_PANELS + 1) for m in ("float32", "int8")]
    findings = examine(make_run(records), records)
    figure = draw(FigureSpec("n", "trade_off"), findings)
    assert figure.svg is None and figure.sentence.startswith(f"This would be {MAX_PANELS + 1} panels")
    assert draw(FigureSpec("n", "trade_off", panels=()), findings).svg is not None
    many = [make_record("float32"), *(make_record(f"m{i}", latency=[1e-4 * (i + 1)]) for i in range(160))]
    assert "161 bars" in draw(FigureSpec("n", "speedup_bars"), examine(make_run(many), many)).sentence


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_names_print_and_do_nothing(kind: Any, make_record: MakeRecord, make_run: MakeRun) -> None:
    bad = "<script>alert(1)</script>\"&'datum.x"
    other = [make_record(f"{bad}{k}(x={n})", bad, hits=[1, 0, 1]) for n in (1, 2) for k in "ab"]
    records = [make_record("float32", bad, hits=[1, 1, 1]), make_record("plain", bad, hits=[1, 0, 1]), *other]
    figure = draw(FigureSpec("n", kind, width=7.0), examine(make_run(records), records))
    assert figure.svg is not None
    assert not list(ET.fromstring(figure.svg).iter(f"{SVG}script"))
    assert any(text.startswith("<script>alert") for text in _texts(figure))


@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_byte_stable_whatever_the_records_order(kind: Any, swept: Findings) -> None:
    backwards = examine(swept.run, list(swept.matrix.records.values())[::-1])
    assert draw(FigureSpec("p", kind), swept) == draw(FigureSpec("p", kind), backwards)


def test_more_names_than_shapes_is_said(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record("float32", hits=[1, 0]), *(make_record(f"m{chr(97 + i)}", hits=[1, 0]) for i in range(9))]
    assert "more names than shapes" in draw(FigureSpec("n", "trade_off"), examine(make_run(records), records)).sentence


def test_what_was_not_measured_has_a_panel_of_its_own_and_bars_that_say_so(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [
        make_record(m, target=t, latency=[ms * k * 1e-3 for k in (1.0, 1.003, 0.998)], hits=[1.0, 0.0], origin=o)
        for t, o in (("pc", "measured"), ("board", "emulated"))
        for m, ms in (("float32", 2.0), ("x", 1.0))
    ]
    findings = examine(make_run(records), records)
    assert "emulated" in _texts(draw(FigureSpec("t", "trade_off", panels=()), findings)), "one front would join the two"
    bars = draw(FigureSpec("b", "speedup_bars"), findings)
    assert {"pc", "board (emulated)"} <= {*_texts(bars)}
    assert bars.sentence.endswith(" Not measured on a device: board (emulated).")
