"""Every printed number names its record, and follows from that record's raw samples by the arithmetic written here.

The oracle is slow and its own: it takes nothing from `results` or `reports` but the records themselves.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import random
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import scipy.stats

from reports.compare import compare
from reports.diff_page import write_diff
from reports.report import write_report
from results.record import Axes, Measurement, Record, Run, Samples

SI = {"": 1.0, "n": 1e-9, "µ": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9}
UNIT = re.compile(r"([nµmkMG]?)(s|J|W|B)|%|×|points|°C|([kMGT]?)")
NUMBER = re.compile(r"[+−-]?\d+(?:,\d{3})*(?:\.\d+)?")
PICKED = 150
"""Numbers of a report that are computed again, drawn at random; all of them in the pages of compared runs."""


class Shown(NamedTuple):
    """One printed number as the page has it."""

    records: tuple[str, ...]
    metric: str
    statistic: str
    value: float
    low: float | None
    high: float | None
    text: str
    unit: str
    """From the head of its column; empty where the text has it."""


class _Numbers(HTMLParser):
    """Every element with `data-value`, its text without footnotes; the record from itself or its row, the unit from its column's head."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[Shown] = []
        self.stack: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.units: list[str] = []
        self.column = 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("meta", "link", "br", "wbr", "input", "img"):
            return
        given = {name: value or "" for name, value in attrs}
        if tag == "table":
            self.units = []
        if tag == "tr":
            self.column = 0
        if "data-value" in given:
            self.text = []
        self.stack.append((tag, given))

    def handle_endtag(self, tag: str) -> None:
        opened, given = self.stack.pop()
        assert opened == tag, f"</{tag}> closes <{opened}>"
        if tag == "th" and "data-metric" in given:
            self.units.append(given.get("unit", ""))
        if "data-value" in given:
            self._add(tag, given)
        if tag == "td":
            self.column += int(given.get("colspan", "1"))

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1][1].get("class") == "unit":
            next(given for tag, given in reversed(self.stack) if tag == "th")["unit"] = data
        if not any(tag in ("sup", "style", "script") for tag, _ in self.stack):
            self.text.append(data)

    def _add(self, tag: str, given: Mapping[str, str]) -> None:
        owner = next(g["data-record"] for _, g in [*self.stack, ("", dict(given))][::-1] if "data-record" in g)
        low, high = (float(given[name]) if name in given else None for name in ("data-low", "data-high"))
        unit = self.units[self.column] if tag == "td" and self.units else ""
        self.found.append(
            Shown(
                tuple(owner.split()),
                given["data-metric"],
                given.get("data-statistic", ""),
                float(given["data-value"]),
                low,
                high,
                " ".join("".join(f" {part}" for part in self.text).split()),
                unit,
            )
        )


class Truth(NamedTuple):
    value: float
    low: float | None = None
    high: float | None = None


