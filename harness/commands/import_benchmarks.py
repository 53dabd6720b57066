"""`assay import-benchmarks`: what pytest-benchmark has timed, as records of the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.commands.options import StoreOption, store_url
from results.printable import printable

MAX_BYTES = 1 << 30


def import_benchmarks(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE.json...", help="What `pytest --benchmark-json FILE.json` wrote: one a process launch."),
    ],
    suite: Annotated[
        str, typer.Option("--suite", metavar="NAME", help="By which `report` and `compare` find it.")
    ] = "benchmarks",
    target: Annotated[str, typer.Option("--target", "-t", metavar="NAME", help="The device it was timed on.")] = "local",
    baseline: Annotated[
        str | None, typer.Option("--baseline", metavar="METHOD", help="What the other methods are compared with.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Keep what pytest-benchmark has timed, every sample of it, as a run with a record for each benchmark.

    Times get intervals where there are two launches at least: run the benchmarks again, into another file.

    \b
    Example:
      assay import-benchmarks first.json second.json third.json --suite kernels --baseline dense
      assay report --suite kernels --out out/kernels
    """
    from harness.errors import UserError
    from results.pytest_benchmark import benchmark_run, keep
    from results.store import open_store

    documents = [_read(file) for file in files]
    try:
        run, cells, records = benchmark_run(documents, suite=suite, target=target, baseline=baseline)
    except ValueError as error:
        raise UserError(f"{', '.join(map(str, files))}: {error}") from error
    with open_store(store_url(store)) as opened:
        kept = keep(opened, run, cells, records)
    before = "" if kept == len(records) else f", {len(records) - kept} of them there already"
    print(printable(f"{len(records)} records of {suite}{before}: assay report --run {run.id} --out DIR"))


def _read(file: Path) -> Any:
    from harness.errors import UserError

    try:
        if (size := file.stat().st_size) > MAX_BYTES:
            raise UserError(f"{file} has {size:,} bytes; at most {MAX_BYTES:,} are read")
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{file} is no JSON: {error}") from error
