"""Bench: one model file on several backends, launches interleaved in random order, answers checked against the format's reference."""

from __future__ import annotations

import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness import measure, plugins
from harness.artifact import Artifact
from harness.backend import refusal
from harness.check import Check
from harness.compression import Numeric
from harness.errors import BuildError, Unsupported, UserError, WrongAnswer, nearest
from harness.export import Exported, Signature, from_file, signature
from harness.plugins import Choice
from harness.suite import Sampling, Workload
from results.printable import printable
from results.record import Measurement, Origin, Status
from results.stats import median_interval
from targets.data import data_root
from targets.lease import leased
from targets.quiet import HERE, timing, working
from targets.session import CommandFailed, Session, TargetError, Unreachable
from targets.state import restore
from targets.target import Target
from targets.transports import connect

SCHEMA = 1
Array = npt.NDArray[Any]

REFERENCE = Path(__file__).parent / "runners" / "reference.py"
REFERENCE_TIMEOUT_S = 600.0
MAX_INPUTS_BYTES = 1 << 30
SMALL_INTEGERS = 2
"""Random integers that are not 8-bit codes are indices, masks or lengths to some network: 0 and 1 are valid to most."""


@dataclass(frozen=True, slots=True)
class BenchResult:
    """What one backend made of the file."""

    backend: str
    target: str
    status: Status
    reason: str | None
    origin: Origin
    artifact_bytes: int | None = None
    check: Check | None = None
    measurements: tuple[Measurement, ...] = ()

    def to_json(self) -> dict[str, Any]:
        peak = self._values("peak_memory")
        return {
            "backend": self.backend,
            "target": self.target,
            "status": self.status,
            "reason": self.reason,
            "latency_s": self._latency(),
            "peak_memory_bytes": None if peak is None else int(peak.max()),
            "artifact_bytes": self.artifact_bytes,
            "max_abs_error": None if self.check is None else self.check.max_abs_error,
            "origin": self.origin,
        }

    def _latency(self) -> dict[str, Any] | None:
        """Median with its 95 % interval over process launches (null with one), and every timed sample in order."""
        measurement = self._measurement("latency")
        if measurement is None or measurement.samples is None:
            return None
        interval = median_interval(measurement.samples)
        timed = measurement.samples.value[measurement.samples.timed]
        return {"median": interval.estimate, "low": interval.low, "high": interval.high, "samples": timed.tolist()}

    def _values(self, metric: str) -> npt.NDArray[np.float64] | None:
        measurement = self._measurement(metric)
        return None if measurement is None or measurement.samples is None else measurement.samples.value

    def _measurement(self, metric: str) -> Measurement | None:
        return next((m for m in self.measurements if m.metric == metric), None)


@dataclass(frozen=True, slots=True)
class BenchReport:
    file: Path
    results: tuple[BenchResult, ...]

    @property
    def is_good(self) -> bool:
        """Every backend that could be asked gave right answers and times."""
        return all(result.status in ("ok", "unsupported") for result in self.results) and any(
            r.status == "ok" for r in self.results
        )

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "results": [result.to_json() for result in self.results]}

    def text(self) -> str:
        """One line a backend."""
        from harness.show import columns

        return columns([_row(result) for result in self.results])


@dataclass
class _Open:
    """A backend under measurement."""

    choice: Choice
    target: Target
    artifact: Artifact | None = None
    deployed: measure.Deployed | None = None
    check: Check | None = None
    launches: list[measure.Launch] = field(default_factory=list)

    def ended(self, status: Status, reason: str | None = None) -> BenchResult:
        return BenchResult(
            self.choice.label,
            self.target.name,
            status,
            reason,
            self.target.origin,
            None if self.artifact is None else self.artifact.size_bytes,
            self.check,
            measure.measurements(self.launches, self.target) if status == "ok" else (),
        )

    def failed(self, error: Exception) -> BenchResult:
        statuses: dict[type[Exception], Status] = {Unsupported: "unsupported", WrongAnswer: "wrong", Unreachable: "unreachable"}
        return self.ended(statuses.get(type(error), "failed"), str(error))