class Oracle:
    """Numbers from raw samples, step by step."""

    def __init__(self, records: Sequence[Record], baseline: Callable[[Record], Record]) -> None:
        self.records = {record.id: record for record in records}
        self.baseline = baseline

    def of(self, shown: Shown) -> Truth:
        if shown.statistic == "change":
            before, after = (self.records[id_] for id_ in shown.records)
            return self.change(before, after, shown.metric)
        if shown.statistic == "median":
            return Truth(statistics.median(self.estimate(self.records[id_], shown.metric).value for id_ in shown.records))
        record = self.records[shown.records[0]]
        if shown.statistic.startswith("p"):
            values = sorted(self.timed(record, shown.metric))
            position = (len(values) - 1) * int(shown.statistic[1:]) / 100
            lower = values[math.floor(position)]
            return Truth(lower + (values[math.ceil(position)] - lower) * (position - math.floor(position)))
        if shown.statistic.startswith("median of launch "):
            return Truth(self.medians(record, shown.metric)[int(shown.statistic.split()[-1]) - 1])
        assert shown.statistic in ("", "slower")
        if shown.metric in record.claims:
            return Truth(float(record.claims[shown.metric]))
        return self.estimate(record, shown.metric)

    def estimate(self, record: Record, metric: str) -> Truth:
        base = self.baseline(record)
        if metric == "quality":
            metric = "top1"
        if metric == "speedup":
            return Truth(1.0) if base is record else self.paired_ratio(base, record)
        if metric == "quality_change":
            return Truth(0.0 if base is record else self.share(record) - self.share(base))
        if metric in ("claimed_speedup", "claimed_size_ratio"):
            claim = {"claimed_speedup": "nonzero_macs", "claimed_size_ratio": "weight_bytes"}[metric]
            return Truth(base.claims[claim] / record.claims[claim])
        if metric == "top1":
            return self.wilson(self.timed(record, metric))
        values = self.timed(record, metric)
        if min(values) == max(values):
            return Truth(values[0])
        logs = [math.log(median) for median in self.medians(record, metric).values()]
        middle = sum(logs) / len(logs)
        if len(logs) == 1:
            return Truth(math.exp(middle))
        return self.interval(middle, self.deviation(logs) / math.sqrt(len(logs)), len(logs) - 1, error_rate=0.0375)

    def paired_ratio(self, base: Record, record: Record) -> Truth:
        one, other = self.medians(base, "latency"), self.medians(record, "latency")
        assert one.keys() == other.keys()
        gains = [math.log(one[launch] / other[launch]) for launch in one]
        middle = sum(gains) / len(gains)
        if len(gains) == 1:
            return Truth(math.exp(middle))
        return self.interval(middle, self.deviation(gains) / math.sqrt(len(gains)), len(gains) - 1)

    def change(self, before: Record, after: Record, metric: str) -> Truth:
        if metric == "top1":
            return Truth(self.share(after) - self.share(before))
        if metric == "artifact_size":
            return Truth(self.timed(after, metric)[0] / self.timed(before, metric)[0] - 1)
        x, y = ([math.log(m) for m in self.medians(record, metric).values()] for record in (after, before))
        u, v = (self.deviation(logs) ** 2 / len(logs) for logs in (x, y))
        freedom = (u + v) ** 2 / (u**2 / (len(x) - 1) + v**2 / (len(y) - 1))
        found = self.interval(sum(x) / len(x) - sum(y) / len(y), math.sqrt(u + v), freedom)
        assert found.low is not None and found.high is not None
        return Truth(found.value - 1, found.low - 1, found.high - 1)

    def share(self, record: Record) -> float:
        hits = self.timed(record, "top1")
        return sum(hits) / len(hits)

    @staticmethod
    def timed(record: Record, metric: str) -> list[float]:
        samples = next(m.samples for m in record.measurements if m.metric == metric)
        assert samples is not None
        return [float(v) for v, timed in zip(samples.value, samples.timed, strict=True) if timed]

    @staticmethod
    def medians(record: Record, metric: str) -> dict[int, float]:
        samples = next(m.samples for m in record.measurements if m.metric == metric)
        assert samples is not None
        launches: dict[int, list[float]] = {}
        for value, launch, timed in zip(samples.value, samples.launch, samples.timed, strict=True):
            if timed:
                launches.setdefault(int(launch), []).append(float(value))
        return {launch: statistics.median(values) for launch, values in launches.items()}

    @staticmethod
    def deviation(values: Sequence[float]) -> float:
        middle = sum(values) / len(values)
        return math.sqrt(sum((v - middle) ** 2 for v in values) / (len(values) - 1))

    @staticmethod
    def interval(middle: float, error: float, freedom: float, error_rate: float = 0.05) -> Truth:
        half = float(scipy.stats.t.ppf(1 - error_rate / 2, freedom)) * error
        return Truth(math.exp(middle), math.exp(middle - half), math.exp(middle + half))

    @staticmethod
    def wilson(hits: Sequence[float]) -> Truth:
        found = scipy.stats.binomtest(int(sum(hits)), len(hits)).proportion_ci(0.95, method="wilson")
        return Truth(sum(hits) / len(hits), float(found.low), float(found.high))


def _check(shown: Shown, truth: Truth) -> None:
    """The value behind the text is the truth, and the text is that value rounded."""
    for stated, true in ((shown.value, truth.value), (shown.low, truth.low), (shown.high, truth.high)):
        assert (stated is None) or (true is not None), (shown, truth)
        if stated is not None and true is not None:
            assert stated == pytest.approx(true, rel=1e-9, abs=1e-12), (shown, truth)
    assert (shown.low is None) == (shown.high is None)
    has_ends = bool(re.search(r"[\[–±]", shown.text))
    assert has_ends == (shown.low is not None), shown
    texts, scale = NUMBER.findall(shown.text), _scale(shown)
    values = [shown.value, *(end for end in (shown.low, shown.high) if end is not None)]
    if shown.statistic == "slower":
        values = [1 / value for value in (shown.value, *reversed(values[1:]))]
    for text, value in zip(texts, values, strict=False):
        digits = text.lstrip("+−-").replace(",", "")
        printed = float(digits) * (-1 if text[0] in "−-" else 1)
        last = -len(digits.partition(".")[2])
        zeros = len(digits) - len(digits.rstrip("0")) if not last else 0  # of 1200 nobody sees where it was rounded
        widest = max(0.0101 * abs(value / scale), (max(values) - min(values)) / scale, 0.1 * (shown.metric == "quality_change"))
        steps = [
            step
            for k in range(zeros + 1 if printed else 12)
            if (step := 10.0 ** (last + k)) <= widest or printed == value / scale
        ]
        assert any(abs(printed - value / scale) <= step / 2 * (1 + 1e-9) for step in steps), (shown, text, value / scale)


