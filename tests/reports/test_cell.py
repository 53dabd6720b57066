from __future__ import annotations

import dataclasses
import html
import json
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports import cell
from reports.cell import cell_page, rerun
from reports.findings import examine
from reports.report import write_report
from results import stats
from results.record import Measurement, Record, Run, Samples, record_from_json

MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]
OpenPage = Callable[..., Any]


def _seen(page: str) -> str:
    """The text of a page, tags gone."""
    body = page.partition("</head>")[2]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


@pytest.fixture
def page_of(make_run: MakeRun) -> Callable[..., str]:
    """The page of a record, alone in its run or among others."""

    def of(record: Record, *others: Record) -> str:
        records = [record, *others]
        return cell_page(examine(make_run(records), records), record)

    return of


def _provenance(**more: Any) -> dict[str, Any]:
    who = {
        "command": ["cli.py", "run", "my suite.yaml", "--fresh", "--out", "out/x"],
        "git": {"commit": "c0ffee" * 6, "dirty": True},
    }
    steps = [
        {"kind": "train", "key": "ab" * 32, "title": "train cnn", "duration_s": 12.5, "inputs": {}},
        {"kind": "build", "key": "cd" * 32, "title": "build cnn for ort", "duration_s": 0.02, "inputs": {}},
    ]
    launches = [
        {
            "load_s": 0.011,
            "warmup": {"samples": 2, "seconds": 0.1, "capped": number == 1},
            "memory": {"peak_rss_bytes": 4.4e7},
            "process_before": {"cpu_s": 1.0, "major_faults": 0},
            "process_after": {"cpu_s": 1.5, "major_faults": 3},
            "state_before": {"frequency_hz": 1.8e9, "celsius": None},
            "state_after": {"frequency_hz": 1.2e9, "celsius": None},
        }
        for number in range(3)
    ]
    check = {"rule": "SQNR of at least 20 dB", "passed": True, "reason": None, "max_abs_error": 0.0123, "sqnr_db": 41.5}
    return {"who": who, "model": {"steps": steps}, "runtime": {"launches": launches}, "check": check, **more}


def test_the_page_shows_numbers_samples_claims_and_provenance(smoke_records: list[Record], page_of: Callable[..., str]) -> None:
    record = next(r for r in smoke_records if r.axes.method == "int8" and r.axes.backend == "lite")
    page = page_of(record, *(r for r in smoke_records if r is not record))
    text = _seen(page)
    assert "15 in 3 launches, 6 for warm-up" in text
    assert 'class="dots"' in page
    assert "CLOCK_MONOTONIC" in text
    assert "claimed bytes ratio 4×" in text
    assert "made-up" in text
    for value in (record.cell_key, record.input_hash, record.machine_key, record.sha256(), f"assay show {record.id}"):
        assert value in text


def test_how_it_was_made_checked_and_run_is_told(make_record: MakeRecord, page_of: Callable[..., str]) -> None:
    text = _seen(page_of(make_record(provenance=_provenance())))
    assert "train cnn 12.5 s abababababab" in text and "build cnn for ort 20 ms cdcdcdcdcdcd" in text
    assert "rule SQNR of at least 20 dB passed yes largest error 0.0123 signal to noise, dB 41.5" in text
    assert "100 ms, capped 11 ms 44 MB 500 ms 3 1800 MHz → 1200 MHz" in text
    assert "temperature" not in text, "a column that no launch has anything in"
    assert "at commit c0ffeec0ffee, edited since" in text


def test_a_failed_check_says_why(make_record: MakeRecord, page_of: Callable[..., str]) -> None:
    check = {"rule": "r", "passed": False, "reason": "SQNR 3 dB", "sqnr_db": 3.0}
    bad = make_record(status="wrong", reason="SQNR 3 dB", provenance={"check": check})
    assert "passed no: SQNR 3 dB" in _seen(page_of(bad))


def test_the_command_measures_this_cell_alone_again(make_record: MakeRecord) -> None:
    record = make_record(provenance=_provenance())
    words = shlex.split(rerun(record) or "")
    assert words == ["assay", "run", "my suite.yaml", "--out", "out/x", "--only", record.cell_key[:12], "--fresh"]
    narrowed = _provenance(who={"command": ["assay", "run", "s", "--only", "abc", "--only=def", "--fresh"]})
    assert shlex.split(rerun(make_record(provenance=narrowed)) or "")[:4] == ["assay", "run", "s", "--only"]


