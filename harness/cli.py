"""The command line. Commands are thin: parse, call, print. Heavy imports wait inside them, so that `--help` answers at once."""

from __future__ import annotations

import enum
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from harness.commands import board, lease
from harness.commands.add import add
from harness.commands.compile import compile_
from harness.commands.import_benchmarks import import_benchmarks
from harness.commands.latency_table import latency_table
from harness.commands.options import InventoryOption, JsonOption, StoreOption, store_url
from harness.commands.release import release
from results.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.plan import Cell
    from harness.suite import Suite
    from results.record import Run
    from results.store import Quarantine, Store
    from targets.target import Target

app = typer.Typer(
    name="assay",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="What does a compression method really give on a real device?\n\n"
    "\b\nExamples:\n"
    "  assay plan smoke                   every cell of the suite, nothing is run\n"
    "  assay run smoke --out out/smoke    measure, then open out/smoke/index.html\n"
    "  assay bench model.onnx             one model file on every backend that reads it\n"
    "  assay doctor                       what makes this machine noisy, and how to mend it",
)

targets_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Devices: add one to the inventory, release one from quarantine."
)
app.add_typer(targets_app, name="targets")
targets_app.command()(add)
targets_app.command()(release)
app.add_typer(board.app, name="board")
app.add_typer(lease.app, name="lease")
app.command("compile")(compile_)
app.command("latency-table")(latency_table)
app.command("import-benchmarks")(import_benchmarks)

QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Only what went wrong, and where the report is.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Every step and every process launch.")]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--only", metavar="CELL", help="Only this cell: its id or the beginning of it, as `assay plan` prints; repeat it."
    ),
]
SuiteArgument = Annotated[
    str, typer.Argument(metavar="SUITE", help="A suite file, or the name of a suite that ships with Assay.")
]


class Listing(enum.StrEnum):
    """What `ls` can list."""

    models = "models"
    data = "data"
    methods = "methods"
    backends = "backends"
    targets = "targets"
    meters = "meters"
    suites = "suites"
    runs = "runs"


class ExportFormat(enum.StrEnum):
    csv = "csv"
    json = "json"
    parquet = "parquet"


@app.command()
def plan(
    suite: SuiteArgument,
    store: StoreOption = None,
    only: OnlyOption = None,
    inventory: InventoryOption = None,
    json_: JsonOption = False,
) -> None:
    """Show every cell, whether it would run and why not; run nothing.

    \b
    Example:
      assay plan smoke
      assay plan my_suite.yaml --json | jq '.cells[] | select(.verdict == "unsupported")'
    """
    from harness.show import plan_json, plan_text

    resolved, cells = _planned(suite, store_url(store), inventory, only, fresh=False)
    _say(json.dumps(plan_json(resolved, cells), indent=1) if json_ else plan_text(resolved, cells))


