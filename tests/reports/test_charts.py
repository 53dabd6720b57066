"""The interactive charts: their table against the findings, and what a reader can do with them in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reports.charts import chart_data, vega
from reports.findings import Findings, examine
from reports.matrix import place_of
from reports.report import write_report
from results.query import Past
from results.record import Record, Run

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]
Synthetic = Callable[..., Any]
OpenPage = Callable[..., "Page"]


def _table(findings: Findings) -> dict[str, Any]:
    data = chart_data(findings)
    assert data is not None
    found: dict[str, Any] = json.loads(data)
    return found


def _metric(table: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [metric for metric in table["metrics"] if metric["name"] == name]
    return dict(found)


def test_every_number_of_every_ok_cell_is_in_the_table(smoke_records: list[Record], make_run: MakeRun) -> None:
    findings = examine(make_run(smoke_records), smoke_records)
    table = _table(findings)
    ok = {record.id: record for record in smoke_records if record.status == "ok"}
    assert set(table["id"]) == set(ok)
    factor = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "%": 0.01, "×": 1.0, "B": 1.0, "kB": 1e3, "": 1.0, "k": 1e3, "M": 1e6}
    for name in ("latency", "quality", "speedup", "artifact_size", "claimed_speedup", "nonzero_macs"):
        metric = _metric(table, name)
        for i, record_id in enumerate(table["id"]):
            quantity = findings.quantity(ok[record_id], name)
            for end, value in (("value", quantity.value), ("low", quantity.low), ("high", quantity.high)):
                shown = metric.get(end, [None] * len(table["id"]))[i]
                assert (shown is None) == (value is None), (name, end)
                assert value is None or shown * factor[metric["unit"]] == pytest.approx(value, rel=1e-4)
    for i, record_id in enumerate(table["id"]):
        place = place_of(ok[record_id].axes)
        assert [axis["labels"][axis["of"][i]] for axis in table["axes"]] == list(place)
        assert bool(table["baseline"][i]) == (place.method == "float32")
        assert bool(table["measured"][i]) == (findings.quantity(ok[record_id], "latency").origin == "measured")


def test_metrics_that_no_cell_has_are_left_out(smoke_records: list[Record], make_run: MakeRun) -> None:
    names = [metric["name"] for metric in _table(examine(make_run(smoke_records), smoke_records))["metrics"]]
    assert "energy" not in names and "latency" in names


def test_layers_are_left_to_their_networks(make_record: MakeRecord, make_run: MakeRun) -> None:
    records = [make_record(), make_record(layer="conv1")]
    assert _table(examine(make_run(records), records))["id"] == [records[0].id]
    alone = records[1:]
    assert _table(examine(make_run(alone), alone))["id"] == [records[1].id]


def test_a_run_without_numbers_has_no_charts(make_record: MakeRecord, make_run: MakeRun) -> None:
    failed = [make_record(status="failed", reason="why")]
    assert chart_data(examine(make_run(failed), failed)) is None


def test_a_hostile_name_cannot_end_the_script_element(make_record: MakeRecord, make_run: MakeRun) -> None:
    hostile = '</script><script>alert(1)</script>&"\u2028'
    records = [make_record(hostile), make_record("float32")]
    findings = examine(make_run(records), records)
    data = chart_data(findings)
    assert data is not None and "<" not in data and "&" not in data and "\u2028" not in data
    (methods,) = [axis["labels"] for axis in json.loads(data)["axes"] if axis["name"] == "method"]
    assert place_of(records[0].axes).method in methods


def test_ten_thousand_cells_are_a_small_table(synthetic: Synthetic) -> None:
    truth = synthetic(1, 1)
    data = chart_data(examine(truth.runs[0], truth.records[0]))
    assert data is not None and len(data) / len(truth.records[0]) < 400, "4 MB for 10,000 cells"


def test_the_library_comes_with_us_and_asks_nobody() -> None:
    assert "vegaEmbed" in vega() and len(vega()) < 1_200_000
    assert not re.search(r"import\s*\(?['\"]https?:", vega())


# ---- in the browser


@pytest.fixture(scope="module")
def nightly(
    synthetic: Synthetic, past_of: Callable[[Record], Past], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Findings]:
    """The last of 12 nights on three devices, in short: every other method."""
    truth = synthetic(1, 12)
    devices = ("laptop", "pi4", "fpga")
    nights = [[r for r in records if r.axes.target in devices and r.axes.layer is None] for records in truth.records]
    methods = sorted({record.axes.method for record in nights[-1]})
    kept = {*methods[::2], "float32", "magnitude_prune(sparsity=0.5)", "magnitude_prune(sparsity=0.9)", "int8_ptq"}
    nights = [[record for record in night if record.axes.method in kept] for night in nights]
    past = [past_of(record) for night in nights for record in night]
    index = write_report(truth.runs[-1], nights[-1], tmp_path_factory.mktemp("charts") / "out", past)
    return index, examine(truth.runs[-1], nights[-1])


def _drawn(page: Page, name: str) -> Locator:
    figure = page.locator(f"[data-chart={name}]")
    figure.scroll_into_view_if_needed()
    page.locator(f"[data-chart={name}][data-drawn]").wait_for()
    return figure


def _cells(findings: Findings, x: str, y: str, target: str = "laptop", method: str = "") -> dict[str, tuple[float, float]]:
    """Record id -> both numbers, of the cells that the trade-off shows."""
    found = {}
    for record in findings.matrix.records.values():
        if record.status != "ok" or record.axes.target != target or method not in record.axes.method:
            continue
        a, b = findings.quantity(record, x).value, findings.quantity(record, y).value
        if a is not None and b is not None:
            found[record.id] = a, b
    return found


def _slow_front(cells: dict[str, tuple[float, float]], x_sign: int, y_sign: int) -> set[str]:
    """Cells that no other beats in both: all pairs. `sign`: 1 where less is better."""

    def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
        no_worse = x_sign * a[0] <= x_sign * b[0] and y_sign * a[1] <= y_sign * b[1]
        return no_worse and a != b

    return {one for one, at in cells.items() if not any(beats(other, at) for other in cells.values())}


def _front(figure: Locator) -> tuple[int, set[str]]:
    """What the line under the chart says: how many cells are on the front, and where its links lead."""
    words = re.search(r"(\d+) on the front", figure.locator(".said").inner_text())
    assert words is not None
    links = [link.get_attribute("href") or "" for link in figure.locator(".said a").all()]
    return int(words[1]), {link.removeprefix("cells/").removesuffix(".html") for link in links}


@pytest.mark.peers
def test_the_trade_off_shows_the_first_device_and_its_front(nightly: tuple[Path, Findings], browser: OpenPage) -> None:
    index, findings = nightly
    figure = _drawn(browser(index), "tradeoff")
    cells = _cells(findings, "latency", "quality")
    assert figure.get_attribute("data-drawn") == str(len(cells))
    count, links = _front(figure)
    truth = _slow_front(cells, 1, -1)
    assert count == len(truth) and links <= truth and len(links) == min(count, 8)


@pytest.mark.peers
def test_both_axes_can_be_chosen_with_the_keyboard_and_the_front_follows(
    nightly: tuple[Path, Findings], browser: OpenPage
) -> None:
    index, findings = nightly
    page = browser(index)
    figure = _drawn(page, "tradeoff")
    across = figure.get_by_label("across", exact=True)
    across.focus()
    page.keyboard.type("artifact")
    page.wait_for_function("document.querySelector('[data-chart=tradeoff] .plot').textContent.includes('artifact size')")
    cells = _cells(findings, "artifact_size", "quality")
    count, links = _front(figure)
    assert count == len(_slow_front(cells, 1, -1)) and links <= _slow_front(cells, 1, -1)
    figure.get_by_label("up", exact=True).select_option("speedup")
    page.wait_for_function(
        "document.querySelector('[data-chart=tradeoff] .plot').textContent.includes('speed-up (×), up is better')"
    )
    assert _front(figure)[0] == len(_slow_front(_cells(findings, "artifact_size", "speedup"), 1, -1))


@pytest.mark.peers
def test_logarithmic_axes_are_a_choice(nightly: tuple[Path, Findings], browser: OpenPage) -> None:
    page = browser(nightly[0])
    figure = _drawn(page, "tradeoff")

    def ticks() -> list[str]:
        return figure.locator(".mark-text.role-axis-label").first.locator("text").all_text_contents()

    before = ticks()
    figure.get_by_label("logarithmic across").check()
    page.wait_for_function(
        "before => document.querySelector('[data-chart=tradeoff] .mark-text.role-axis-label').textContent !== before",
        arg="".join(before),
    )
    assert ticks() != before


@pytest.mark.peers
def test_charts_follow_the_filters_of_the_page(nightly: tuple[Path, Findings], browser: OpenPage) -> None:
    index, findings = nightly
    page = browser(index)
    figure = _drawn(page, "tradeoff")
    page.evaluate("assay.choose({ method: 'magnitude', target: 'pi4' })")
    cells = _cells(findings, "latency", "quality", "pi4", "magnitude")
    page.locator(f"[data-chart=tradeoff][data-drawn='{len(cells)}']").wait_for()
    assert page.locator(".narrow").get_by_label("device", exact=True).input_value() == "pi4"
    assert _front(figure)[0] == len(_slow_front(cells, 1, -1))
    page.evaluate("assay.choose({ method: 'no such method' })")
    figure.get_by_text("With these filters no cell has both numbers.").wait_for()
    page.evaluate("assay.choose({ method: '', target: '' })")
    page.locator(".narrow").get_by_label("device", exact=True).select_option(label="all 3")
    everything = sum(len(_cells(findings, "latency", "quality", target)) for target in ("laptop", "pi4", "fpga"))
    page.locator(f"[data-chart=tradeoff][data-drawn='{everything}']").wait_for()


@pytest.mark.peers
def test_pointing_at_a_mark_tells_its_numbers_and_clicking_opens_its_page(
    nightly: tuple[Path, Findings], browser: OpenPage
) -> None:
    index, findings = nightly
    page = browser(index)
    figure = _drawn(page, "tradeoff")
    mark = figure.locator(".mark-symbol.role-mark path").last
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = page.locator(".tip")
    tip.wait_for()
    method, told = tip.locator("b").inner_text(), tip.inner_text()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_url("**/cells/*.html")
    (record,) = [r for r in findings.matrix.records.values() if page.url.endswith(f"/{r.id}.html")]
    assert record.axes.method == method
    latency = findings.quantity(record, "latency").value
    shown = re.search(r"latency\s+([\d.]+) (ms|µs)", told)
    assert shown is not None and latency is not None
    assert float(shown[1]) * {"ms": 1e-3, "µs": 1e-6}[shown[2]] == pytest.approx(latency, rel=1e-3)


@pytest.mark.peers
def test_every_mark_can_be_reached_with_the_keyboard(nightly: tuple[Path, Findings], browser: OpenPage) -> None:
    index, findings = nightly
    page = browser(index)
    figure = _drawn(page, "tradeoff")
    figure.locator(".plot").focus()
    page.keyboard.press("ArrowRight")
    cells = _cells(findings, "latency", "quality")
    ordered = sorted(cells, key=lambda key: cells[key])
    records = {record.id: record for record in findings.matrix.records.values()}
    assert page.locator(".tip b").inner_text() == records[ordered[0]].axes.method
    page.keyboard.press("End")
    assert page.locator(".tip b").inner_text() == records[ordered[-1]].axes.method
    page.keyboard.press("ArrowRight")
    assert page.locator(".tip b").inner_text() == records[ordered[-1]].axes.method, "the last one stays"
    page.keyboard.press("Escape")
    assert page.locator(".tip").is_hidden()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/cells/{ordered[0]}.html")


@pytest.mark.peers
def test_what_was_not_measured_is_hollow(nightly: tuple[Path, Findings], browser: OpenPage) -> None:
    page = browser(nightly[0])
    figure = _drawn(page, "tradeoff")
    marks = figure.locator(".mark-symbol.role-mark path[fill-opacity='0.9']")
    assert marks.count() > 0
    page.locator(".narrow").get_by_label("device", exact=True).select_option("fpga")
    figure.locator(".mark-symbol.role-mark path[fill-opacity='0']").first.wait_for()
    assert marks.count() == 0


@pytest.mark.peers
def test_claims_are_held_against_what_was_measured(nightly: tuple[Path, Findings], browser: OpenPage) -> None:
    index, findings = nightly
    page = browser(index)
    figure = _drawn(page, "claimed")

    def fulfilled(claim: str) -> str:
        held = [
            (claimed, speedup)
            for r in findings.matrix.records.values()
            if r.status == "ok" and r.axes.target == "laptop" and not findings.is_baseline(r)
            for claimed, speedup in [(findings.quantity(r, claim), findings.quantity(r, "speedup"))]
            if claimed.value is not None and speedup.value is not None
        ]
        true = sum((s.value if s.low is None else s.low) >= c.value for c, s in held)  # type: ignore[operator]
        return f"{len(held)} cells; {true} on or above the line"

    assert figure.locator(".said").inner_text().startswith(fulfilled("claimed_speedup"))
    figure.get_by_label("claimed", exact=True).select_option("claimed_size_ratio")
    page.wait_for_function("document.querySelector('[data-chart=claimed] .plot').textContent.includes('bytes ratio')")
    assert figure.locator(".said").inner_text().startswith(fulfilled("claimed_size_ratio"))


@pytest.mark.peers
def test_strengths_are_lines_one_a_backend(nightly: tuple[Path, Findings], browser: OpenPage) -> None:
    index, findings = nightly
    page = browser(index)
    figure = _drawn(page, "sweep")
    choice = figure.get_by_label("method", exact=True)
    labels = choice.locator("option").all_inner_texts()
    assert "magnitude_prune, sparsity" in labels and not any("int8_ptq" in label for label in labels)
    choice.select_option(label="magnitude_prune, sparsity")
    cells = _cells(findings, "speedup", "latency", method="magnitude_prune")
    page.locator(f"[data-chart=sweep][data-drawn='{len(cells)}']").wait_for()
    assert figure.locator(".said").inner_text() == f"{len(cells)} cells on 2 lines."


@pytest.mark.peers
@pytest.mark.parametrize("width", [1440, 390])
def test_charts_take_the_colours_and_the_width_of_the_page(width: int, nightly: tuple[Path, Findings], browser: OpenPage) -> None:
    inks = []
    for dark in (False, True):
        page = browser(nightly[0], width=width, dark=dark)
        figure = _drawn(page, "tradeoff")
        ink = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()")
        assert figure.locator(".role-axis-label text").first.get_attribute("fill") == ink
        inks.append(ink)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out to the right"
    assert inks[0] != inks[1]


@pytest.mark.peers
def test_the_light_may_change_while_the_page_is_open(nightly: tuple[Path, Findings], browser: OpenPage) -> None:
    page = browser(nightly[0])
    figure = _drawn(page, "tradeoff")
    before = figure.locator(".role-axis-label text").first.get_attribute("fill")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "b => document.querySelector('[data-chart=tradeoff] .role-axis-label text')?.getAttribute('fill') !== b", arg=before
    )


@pytest.mark.peers
def test_the_first_view_does_not_wait_for_the_library(nightly: tuple[Path, Findings], browser: OpenPage) -> None:
    page = browser(nightly[0])
    library = page.locator("script[src$='vega.js']")
    assert library.count() == 0
    _drawn(page, "tradeoff")
    assert library.count() == 1


@pytest.mark.peers
def test_without_a_script_the_charts_are_not_there_and_the_rest_is(nightly: tuple[Path, Findings], browser: OpenPage) -> None:
    page = browser(nightly[0], javascript=False)
    assert page.locator("#explore").is_hidden() and page.locator("nav a[href='#explore']").is_hidden()
    assert page.locator("#history").is_visible() and page.locator("#figures").is_visible()


@pytest.mark.peers
def test_the_history_of_the_run_leads_to_the_history_of_a_cell(nightly: tuple[Path, Findings], browser: OpenPage) -> None:
    page = browser(nightly[0])
    rows = page.locator("table.changed tbody tr")
    assert rows.count() > 0
    assert "%" in rows.first.locator("td").nth(1).inner_text()
    rows.first.locator("a").click()
    page.wait_for_url("**/cells/*.html")
    nights = page.locator("svg.nights")
    assert nights.locator(".dot").count() == 12 and nights.locator(".step").count() == 1


@pytest.mark.peers
def test_colours_tell_apart_what_the_reader_wants(nightly: tuple[Path, Findings], browser: OpenPage) -> None:
    page = browser(nightly[0])
    figure = _drawn(page, "tradeoff")

    def legend() -> list[str]:
        return figure.locator(".role-legend-label text").all_text_contents()

    assert "magnitude_prune" in legend() and "others" in legend()
    page.locator(".narrow").get_by_label("colour", exact=True).select_option("backend")
    page.wait_for_function("!document.querySelector('[data-chart=tradeoff] .plot').textContent.includes('magnitude_prune')")
    assert sorted(legend()) == ["litert", "onnxruntime"]
