"""What a run shows while it goes: one line a cell, and on a terminal a bar with the phase and the time left."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from harness.plan import Cell
from harness.steps import Step
from results.paper import STATE_AXES
from results.printable import printable
from results.record import Record

if TYPE_CHECKING:
    from rich.progress import Progress

_COLOURS = {
    "ok": "green",
    "unsupported": "yellow",
    "wrong": "red",
    "failed": "red",
    "unreachable": "magenta",
    "invalid": "magenta",
}


class Terminal(AbstractContextManager["Terminal"]):
    """Prints to standard error, so that standard output stays for results. `quiet`: nothing but what went wrong."""

    def __init__(self, launches: int, *, quiet: bool = False, verbose: bool = False) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
        self.quiet, self.verbose = quiet, verbose
        self._launches = launches
        self._total = self._ended = 0
        self._progress: Progress | None = None
        self._task: Any = None
        self._phases: dict[str, str] = {}

    def __enter__(self) -> Terminal:
        if self.console.is_terminal and not self.quiet:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("launches,"),
                TimeElapsedColumn(),
                TextColumn("gone,"),
                TimeRemainingColumn(),
                TextColumn("left"),
                console=self.console,
                transient=True,
            )
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()

    def begins(self, cells: Sequence[Cell]) -> None:
        cached = sum(cell.verdict == "cached" for cell in cells)
        self._total, self._ended = len(cells) - cached, 0
        to_run = sum(cell.verdict == "run" for cell in cells)
        if not self.quiet:
            known = f", {cached} already in the store" if cached else ""
            self.console.print(f"{len(cells)} cells{known}: {to_run} to run")
        if self._progress:
            self._task = self._progress.add_task("", total=to_run * self._launches)

    def phase(self, place: str, text: str) -> None:
        """What is done where: on a terminal all places side by side, else a line at each change."""
        self._phases.pop(place, None)
        if text:
            self._phases[place] = f"{place}: {text}" if place else text
            if not self._progress and not self.quiet:
                self._print(f"  {self._phases[place]}")
        self._describe()

    def _describe(self) -> None:
        if self._progress:
            self._progress.update(self._task, description=_escaped(" · ".join(self._phases.values())))

    def step(self, step: Step, event: str) -> None:
        if event == "failed" and not self.quiet:
            self._print(f"  failed to {step.title}")
        elif self.verbose:
            self._print(f"  {event}: {step.title}")
        elif event == "started":
            self._phases[""] = step.title
            if not self._progress and not self.quiet and step.kind in ("train", "compress"):  # may take hours
                self._print(f"  {step.title}")
            self._describe()

    def launched(self, cell: Cell, launch: int) -> None:
        if self._progress:
            self._progress.advance(self._task)
        if self.verbose:
            self._print(f"  launch {launch + 1}: {_name(cell)}")

    def ended(self, cell: Cell, record: Record) -> None:
        self._ended += 1
        if self.quiet and record.status in ("ok", "unsupported"):
            return
        width = len(str(self._total))
        colour = _COLOURS[record.status]
        result = " ".join(result_text(record).split())
        self._print(
            f"[{self._ended:>{width}}/{self._total}] {record.status:<11} {_name(cell)}  {result}",
            style=colour if record.status != "ok" else None,
        )

    def _print(self, text: str, style: str | None = None) -> None:
        self.console.print(printable(text), style=style, markup=False)


def result_text(record: Record) -> str:
    """The cell's outcome in a few words: latency with interval (instructions where there is none) and quality, or the reason why not."""
    if record.status != "ok":
        return record.reason or ""
    from results.quality import QUALITIES
    from results.stats import median_interval

    latency, instructions = record.measurement("latency"), record.measurement("instructions")
    words = []
    if latency and latency.samples:
        interval = median_interval(latency.samples)
        words.append(f"{_time(interval.estimate)}")
        if interval.low is not None and interval.high is not None:
            words.append(f"[{_time(interval.low)}, {_time(interval.high)}]")
        if latency.origin != "measured":
            words.append(f"({latency.origin})")
    elif instructions and instructions.samples:
        words.append(f"{median_interval(instructions.samples).estimate:,.0f} instructions")
    judged = ((m.metric, m.samples) for m in record.measurements if m.metric in QUALITIES)
    words += [f"{metric} {QUALITIES[metric].estimate(samples):.1%}" for metric, samples in judged if samples is not None]
    return " ".join(words)


def _time(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def _name(cell: Cell) -> str:
    point = f" t{cell.point.threads} b{cell.point.batch}" if (cell.point.threads, cell.point.batch) != (1, 1) else ""
    point += "".join(f" {axis}={cell.point.labels[axis]}" for axis in STATE_AXES if cell.point.labels[axis])
    where = "" if cell.target.name == "local" else f" @{cell.target.name}"
    return f"{cell.workload.label} | {cell.method.label} | {cell.backend.label}{where}{point}"


def _escaped(text: str) -> str:
    return printable(text).replace("[", r"\[")