@app.command()
def run(
    suite: SuiteArgument,
    store: StoreOption = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder of the report. [default: out/SUITE]")] = None,
    only: OnlyOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure every cell again, also those the store can answer.")] = False,
    inventory: InventoryOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run a suite, keep every record, render the report. Goes on where an earlier run of it stopped.

    Exit status: 0 every cell ok or unsupported, 1 some cell wrong, failed, unreachable or invalid, 2 your input is at fault.

    \b
    Example:
      assay run smoke --out out/smoke
    """
    from harness.cache import cache_root, check_writable
    from harness.executor import Executor
    from harness.gates import gates_text
    from harness.progress import Terminal
    from harness.run import Conductor
    from harness.supply import fetch
    from results.record import GOOD_STATUSES
    from results.store import open_store

    url = store_url(store)
    resolved, cells = _planned(suite, url, inventory, only, fresh)
    folder = out or Path("out") / resolved.name
    check_writable(folder, "report folder", 16 << 20)
    check_writable(cache_root(), "cache folder ($ASSAY_CACHE)", 256 << 20)
    fetch(cells, lambda text: print(text, file=sys.stderr))
    with open_store(url) as opened:
        with (
            Terminal(resolved.sampling.launches, quiet=quiet, verbose=verbose) as terminal,
            Executor(os.cpu_count() or 1, terminal.step) as executor,
        ):
            conductor = Conductor(resolved, opened, executor, terminal)
            try:
                finished = conductor.conduct(cells)
            except KeyboardInterrupt:
                executor.stop()
                _interrupted(suite, conductor.ended, len([c for c in cells if c.verdict == "run"]))
        records = [record for _, record in opened.run_records(finished.id) if record is not None]
        index = _render(opened, finished.id, folder)
    bad = [record for record in records if record.status not in GOOD_STATUSES]
    counts = ", ".join(
        f"{sum(r.status == status for r in records)} {status}" for status in dict.fromkeys(r.status for r in records)
    )
    _say("\n".join(filter(None, (f"{len(records)} cells: {counts}", gates_text(resolved.gates, records), f"report: {index}"))))
    raise typer.Exit(1 if bad else 0)


@app.command()
def bench(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A model file: .onnx or .tflite.")],
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend", "-b", metavar="B", help="`name` or `name:key=value`; repeat it. [default: all that read the file]"
        ),
    ] = None,
    target: Annotated[str, typer.Option("--target", "-t", help="Where to measure.")] = "local",
    threads: Annotated[int, typer.Option("--threads", min=1, max=1024)] = 1,
    inputs: Annotated[
        Path | None,
        typer.Option("--inputs", metavar="FILE.npz", help="One array an input, by name or in order. [default: seeded random]"),
    ] = None,
    dim: Annotated[
        list[str] | None,
        typer.Option("--dim", metavar="NAME=SIZE", help="Size of a symbolic dimension; repeat it. [default: 1]"),
    ] = None,
    launches: Annotated[int, typer.Option("--launches", min=1, max=100, help="Process launches a backend.")] = 3,
    seconds: Annotated[float, typer.Option("--seconds", min=0.01, max=3600, help="Least seconds of timing a launch.")] = 1.0,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    inventory: InventoryOption = None,
    json_: JsonOption = False,
) -> None:
    """Measure one model file on several backends, interleaved, their answers checked against the format's reference.

    \b
    Example:
      assay bench model.tflite --backend litert --backend litert:delegate=none --threads 2
      assay bench model.onnx --json | jq '.results[].latency_s.median'
    """
    from harness import bench as benching
    from harness import plugins
    from harness.suite import Sampling

    choices = None if backend is None else tuple(plugins.parse_choice("backends", text) for text in backend)
    report = benching.bench(
        file,
        backends=choices,
        target=_target(target, inventory),
        threads=threads,
        inputs=inputs,
        sampling=Sampling(launches=launches, min_s=seconds),
        seed=seed,
        dims=benching.parse_dims(dim or []),
    )
    _say(json.dumps(report.to_json(), indent=1) if json_ else report.text())
    raise typer.Exit(0 if report.is_good else 1)


@app.command()
def compress(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="`name` or `name:key=value`.")],
    method: Annotated[str, typer.Argument(metavar="METHOD", help="`name` or `name:key=value`.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.onnx")],
    parameter: Annotated[
        list[str] | None, typer.Option("-p", metavar="KEY=VALUE", help="A parameter of the method; repeat it.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    json_: JsonOption = False,
) -> None:
    """Apply one method to one model, write the ONNX file and print what the method claims.

    \b
    Example:
      assay compress resnet8 magnitude_prune -p sparsity=0.8 -o pruned.onnx
    """
    from harness.cache import cache_root, check_writable
    from harness.compress import compress_to
    from harness.show import claims_text

    check_writable(out.resolve().parent, "output folder", 1 << 20)
    check_writable(cache_root(), "cache folder ($ASSAY_CACHE)", 256 << 20)
    result = compress_to(model, method, parameter or [], out, seed)
    _say(json.dumps(result.to_json(), indent=1) if json_ else claims_text(result))


@app.command()
def report(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the report.")],
    store: StoreOption = None,
    suite: Annotated[
        str | None, typer.Option("--suite", metavar="NAME", help="Its latest run. [default: the latest run of all]")
    ] = None,
    run_id: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="One run: an id, or SUITE~1 for the one before its latest.")
    ] = None,
) -> None:
    """Render the report of a run from the store; needs no device.

    \b
    Example:
      assay report --suite smoke --out out/smoke
    """
    from harness.cache import check_writable
    from results.store import open_store

    check_writable(out, "report folder", 16 << 20)
    with open_store(store_url(store), must_exist=True) as opened:
        _say(f"report: {_render(opened, _chosen_run(opened, suite, run_id), out)}")


@app.command()
def compare(
    before: Annotated[
        str, typer.Argument(metavar="A", help="A run: SUITE (its latest), SUITE~1 (the one before), ... or an id.")
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="The run that is held against it, named alike.")],
    store: StoreOption = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder of a page. [default: no page]")] = None,
    least: Annotated[float, typer.Option("--least", min=0, max=1000, help="Smallest change that is told, in percent.")] = 2.0,
    json_: JsonOption = False,
) -> None:
    """Say what changed significantly from run A to run B, worst first; of what did not change, say how much that is.

    Exit status: 0 nothing got worse, 1 something did, 2 your input is at fault.

    \b
    Example:
      assay compare smoke~1 smoke
      assay compare 5fb45339 smoke --least 5 --out out/changes
    """
    from harness.cache import check_writable
    from harness.errors import UserError
    from reports.compare import compare as compared
    from reports.diff_page import write_diff
    from reports.diff_text import diff_json, diff_text
    from results.store import open_store

    with open_store(store_url(store), must_exist=True) as opened:
        runs = [_named_run(opened, name) for name in (before, after)]
        old, new = ([record for _, record in opened.run_records(run.id) if record is not None] for run in runs)
    if runs[0].id == runs[1].id:
        raise UserError(f"`{before}` and `{after}` are one run, {runs[0].id}: name two")
    diff = compared(runs[0], runs[1], old, new, least / 100)
    if out is not None:
        check_writable(out, "page folder", 16 << 20)
        index = write_diff(diff, old, new, out)
    _say(json.dumps(diff_json(diff), indent=1) if json_ else diff_text(diff))
    if out is not None:
        print(f"page: {index}", file=sys.stderr)
    raise typer.Exit(1 if diff.is_worse else 0)


@app.command()
def export(
    format_: Annotated[
        ExportFormat, typer.Option("--format", help="csv: a row a metric; json: a record a line; parquet: a row a sample.")
    ],
    store: StoreOption = None,
    suite: Annotated[str | None, typer.Option("--suite", metavar="NAME", help="Only this suite's records.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="[default: standard output]")] = None,
) -> None:
    """Write the store's records in a format that other programs read.

    \b
    Example:
      assay export --format csv --suite smoke > smoke.csv
    """
    from results.export import write
    from results.store import open_store

    with open_store(store_url(store), must_exist=True) as opened:
        records = opened.records(suite)
        if out is None:
            write(records, sys.stdout.buffer, format_.value)
            return
        with out.open("wb") as file:
            write(records, file, format_.value)


@app.command(name="ls")
def list_(
    what: Annotated[Listing, typer.Argument(metavar="|".join(Listing.__members__))],
    store: StoreOption = None,
    inventory: InventoryOption = None,
    probe: Annotated[bool, typer.Option("--probe", help="Call every target, and say which answer.")] = False,
    json_: JsonOption = False,
) -> None:
    """List what a suite may name, or what the store holds.

    \b
    Example:
      assay ls methods
    """
    from harness import show

    if what is Listing.targets:
        from harness.devices import states

        found = _targets(inventory)
        rows = show.target_rows(found, _quarantined(store_url(store)), states(found) if probe else None)
    elif what is Listing.runs:
        from results.store import open_store

        with open_store(store_url(store), must_exist=True) as opened:
            rows = show.run_rows(opened)
    else:
        rows = show.rows(what.value)
    _say(json.dumps(rows, indent=1) if json_ else show.columns(rows))


@app.command()
def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="A record or a cell (its key), or the beginning of one.")],
    store: StoreOption = None,
    json_: JsonOption = False,
) -> None:
    """Show everything that is known of a record: measurements, provenance, hashes; of a cell: its latest record and its history."""
    from harness.show import record_text
    from results.store import open_store

    with open_store(store_url(store), must_exist=True) as opened:
        record = opened.record(id_)
        history = opened.history(record.cell_key, record.machine_key)
        intact = opened.verify(record.id)
    _say(json.dumps(record.to_json(), indent=1) if json_ else record_text(record, history, intact))


@app.command()
def doctor(
    target: Annotated[str, typer.Argument(metavar="[TARGET]")] = "local",
    inventory: InventoryOption = None,
    noise: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, max=3600, help="How long to run an A/A for the noise floor; 0: not at all.")
    ] = 5.0,
    json_: JsonOption = False,
) -> None:
    """Say what is missing on a device, what makes it noisy, and how to mend it."""
    from harness.doctor import examine
    from harness.show import findings_text

    findings = examine(_target(target, inventory), noise)
    _say(json.dumps([f.to_json() for f in findings], indent=1) if json_ else findings_text(target, findings))
    raise typer.Exit(1 if any(finding.level == "missing" for finding in findings) else 0)


@app.command()
def setup(
    backend: Annotated[str, typer.Argument(metavar="BACKEND", help="One that `assay ls backends` says to set up.")],
) -> None:
    """Install a backend's runtime into an environment of its own, in the cache folder, where it cannot share Assay's.

    You accept the runtime's own licence by it.

    \b
    Example:
      assay setup tvm
    """
    from harness import environment, plugins
    from harness.cache import cache_root, check_writable

    plugins.load("backends", backend)
    check_writable(cache_root(), "cache folder ($ASSAY_CACHE)", 1 << 30)
    folder = environment.setup(backend)
    found = ", ".join(f"{distribution} {version}" for distribution, version in environment.versions(backend).items())
    _say(f"{backend}: {found}\nin {folder}; delete that folder to be rid of it")


def main() -> None:
    """Entry point: a user's error is one message and exit status 2, never a traceback."""
    from harness.errors import BuildError, UserError

    try:
        app()
    except UserError as error:
        _fail(str(error))
    except BuildError as error:
        _fail(str(error), status=1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        # Of results, reports and targets, whose modules are imported only by the commands that need them.
        if {kind.__name__ for kind in type(error).__mro__} & {"StoreError", "ReportError", "TargetError"}:
            _fail(str(error))
        raise


def _quarantined(url: str) -> dict[str, Quarantine]:
    """A store that does not exist yet has no one in quarantine."""
    from results.store import exists, open_store

    if not exists(url):
        return {}
    with open_store(url) as opened:
        return opened.quarantined()


def _say(text: str) -> None:
    """To standard output. What a suite, a file or a device named cannot act on the terminal."""
    print(printable(text, lines=True))


def _fail(message: str, status: int = 2) -> NoReturn:
    print(printable(f"assay: {message}", lines=True), file=sys.stderr)
    sys.exit(status)


def _interrupted(suite: str, done: int, total: int) -> NoReturn:
    print(f"\nassay: interrupted; {done} of {total} cells are recorded. Go on with: assay run {suite}", file=sys.stderr)
    sys.exit(130)


def _planned(
    reference: str, url: str, inventory: Path | None, only: Sequence[str] | None, fresh: bool
) -> tuple[Suite, tuple[Cell, ...]]:
    """The suite's cells, with those that the store can answer marked; a store that does not exist yet answers none."""
    from harness.errors import UserError
    from harness.identity import identify
    from harness.plan import Done, plan, restricted
    from harness.suite_file import load_suite
    from results.store import exists, open_store

    targets = _targets(inventory)
    suite = load_suite(reference, known_targets=targets)
    identity = identify(suite, targets)

    def done(hashes: Sequence[str]) -> dict[str, Done]:
        if fresh or not exists(url):
            return {}
        with open_store(url) as store:
            return {key: Done(record_id, status) for key, (record_id, status) in store.finished_cells(hashes).items()}

    cells = restricted(plan(suite, targets, identity, done), only or ())
    if all(cell.verdict == "excluded" for cell in cells):
        raise UserError(f"{suite.path}: `include` and `exclude` leave no cell of {len(cells)}; loosen a condition")
    return suite, cells


def _render(store: Store, run_id: str, out: Path) -> Path:
    from reports.report import write_report

    finished = store.run(run_id)
    records = [record for _, record in store.run_records(run_id) if record is not None]
    return write_report(finished, records, out, store.past(run_id, "latency"))


def _chosen_run(store: Store, suite: str | None, run_id: str | None) -> str:
    from harness.errors import UserError, nearest

    if run_id is not None:
        return _named_run(store, run_id).id
    runs = store.runs()
    if suite is not None:
        runs = [run for run in runs if run.suite == suite] or _no_run(suite, nearest(suite, {run.suite for run in runs}))
    if not runs:
        raise UserError("the store holds no run yet; start one with `assay run SUITE`")
    return max(runs, key=lambda run: run.started).id


def _named_run(store: Store, name: str) -> Run:
    """The latest run of a suite, the n-th before it (`smoke~2`), or the run whose id begins so."""
    from harness.errors import UserError, nearest

    runs = store.runs()
    suites = {run.suite for run in runs}
    suite, tilde, back = name.rpartition("~") if "~" in name and name not in suites else (name, "", "0")
    if suite not in suites:
        if tilde:
            _no_run(suite, nearest(suite, suites))
        return store.run(name)
    if not (back.isascii() and back.isdigit()):
        raise UserError(f"`{name}`: after `~` stands how many runs back, as in `{suite}~1`")
    of_suite = [run for run in runs if run.suite == suite]
    if int(back) >= len(of_suite):
        raise UserError(
            f"the store holds {len(of_suite)} {'run' if len(of_suite) == 1 else 'runs'} of suite `{suite}`: there is no `{name}`"
        )
    return of_suite[int(back)]


def _no_run(suite: str, hint: str) -> NoReturn:
    from harness.errors import UserError

    raise UserError(f"the store holds no run of suite `{suite}`.{hint}")


def _targets(inventory: Path | None) -> dict[str, Target]:
    from targets.inventory import load_inventory

    return dict(load_inventory(inventory))


def _target(name: str, inventory: Path | None) -> Target:
    from harness.errors import UserError, nearest

    targets = _targets(inventory)
    if name not in targets:
        raise UserError(f"unknown target `{name}`.{nearest(name, targets)}")
    return targets[name]


if __name__ == "__main__":
    main()