@pytest.mark.parametrize("who", [{}, {"command": []}, {"command": ["pytest"]}, {"command": "run"}, "nobody", {"command": [1, 2]}])
def test_a_run_that_was_not_started_by_assay_run_has_no_such_command(
    who: Any, make_record: MakeRecord, page_of: Callable[..., str]
) -> None:
    record = make_record(provenance={"who": who})
    assert rerun(record) is None
    assert "measure this cell alone" not in page_of(record)


def test_a_command_cannot_leave_its_quotes(make_record: MakeRecord, page_of: Callable[..., str]) -> None:
    suite = "x'; rm -rf ~ #\x1b[2J<b>"
    record = make_record(provenance={"who": {"command": ["assay", "run", suite]}})
    assert shlex.split(rerun(record) or "")[2] == suite
    page = page_of(record)
    assert "\x1b" not in page and "<b>" not in page.partition("again")[2] and r"\x1b[2J" in page


def test_a_cell_that_is_not_ok_shows_its_whole_reason_its_log_and_no_number(
    make_record: MakeRecord, page_of: Callable[..., str]
) -> None:
    reason = "line one\n" + "x" * 1000
    latency = Measurement("latency", "s", "measured", "-", Samples.of([1.5e-3] * 20))
    logs = {"step": "build cnn for ort", "tail": "ld: FLASH overflowed"}
    text = _seen(page_of(make_record(status="wrong", reason=reason, more=(latency,), provenance={"logs": logs})))
    assert "x" * 1000 in text
    assert "1.5" not in text and "not shown: the cell is wrong" in text
    assert "Last lines of its log: build cnn for ort ld: FLASH overflowed" in text


def test_a_null_metric_shows_its_reason(make_record: MakeRecord, page_of: Callable[..., str]) -> None:
    record = make_record(more=(Measurement("energy", "J", "measured", "RAPL", None, reason="needs root"),))
    assert "– needs root" in _seen(page_of(record))


def test_few_samples_are_listed_and_not_drawn(make_record: MakeRecord, page_of: Callable[..., str]) -> None:
    memory = Measurement("peak_memory", "B", "measured", "VmHWM", Samples.of([4e6, 5e6, 6e6]))
    page = page_of(make_record(latency=None, more=(memory,)))
    assert 'class="dots"' not in page
    assert "4 MB, 5 MB, 6 MB" in page


def test_every_noise_flag_has_words(make_record: MakeRecord, page_of: Callable[..., str]) -> None:
    flags = {value for name, value in vars(stats).items() if name.isupper() and isinstance(value, str)}
    assert flags and flags <= set(cell.NOISE)
    text = _seen(page_of(make_record(flags=("throttled", "odd_flag"))))
    assert "throttled: the device lowered its clock" in text
    assert "odd_flag: a flag that this Assay does not know" in text
    assert "Noisier" not in _seen(page_of(make_record()))


@pytest.mark.parametrize("broken", ["text", 7, None, [], ["x", 3], {"steps": "no list"}, {"launches": [None, 5]}])
def test_provenance_of_any_shape_is_a_page(broken: Any, make_record: MakeRecord, page_of: Callable[..., str]) -> None:
    names = ("who", "model", "runtime", "check", "logs", "device")
    assert "</html>" in page_of(make_record(provenance=dict.fromkeys(names, broken)))
    assert "</html>" in page_of(make_record(status="failed", reason="r", provenance=dict.fromkeys(names, broken)))


def test_raw_samples_can_be_downloaded_without_loss_where_there_is_room(
    smoke_records: list[Record], make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = smoke_records[0]
    write_report(make_run(smoke_records), smoke_records, tmp_path / "out")
    file = tmp_path / "out/cells" / f"{record.id}.json"
    assert record_from_json(json.loads(file.read_text())) == record
    assert f'href="{record.id}.json"' in (tmp_path / "out/cells" / f"{record.id}.html").read_text()
    monkeypatch.setattr(cell, "MAX_DOWNLOADS", 3)
    write_report(make_run(smoke_records), smoke_records, tmp_path / "out")
    assert not file.exists(), "files of an older report go"
    assert f'href="{record.id}.json"' not in (tmp_path / "out/cells" / f"{record.id}.html").read_text()


def test_launch_medians_are_those_of_the_samples(make_record: MakeRecord, page_of: Callable[..., str]) -> None:
    record = make_record(latency=[1e-3, 2e-3, 4e-3])
    found: Mapping[str, str] = dict(re.findall(r'data-statistic="median of launch (\d)" data-value="([^"]*)"', page_of(record)))
    assert {int(k): float(v) for k, v in found.items()} == pytest.approx({1: 1e-3, 2: 2e-3, 3: 4e-3})


def test_a_launch_that_never_left_its_warm_up_has_no_median(make_record: MakeRecord, page_of: Callable[..., str]) -> None:
    record = make_record()
    latency = record.measurement("latency")
    assert latency is not None and latency.samples is not None
    timed = latency.samples.timed & (latency.samples.launch != 1)
    spoilt = dataclasses.replace(latency, samples=dataclasses.replace(latency.samples, timed=np.asarray(timed)))
    record = dataclasses.replace(record, measurements=(spoilt,))
    assert "2 7 0 –" in _seen(page_of(record))


@pytest.mark.peers
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_a_phone_and_opens_by_keyboard(
    dark: bool, make_record: MakeRecord, make_run: MakeRun, browser: OpenPage, tmp_path: Path
) -> None:
    record = make_record(
        "a_method_with_a_long_name(and=parameters, of=some_length)", provenance=_provenance(), flags=("throttled",)
    )
    write_report(make_run([record]), [record], tmp_path / "out")
    page = browser(tmp_path / "out/cells" / f"{record.id}.html", width=375, height=800, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    ground, ink = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
    light = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ground, ink)]
    assert (light[0] < light[1]) == dark
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim()"))
    assert {"Launches", "made-up", "who"} & reached >= {"Launches", "who"}
    summary = page.locator("summary", has_text="who")
    summary.focus()
    page.keyboard.press("Enter")
    assert summary.evaluate("e => e.parentElement.open")