def _scale(shown: Shown) -> float:
    """How many SI units one printed unit is, by the unit that stands with the number or over its column."""
    with_it = re.sub(r"[\[(±].*", "", NUMBER.sub("", shown.text, count=1)).strip() if not shown.unit else shown.unit
    unit = with_it.split()[0] if with_it.split() else ""
    if unit in ("%", "points"):
        return 0.01
    if unit in ("×", "x", "") or shown.metric in ("speedup", "claimed_speedup", "claimed_size_ratio"):
        return 1.0
    if unit in ("s", "J", "W", "B"):
        return 1.0
    assert unit[0] in SI and unit[1:] in ("s", "J", "W", "B", ""), shown
    return SI[unit[0]]


def _random_store(seed: int) -> tuple[Run, list[Record]]:
    """A few cells of random shape: launches, samples, warm-up, sizes and qualities; some fail."""
    rng = np.random.default_rng(seed)
    launches, samples = int(rng.integers(1, 8)), int(rng.integers(1, 40))
    models = [f"net{i}" for i in range(rng.integers(1, 3))]
    methods = ["float32", *(f"method{i}" for i in range(rng.integers(1, 5)))]
    backends = [f"rt{i}" for i in range(rng.integers(1, 4))]
    hits_of = int(rng.integers(5, 400))
    records = []
    for number, (model, method, backend) in enumerate((a, b, c) for a in models for b in methods for c in backends):
        true = float(10 ** rng.uniform(-8, 1))
        warm = int(rng.integers(0, 5))
        per = warm + samples
        value = true * np.exp(rng.normal(0, 0.05, launches * per)) * np.repeat(np.exp(rng.normal(0, 0.02, launches)), per)
        latency = Samples(
            value,
            np.repeat(np.arange(launches, dtype=np.uint16), per),
            np.tile(np.arange(per) >= warm, launches),
            np.full(launches * per, 50, np.uint32),
            np.tile(np.arange(per) * 0.01, launches),
        )
        one_each = dataclasses.replace(
            Samples.of(rng.uniform(1e5, 1e9, launches).round()), launch=np.arange(launches, dtype=np.uint16)
        )
        joules = dataclasses.replace(Samples.of(true * rng.uniform(1, 3, launches)), launch=np.arange(launches, dtype=np.uint16))
        measurements = (
            Measurement("latency", "s", "measured", "made up", latency, clock="CLOCK_MONOTONIC"),
            Measurement("top1", "1", "measured", "made up", Samples.of(rng.random(hits_of) < 0.8)),
            Measurement("peak_memory", "B", "measured", "made up", one_each),
            Measurement("energy", "J", "measured", "made up", joules),
            Measurement("artifact_size", "B", "measured", "made up", Samples.of(int(rng.integers(1, 10**8)))),
        )
        is_ok = method == "float32" or rng.random() < 0.85
        claims = {name: int(rng.integers(1, 10**9)) for name in ("macs", "nonzero_macs", "params", "weight_bytes")}
        records.append(
            Record(
                f"{seed:04x}{number:04x}",
                "5a1e",
                f"{number:064x}",
                f"{number:064x}",
                "ab" * 32,
                Axes(model, method, backend, "local"),
                "ok" if is_ok else "failed",
                None if is_ok else "made to fail",
                None,
                "2026-01-02T03:04:05Z",
                "2026-01-02T03:04:05Z",
                claims=claims,
                measurements=measurements if is_ok else (),
            )
        )
    document = {
        "models": models,
        "methods": methods,
        "backends": backends,
        "targets": ["local"],
        "operating_points": [{"threads": 1, "batch": 1}],
        "baseline": {"method": "float32"},
        "tables": [{"name": "t", "rows": ["model", "method"], "columns": "backend", "metrics": ["latency", "speedup", "quality", "energy"]}],
    }  # fmt: skip
    return Run("5a1e", "random", document, 0, "2026-01-02T03:00:00Z", "2026-01-02T04:00:00Z"), records


def _oracle(*stores: Sequence[Record]) -> Oracle:
    def baseline(record: Record) -> Record:
        records = next(records for records in stores if any(r is record for r in records))
        return next(r for r in records if r.axes == dataclasses.replace(record.axes, method="float32"))

    return Oracle([record for records in stores for record in records], baseline)


