"""What the page does in a real browser. The `browser` fixture itself fails on any console error and any request but for a file."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from reports.findings import Findings, examine
from reports.report import write_report
from results.record import Record

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.peers

OpenPage = Callable[..., "Page"]
METHODS = ("float32", "int8_ptq", "float16", "low_rank(rank=1)", "magnitude_prune", "nm_prune")
TARGETS = ("laptop", "pixel7", "nucleo-h7")
CONTRAST = """() => {
  const light = (c) => { const v = c.map((x) => (x /= 255) <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return { rgb: n.slice(0, 3), alpha: n[3] ?? 1 }; };
  const ground = (node) => {
    for (; node; node = node.parentElement) { const c = parse(getComputedStyle(node).backgroundColor); if (c.alpha === 1) return c.rgb; }
    return [255, 255, 255];
  };
  const poor = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walk.nextNode());) {
    const at = node.parentElement;
    if (!node.textContent.trim() || !at.checkVisibility() || at.closest("svg, option, script, .skip, .unseen")) continue;
    const [a, b] = [light(parse(getComputedStyle(at).color).rgb), light(ground(at))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${at.className} ${node.textContent.trim().slice(0, 30)}`);
  }
  return [...new Set(poor)];
}"""


class Site(NamedTuple):
    page: Path
    records: list[Record]
    findings: Findings

    def expected(self, target: str, key: str, *, down: bool) -> list[str]:
        """Record ids of a device's table sorted by a metric, those without a number last; equal ones in the suite's order."""
        cells = [r for r in self.findings.matrix.records.values() if r.axes.target == target and r.axes.layer is None]
        cells.sort(key=lambda r: ["onnxruntime", "litert"].index(r.axes.backend))
        values = {r.id: self.findings.quantity(r, key).value if r.status == "ok" else None for r in cells}
        known = sorted((r.id for r in cells if values[r.id] is not None), key=lambda i: values[i] or 0.0, reverse=down)
        return known + [r.id for r in cells if values[r.id] is None]


@pytest.fixture(scope="module")
def site(synthetic: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = synthetic(models=1)
    records = [r for r in made.records[0] if r.axes.target in TARGETS and r.axes.method.startswith(METHODS)]
    index = write_report(made.runs[0], records, tmp_path_factory.mktemp("site") / "out")
    return Site(index, records, examine(made.runs[0], records))


def _rows(page: Page, target: str, *, layers: bool = False) -> list[str]:
    """Record ids of the rows that are seen in a device's table, from the top."""
    found = page.locator(f'section.sheet[data-target="{target}"][data-model="resnet8"] tr[data-record]:visible')
    return [str(row.get_attribute("data-record")) for row in found.all()]


def _choice(page: Page, axis: str) -> Any:
    return page.locator(f".filters [name={axis}]")


def _head(page: Page, metric: str) -> Any:
    return page.locator(f'section.sheet[data-target="laptop"] th[data-metric="{metric}"]').first


def test_a_click_sorts_up_then_down_then_not_at_all(browser: OpenPage, site: Site) -> None:
    page = browser(site.page)
    before = _rows(page, "laptop")
    head = _head(page, "latency")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert _rows(page, "laptop") == site.expected("laptop", "latency", down=False)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert _rows(page, "laptop") == site.expected("laptop", "latency", down=True)
    assert _rows(page, "pixel7") == site.expected("pixel7", "latency", down=True), "all tables of the page are sorted alike"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") is None
    assert _rows(page, "laptop") == before


def test_a_status_is_no_number_and_stands_last(browser: OpenPage, site: Site) -> None:
    page = browser(site.page, fragment="#sort=latency+down")
    last = _rows(page, "laptop")[-1]
    assert next(r for r in site.records if r.id == last).status == "wrong"


def test_the_keyboard_sorts_and_the_focus_is_seen(browser: OpenPage, site: Site) -> None:
    page = browser(site.page)
    button = _head(page, "speedup").get_by_role("button")
    button.focus()
    page.keyboard.press("Enter")
    assert _rows(page, "laptop") == site.expected("laptop", "speedup", down=False)
    assert button.evaluate("e => e === document.activeElement && getComputedStyle(e).outlineStyle") == "solid"


def test_labels_sort_as_people_count(browser: OpenPage, site: Site) -> None:
    page = browser(site.page, fragment="#sort=method+up&method=magnitude&backend=litert")
    ids = _rows(page, "laptop")
    strengths = [float(next(r for r in site.records if r.id == i).axes.method.partition("=")[2].strip(")")) for i in ids]
    assert len(strengths) == 10 and strengths == sorted(strengths)


def test_a_device_is_filtered_in_tables_squares_and_the_address(browser: OpenPage, site: Site) -> None:
    page = browser(site.page)
    _choice(page, "target").select_option("pixel7")
    assert _rows(page, "laptop") == []
    shown = [r for r in site.records if r.axes.target == "pixel7"]
    assert sorted(_rows(page, "pixel7")) == sorted(r.id for r in shown)
    assert page.locator(".filters output").inner_text() == f"{len(shown)} of {len(site.records)} cells"
    assert page.url.endswith("#target=pixel7")
    aside = page.locator("table.heat td:not(.aside) a:visible").all()
    assert {str(link.get_attribute("href")) for link in aside} <= {f"cells/{r.id}.html" for r in shown}
    page.get_by_role("button", name="Show all").click()
    assert len(_rows(page, "laptop")) == len([r for r in site.records if r.axes.target == "laptop" and r.axes.layer is None])
    assert "#" not in page.url


def test_part_of_a_methods_name_filters_as_it_is_typed(browser: OpenPage, site: Site) -> None:
    page = browser(site.page)
    _choice(page, "method").press_sequentially("PRUNE")
    ids = set(_rows(page, "laptop"))
    assert ids == {r.id for r in site.records if r.axes.target == "laptop" and "prune" in r.axes.method}
    _choice(page, "method").fill("nothing has this name")
    assert page.locator(".filters output").inner_text() == "no cell matches"
    assert page.locator("section.sheet:visible").count() == 0


def test_a_link_with_choices_opens_them_and_a_place_keeps_them(browser: OpenPage, site: Site) -> None:
    page = browser(site.page, fragment="#target=laptop&method=int8&sort=latency+down")
    assert _choice(page, "target").input_value() == "laptop"
    assert _choice(page, "method").input_value() == "int8"
    ids = [
        i
        for i in site.expected("laptop", "latency", down=True)
        if "int8" in next(r for r in site.records if r.id == i).axes.method
    ]
    assert _rows(page, "laptop") == ids
    with page.expect_navigation():
        page.get_by_role("navigation").get_by_role("link", name="Legend").click()
    assert page.url.endswith("#legend") and _rows(page, "laptop") == ids
    page.evaluate("location.hash = '#backend=litert'")
    page.wait_for_function("document.querySelector('.filters select[name=backend]').value === 'litert'")
    assert _choice(page, "target").input_value() == ""


def test_choices_that_mean_nothing_do_nothing_bad(browser: OpenPage, site: Site) -> None:
    page = browser(site.page, fragment="#target=%3Cscript%3E&sort=no+such&method=%22%5D&x=y")
    assert page.locator(".filters output").inner_text() == "no cell matches"


def test_without_a_script_all_is_there(browser: OpenPage, site: Site) -> None:
    page = browser(site.page, javascript=False)
    assert not page.locator(".filters").is_visible()
    assert len(_rows(page, "laptop")) == len([r for r in site.records if r.axes.target == "laptop" and r.axes.layer is None])
    assert page.locator("th button").count() == 0


def test_a_row_leads_to_its_cell_and_back(browser: OpenPage, site: Site) -> None:
    page = browser(site.page)
    with page.expect_navigation():
        page.locator('section.sheet[data-target="pixel7"]').get_by_role("link", name="int8_ptq", exact=True).click()
    assert "int8_ptq" in page.locator("h1").inner_text()
    with page.expect_navigation():
        page.locator(".kicker a").first.click()
    assert page.url.startswith(site.page.as_uri())


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_on_its_ground(browser: OpenPage, site: Site, dark: bool) -> None:
    for path in (site.page, *sorted((site.page.parent / "cells").glob("*.html"))[:2]):
        page = browser(path, dark=dark)
        page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true })")
        assert page.evaluate(CONTRAST) == []


def test_headings_are_in_order_and_the_first_key_skips_to_the_content(browser: OpenPage, site: Site) -> None:
    for path in (site.page, sorted((site.page.parent / "cells").glob("*.html"))[0]):
        page = browser(path)
        levels = [int(level) for level in page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((h) => h.tagName[1])")]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        assert page.locator("main#main").count() == 1


def test_every_control_and_picture_has_a_name(browser: OpenPage, site: Site) -> None:
    page = browser(site.page)
    assert (
        page.evaluate(
            "[...document.querySelectorAll('input,select,button,a')].filter((e) => !(e.labels?.length || e.textContent.trim() || e.ariaLabel)).length"
        )
        == 0
    )
    assert page.evaluate("[...document.querySelectorAll('img')].filter((e) => !e.alt).length") == 0
    assert (
        page.evaluate(
            "[...document.querySelectorAll('svg[role=img]')].filter((e) => !e.querySelector('title')?.textContent).length"
        )
        == 0
    )


@pytest.mark.parametrize("width", [375, 1440])
def test_nothing_sticks_out_sideways(browser: OpenPage, site: Site, width: int) -> None:
    """The page itself never scrolls sideways; only tables do, within themselves."""
    for path in (site.page, *sorted((site.page.parent / "cells").glob("*.html"))[:3]):
        page = browser(path, width=width)
        page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name


def test_print_opens_what_is_folded_and_hides_the_controls(browser: OpenPage, site: Site) -> None:
    page = browser(site.page)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert not page.locator(".filters").is_visible()
    assert page.locator(".scroll").first.evaluate("e => getComputedStyle(e).overflowX") == "visible"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() > 0


def test_a_run_too_large_for_one_page_has_a_page_for_each_model_and_device(
    browser: OpenPage, synthetic: Callable[..., Any], tmp_path: Path
) -> None:
    made = synthetic(models=4)
    records = [r for r in made.records[0] if r.axes.target in TARGETS and r.axes.layer is None]
    index = write_report(
        made.runs[0], [dataclasses.replace(r, measurements=r.measurements[:1]) for r in records], tmp_path / "out"
    )
    page = browser(index)
    assert page.locator("section.sheet").count() == 0
    with page.expect_navigation():
        page.locator("table.heat th a", has_text="dscnn").click()
    assert page.locator("h1").inner_text() == "dscnn"
    mine = {r.id for r in records if r.axes.model == "dscnn"}
    rows = page.locator("tr[data-record]")
    assert {str(row.get_attribute("data-record")) for row in rows.all()} == mine
    _choice(page, "target").select_option("laptop")
    assert page.locator("tr[data-record]:visible").count() == len(
        [r for r in records if r.id in mine and r.axes.target == "laptop"]
    )
    page = browser(index)
    with page.expect_navigation():
        page.get_by_role("link", name="pixel7", exact=True).click()
    assert page.locator("h1").inner_text() == "pixel7"
    assert page.locator("tr[data-record]").count() == len([r for r in records if r.axes.target == "pixel7"])
