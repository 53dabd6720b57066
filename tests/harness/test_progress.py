"""What a run prints: one line a cell, quiet when asked, nothing that a name could disturb."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harness.plan import Cell
from harness.plugins import Choice
from harness.progress import Terminal, result_text
from harness.steps import Kind, Step
from harness.suite import OperatingPoint, Workload
from results.record import Axes, Measurement, Record, Samples, Status
from targets.target import Target


def record(status: Status = "ok", reason: str | None = None) -> Record:
    samples = Samples(
        np.array([1.0, 2e-3, 2.1e-3, 1.9e-3]),
        np.array([0, 0, 1, 2], np.uint16),
        np.array([False, True, True, True]),
        np.ones(4, np.uint32),
        np.zeros(4),
    )
    measurements = (
        Measurement("latency", "s", "emulated", "made up", samples),
        Measurement("top1", "1", "measured", "made up", Samples.of([1, 1, 0, 1])),
    )
    axes = Axes("[bold]net", "float32", "onnxruntime", "local")
    return Record("id", "run", "key", "hash", "machine", axes, status, reason, None, "t0", "t1", measurements=measurements)


CELL = Cell(
    Workload(Choice("[bold]net"), "digits"), Choice("float32"), Choice("onnxruntime"), Target("board"), OperatingPoint(2, 4), "float32",
    record().axes, "key", "hash", "run",
)  # fmt: skip


def test_a_result_in_a_few_words() -> None:
    text = result_text(record())
    assert text.startswith("2 ms [1.") and "(emulated)" in text and text.endswith("top1 75.0%")
    assert result_text(record("failed", "no luck")) == "no luck"


def test_where_instructions_are_counted_they_stand_in_the_place_of_a_time() -> None:
    latency, top1 = record().measurements
    assert latency.samples is not None
    no_time = dataclasses.replace(latency, samples=None, reason="it counts")
    counts = dataclasses.replace(latency.samples, value=np.full(4, 1234567.0))
    counted = Measurement("instructions", "1", "emulated", "made up", counts)
    found = dataclasses.replace(record(), measurements=(no_time, top1, counted))
    assert result_text(found) == "1,234,567 instructions top1 75.0%"


def test_one_line_a_cell_with_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(3)
    with terminal:
        terminal.begins([CELL])
        terminal.phase("board", "measuring [red]x")
        terminal.ended(CELL, record())
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "1 cells: 1 to run" and lines[1] == "  board: measuring [red]x"
    assert lines[2].startswith("[1/1] ok          [bold]net | float32 | onnxruntime @board t2 b4  2 ms")


def test_quiet_says_only_what_went_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(3, quiet=True)
    with terminal:
        terminal.begins([CELL, CELL])
        terminal.ended(CELL, record())
        assert capsys.readouterr().err == ""
        terminal.ended(CELL, record("wrong", "off by one"))
    assert "wrong" in (said := capsys.readouterr().err) and "off by one" in said


def test_what_a_device_said_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(3, verbose=True)
    with terminal:
        terminal.begins([CELL])
        terminal.phase("board", "measuring \x1b[2Jx")
        terminal.ended(CELL, record("failed", "\x1b]0;owned\x07 first\n[1/1] ok  forged\u202e"))
    said = capsys.readouterr().err
    assert all(line.isprintable() for line in said.splitlines()) and r"\x1b]0;owned\x07 first [1/1] ok forged\u202e" in said
    assert len(said.splitlines()) == 3


def test_where_there_is_no_bar_what_may_take_hours_is_named_as_it_begins(capsys: pytest.CaptureFixture[str]) -> None:
    kinds: tuple[Kind, ...] = ("train", "compress", "export")

    def shown(**settings: bool) -> str:
        with Terminal(1, **settings) as terminal:
            for kind in kinds:
                terminal.step(Step(kind, "{}", (), f"{kind} net", 1, kind), "started")
        return capsys.readouterr().err

    assert shown() == "  train net\n  compress net\n"
    assert shown(quiet=True) == ""