def bench(
    file: Path,
    *,
    backends: Sequence[Choice] | None,
    target: Target,
    threads: int,
    inputs: Path | None,
    sampling: Sampling,
    seed: int,
    dims: Mapping[str, int] | None = None,
) -> BenchReport:
    """Measure `file` on every backend asked for; on all that read it when None is given. UserError before anything is measured."""
    choices = (
        tuple(plugins.resolve("backends", name, {}) for name in readers(file))
        if backends is None
        else tuple(dict.fromkeys(backends))
    )
    if not choices:
        raise UserError(
            f"{file}: no backend reads {file.suffix or 'a file without a suffix'} files; export it as .onnx or .tflite"
        )
    exported = from_file(file, dims)
    sets = read_sets(inputs, signature(exported)) if inputs else random_sets(signature(exported), sampling.check_inputs, seed)
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as scratch:
        with working("localhost"):
            numeric, reference = _reference(exported, sets, Path(scratch))
        question = _Question(exported, numeric, sets, reference, threads, sampling, Path(scratch))
        results = _results(question, [_Open(choice, target) for choice in choices], target, seed)
    return BenchReport(file, tuple(results[choice.label] for choice in choices))


def parse_dims(texts: Sequence[str]) -> dict[str, int]:
    """`height=640` texts as sizes by name; UserError for anything that is not a size."""
    dims = {}
    for text in texts:
        name, _, size = text.rpartition("=")
        if not name or not size.isdecimal() or int(size) < 1:
            raise UserError(f"--dim {text}: expected NAME=SIZE with a size of at least 1")
        dims[name] = int(size)
    return dims


def readers(file: Path) -> tuple[str, ...]:
    """The backends that take such a file as it is."""
    return tuple(name for name in plugins.names("backends") if file.suffix in plugins.load("backends", name).reads)


def random_sets(wanted: Signature, count: int, seed: int) -> list[list[Array]]:
    """`count` sets of input tensors: standard normal floats, all 256 values of 8-bit codes, small other integers."""
    rng = np.random.default_rng(seed)

    def tensor(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        if dtype.kind == "f":
            return np.asarray(rng.standard_normal(shape)).astype(dtype)
        if dtype.kind in "iub":
            limits = np.iinfo(dtype) if dtype.itemsize == 1 and dtype.kind != "b" else None
            low, high = (limits.min, limits.max + 1) if limits else (0, SMALL_INTEGERS)
            return np.asarray(rng.integers(low, high, shape)).astype(dtype)
        raise UserError(f"inputs of type {dtype} cannot be made up; give them with --inputs FILE.npz")

    return [[tensor(spec.shape, np.dtype(spec.dtype)) for spec in wanted.inputs] for _ in range(count)]


def read_sets(path: Path, wanted: Signature) -> list[list[Array]]:
    """One set of input tensors from an npz file: by the inputs' names, or in order where no name is theirs."""
    if not path.is_file() or path.stat().st_size > MAX_INPUTS_BYTES:
        raise UserError(f"{path}: no such file, or larger than {MAX_INPUTS_BYTES} bytes; save the inputs with numpy.savez")
    try:
        with zipfile.ZipFile(path):  # np.load takes other files, too
            pass
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file.items())
    except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
        raise UserError(f"{path}: not an npz file ({error}); save the inputs with numpy.savez") from None
    names = [spec.name for spec in wanted.inputs]
    if len(arrays) != len(names):
        raise UserError(f"{path}: {len(arrays)} arrays for the {len(names)} inputs {', '.join(names)}")
    given = [arrays[name] for name in names] if set(arrays) == set(names) else list(arrays.values())
    for name in set(arrays) - set(names) if set(arrays) & set(names) else ():
        raise UserError(f"{path}: no input is named `{name}`.{nearest(name, names)}")
    for spec, array in zip(wanted.inputs, given, strict=True):
        if array.shape != spec.shape or array.dtype != np.dtype(spec.dtype):
            raise UserError(
                f"{path}: input `{spec.name}` is {spec.dtype}{list(spec.shape)}, not {array.dtype}{list(array.shape)}; "
                "a symbolic dimension counts as 1 unless --dim gives it a size"
            )
    return [given]


@dataclass(frozen=True)
class _Question:
    exported: Exported
    numeric: Numeric
    sets: list[list[Array]]
    reference: tuple[measure.Answer, ...]
    threads: int
    sampling: Sampling
    scratch: Path


def _reference(exported: Exported, sets: list[list[Array]], scratch: Path) -> tuple[Numeric, tuple[measure.Answer, ...]]:
    """What the file must answer, computed on this machine, and how closely."""
    names = (exported.path.name, *exported.facts.get("external_data", ()))
    artifact = Artifact.of(exported.path.parent.resolve(), names, {})
    with connect(Target("reference", work_dir=str(scratch / "reference"))) as session:
        deployed = measure.deploy(session, artifact, REFERENCE, {"threads": 1}, ())
        try:
            answers = measure.answer_each(session, deployed, sets, timeout_s=REFERENCE_TIMEOUT_S)
        except TargetError as error:
            raise UserError(f"{exported.path}: the reference runtime cannot run it: {error}") from error
    is_quantized = exported.numeric == "int8" or answers[0].reply.facts["quantized"]
    return "int8" if is_quantized else "float32", answers