def test_the_operating_point_and_the_control_of_the_clock_are_told(make_record: MakeRecord, page_of: Callable[..., str]) -> None:
    control: dict[str, Any] = {"tier": "pinned", "reason": None, "held_hz": {"policy0": 1_500_000_000}, "settings": []}
    point = {"cpus": "0-3", "governor": "performance", "frequency_hz": 1_500_000_000}
    seen = _seen(page_of(make_record(point=point, provenance={"device": {"control": control}})))
    assert "CPUs CPUs 0-3 governor performance clock 1.5 GHz clock control pinned: policy0 at 1.5 GHz" in seen
    control = {"tier": "uncontrolled", "reason": "no \x1b[31m cpufreq", "held_hz": 7}
    seen = _seen(page_of(make_record(provenance={"device": {"control": control}})))
    assert r"clock control uncontrolled (no \x1b[31m cpufreq)" in seen and "as it was" not in seen
    assert "clock control" not in _seen(page_of(make_record()))


def test_instructions_are_told_to_the_last_one_and_are_never_a_time(make_record: MakeRecord, page_of: Callable[..., str]) -> None:
    counts = Measurement("instructions", "1", "emulated", "counted", Samples.of([25_431.0] * 9), clock="instructions")
    page = page_of(make_record(more=(counts,)))
    reading = page[page.index("instructions") :]
    assert "25,431 in every sample" in reading and "examples" not in reading.split("artifact size")[0]
    assert "25.4 k" in reading


def test_the_noise_floor_of_the_machine_is_told_or_how_to_take_it(make_record: MakeRecord, page_of: Callable[..., str]) -> None:
    noise = {"floor": 0.0123, "pairs": 24, "taken": "2026-01-02T03:04:05Z"}
    assert "noise floor 1.2 %, by an A/A of 24 pairs of launches (2026-01-02)" in _seen(
        page_of(make_record(provenance={"device": {"noise": noise}}))
    )
    for lie in (None, "much", -1.0, 7.0):
        seen = _seen(page_of(make_record(provenance={"device": {"noise": {"floor": lie}}})))
        assert "noise floor not known: `assay doctor local` takes it" in seen


def test_a_long_launch_is_drawn_with_its_knee_and_its_sensors(make_record: MakeRecord, page_of: Callable[..., str]) -> None:
    n = 1800
    latency = np.where(np.arange(n) < 900, 1e-3, 1.5e-3) * np.exp(np.random.default_rng(0).normal(0, 0.01, n))
    columns = np.zeros(n, np.uint16), np.ones(n, np.bool_), np.ones(n, np.uint32), np.arange(n, dtype=np.float64)
    heat = Measurement("temperature_trace", "°C", "measured", "each sensor", Samples(np.linspace(40, 80, n), *columns))
    clock = Measurement("clock_trace", "Hz", "measured", "-", None, "no cpufreq")
    long = Measurement("sustained_latency", "s", "measured", "one launch", Samples(latency, *columns))
    sensors = {"sustained": {"temperature_trace": ["<b>soc</b>"]}}
    page = page_of(make_record(more=(long, heat, clock), provenance=sensors))
    seen = _seen(page)
    assert "speed kept 66." in seen and "knee after 9" in seen and "no cpufreq" in seen
    assert "a line a sensor (<b>soc</b>)" in seen and "<b>soc</b>" not in page
    assert page.count('<svg class="power"') == 2 and "knee at 9" in page
