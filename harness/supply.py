"""What a plan's data sets have to download, and doing so before anything is run: a network that fails is no cell's fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness import plugins
from harness.data import Source
from harness.plan import Cell


def downloads(cells: Sequence[Cell]) -> dict[Source, str]:
    """What is not here yet, each with a data set of the cells that would run that wants it; nothing is fetched."""
    wanted = dict.fromkeys(cell.workload.data for cell in cells if cell.verdict == "run")
    found: dict[Source, str] = {}
    for name in wanted:
        source: Source = plugins.named("data", name).source()
        if source.download_bytes:
            found.setdefault(source, name)
    return found


def download_text(source: Source) -> str:
    return f"to download: {source.where}, {source.download_bytes / 1e6:,.1f} MB"


def fetch(cells: Sequence[Cell], say: Callable[[str], None]) -> None:
    """Download it all; UserError where that fails."""
    for source, data in downloads(cells).items():
        say(download_text(source))
        plugins.named("data", data).load("test", 1)