def _pages(folder: Path) -> Iterator[Shown]:
    for page in sorted(folder.rglob("*.html")):
        if page.parent.name != "tables":
            yield from _Numbers(page.read_text(encoding="utf-8")).found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_numbers_of_a_random_report_follow_from_the_samples(seed: int, tmp_path: Path) -> None:
    run, records = _random_store(seed)
    write_report(run, records, tmp_path / "out")
    oracle, found = _oracle(records), list(_pages(tmp_path / "out"))
    assert len(found) >= 10 * sum(record.status == "ok" for record in records)
    seen = {shown.metric for shown in found}
    assert seen >= {"latency", "speedup", "top1", "peak_memory", "artifact_size", "claimed_speedup", "nonzero_macs"}
    for shown in random.Random(seed).sample(found, min(PICKED, len(found))):
        _check(shown, oracle.of(shown))


def test_every_number_of_the_answer_in_words_is_traced(
    smoke_records: list[Record], make_run: Callable[..., Run], tmp_path: Path
) -> None:
    index = write_report(make_run(smoke_records), smoke_records, tmp_path / "out").read_text(encoding="utf-8")
    answer = index.partition('<div class="answer">')[2].partition("</div>")[0]
    traced = re.findall(r'<span data-record="[^>]*>([^<]*)</span>', answer)
    assert len(traced) > 8 and any("×" in text for text in traced) and any("points" in text for text in traced)
    untraced = re.sub(r"<[^>]*>", "", re.sub(r"<span [^>]*>[^<]*</span>", "", answer))
    assert not re.search(r"\d\S*(×| points| [µnm]?s\b)", untraced), untraced


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 140))
def test_all_numbers_of_many_random_reports_follow_from_the_samples(seed: int, tmp_path: Path) -> None:
    run, records = _random_store(seed)
    write_report(run, records, tmp_path / "out")
    oracle = _oracle(records)
    for shown in _pages(tmp_path / "out"):
        _check(shown, oracle.of(shown))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_numbers_of_a_page_of_changes_follow_from_the_samples_of_both_runs(seed: int, tmp_path: Path) -> None:
    run, old = _random_store(seed)
    new = [dataclasses.replace(record, id=f"f{record.id}") for record in _random_store(seed)[1]]
    rng = np.random.default_rng(seed)
    for index, record in enumerate(new):
        factor = float(rng.choice([0.5, 1.0, 2.0]))
        louder = tuple(
            dataclasses.replace(m, samples=dataclasses.replace(m.samples, value=m.samples.value * factor))
            for m in record.measurements if m.samples is not None and m.metric != "top1"
        )  # fmt: skip
        new[index] = dataclasses.replace(record, measurements=louder)
    diff = compare(run, dataclasses.replace(run, id="b"), old, new)
    write_diff(diff, old, new, tmp_path / "out")
    found = _Numbers((tmp_path / "out/index.html").read_text(encoding="utf-8")).found
    assert len(found) == 3 * len(diff.differences) > 0
    oracle = _oracle(old, new)
    for shown in found:
        _check(shown, oracle.of(shown))


@pytest.mark.parametrize("seed", [1, 2])
def test_numbers_of_the_downloaded_tables_follow_from_the_samples(seed: int, tmp_path: Path) -> None:
    run, records = _random_store(seed)
    write_report(run, records, tmp_path / "out")
    oracle = _oracle(records)
    for file in (tmp_path / "out/tables").glob("*.csv"):
        printed: list[str] = []
        for line in csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))):
            if not line["value"]:
                continue
            low, high = (float(line[name]) if line[name] else None for name in ("low", "high"))
            shown = Shown(
                (line["record"],), line["metric"], "", float(line["value"]), low, high, line["printed"], line["printed_unit"]
            )
            _check(shown, oracle.of(shown))
            printed.append(NUMBER.findall(line["printed"])[0])
        assert printed
        for suffix in (".md", ".tex"):
            text = file.with_suffix(suffix).read_text(encoding="utf-8").replace("$-$", "−")
            for number in printed:
                assert number in text, (suffix, number)


def test_the_oracle_finds_a_number_that_is_wrong() -> None:
    _, records = _random_store(1)
    record = records[0]
    truth = _oracle(records).estimate(record, "artifact_size")
    right = Shown((record.id,), "artifact_size", "", truth.value, None, None, f"{truth.value / 1e6:.1f} MB", "")
    _check(right, truth)
    for wrong in (
        right._replace(value=truth.value * 1.001),
        right._replace(text=f"{truth.value / 1e6 + 0.2:.1f} MB"),
        right._replace(text=f"{truth.value / 1e6:.1f} kB"),
        right._replace(low=truth.value),
    ):
        with pytest.raises(AssertionError):
            _check(wrong, truth)