def _results(question: _Question, cells: Sequence[_Open], target: Target, seed: int) -> dict[str, BenchResult]:
    """Check all, then launch those that answered right, round by round in an order of the seed."""
    ended: dict[str, BenchResult] = {}

    def attempt(cell: _Open, work: Callable[[Session, _Question, _Open], None]) -> None:
        try:
            work(session, question, cell)
        except (Unsupported, BuildError, WrongAnswer, CommandFailed) as error:
            ended[cell.choice.label] = cell.failed(error)

    try:
        with connect(target) as connection, leased(connection, target, on_wait=_tell) as held:
            session = held.session
            for remark in restore(session, target, data_root() / "journals"):
                print(printable(remark), file=sys.stderr)
            for cell in cells:
                attempt(cell, _prepare)
            rng = np.random.default_rng(seed)
            for _ in range(question.sampling.launches):
                waiting = [cell for cell in cells if cell.choice.label not in ended]
                for index in rng.permutation(len(waiting)):
                    attempt(waiting[index], _launch)
    except TargetError as error:
        ended |= {cell.choice.label: cell.failed(error) for cell in cells if cell.choice.label not in ended}
    return ended | {cell.choice.label: cell.ended("ok") for cell in cells if cell.choice.label not in ended}


def _tell(whom: str) -> None:
    print(printable(f"waiting for {whom}, who has the device"), file=sys.stderr)


def _prepare(session: Session, question: _Question, cell: _Open) -> None:
    """Build, deploy and check; nothing is timed before the answer is right."""
    exported, name = question.exported, cell.choice.name
    backend = plugins.instantiate("backends", cell.choice)
    if exported.path.suffix not in backend.reads:
        raise Unsupported(
            f"{name} does not read {exported.path.suffix} files; it reads {', '.join(backend.reads) or 'none as they are'}"
        )
    workload = Workload(Choice(exported.path.stem), "inputs")
    if reason := refusal(cell.choice, workload, question.numeric, cell.target, question.threads):
        raise Unsupported(reason)
    with working(HERE):
        cell.artifact = backend.build(exported, cell.target, Path(tempfile.mkdtemp(dir=question.scratch)))
    with working(cell.target.host):
        cell.deployed = measure.deploy_backend(session, cell.artifact, cell.choice, cell.target, question.threads)
        answers = measure.answer_each(session, cell.deployed, question.sets, timeout_s=question.sampling.max_launch_s)
    expected = [output for answer in question.reference for output in answer.outputs]
    cell.check = measure.check([output for answer in answers for output in answer.outputs], expected, question.numeric)
    measure.require(cell.check)


def _launch(session: Session, question: _Question, cell: _Open) -> None:
    assert cell.deployed is not None
    with timing(cell.target.host):
        launch = measure.time_launch(session, cell.deployed, question.sets[0], batch=None, sampling=question.sampling)
    measure.require(measure.check(launch.outputs, question.reference[0].outputs, question.numeric))
    cell.launches.append(launch)


def _row(result: BenchResult) -> dict[str, str]:
    document = result.to_json()
    latency = document["latency_s"] or {"median": None, "low": None, "high": None}
    return {
        "backend": result.backend,
        "target": result.target,
        "status": result.status,
        "latency": _text(latency["median"], "s"),
        "low": _text(latency["low"], "s"),
        "high": _text(latency["high"], "s"),
        "peak_memory": _text(document["peak_memory_bytes"], "B"),
        "size": _text(document["artifact_bytes"], "B"),
        "max_abs_error": "-" if document["max_abs_error"] is None else f"{document['max_abs_error']:.2g}",
        "reason": (result.reason or "").splitlines()[0] if result.reason else result.origin,
    }


def _text(value: float | None, unit: str) -> str:
    """Three digits with an SI prefix."""
    if value is None:
        return "-"
    prefix, scale = next(
        ((p, s) for p, s in (("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0), ("m", 1e-3), ("µ", 1e-6)) if value >= s), ("n", 1e-9)
    )
    return f"{value / scale:.3g} {prefix}{unit}"
