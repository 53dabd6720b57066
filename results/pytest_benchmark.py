"""What pytest-benchmark has timed, as a run of records: its JSON (`--benchmark-json FILE`) with every sample and the machine.

A benchmark may say what it is, in `benchmark.extra_info["assay"]`, where everything may be left out:

    {"model": "64→64, 56², 3×3", "method": "1x16@0.75", "backend": "native", "threads": 1, "batch": 1,
     "operator": {"op": "Conv", "macs": 28901376, "bytes": 500000, "format": "list 16x1", "sparsity": 0.75},
     "roofline": {"peak_flops": 2.4e11, "bandwidth_bytes_per_s": 2.0e10}}

`model` is else the test's name, `method` its parameters; `operator` and `roofline` are those of results/profile.py, and give a page its
operations a second and their share of the peak.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

from results.profile import parse_profile
from results.record import Axes, Json, Measurement, PlannedCell, Record, Run, Samples, canonical_sha256, cell_key
from results.store import Store

MACHINE = ("machine", "processor", "system", "release")
CPU = ("arch", "bits", "brand_raw", "count", "flags", "l1_data_cache_size", "l2_cache_size", "l3_cache_size", "vendor_id_raw")
"""What of `machine_info` a record keeps, and what tells machines apart: not its name, and no clock rate, which is that of the moment."""
MAX_SAMPLES = 10_000_000
"""Of one benchmark."""
_KEYS = ("model", "method", "backend", "threads", "batch", "operator", "roofline")


class Origin(NamedTuple):
    """What all benchmarks of one document share."""

    finished: str
    machine: Json
    """What tells machines apart, of MACHINE and CPU."""
    python: str
    commit: Json
    version: str
    """Of pytest-benchmark."""


def benchmark_run(
    documents: Sequence[Any], *, suite: str, target: str, baseline: str | None = None
) -> tuple[Run, Sequence[PlannedCell], Sequence[Record]]:
    """The run, its cells, and the record of each. Each document is one process launch of the same benchmarks; two at least give intervals.
    The same documents give the same ids.

    `baseline`: the method that others are compared with. ValueError says where a document is not pytest-benchmark's, or lacks samples, or
    is from another machine or commit than the first.
    """
    origins: list[Origin] = []
    launches: dict[Axes, dict[int, Json]] = {}
    for launch, given in enumerate(documents):
        document = _mapping(given, "the document")
        benchmarks = document.get("benchmarks")
        if not isinstance(benchmarks, list) or not benchmarks:
            raise ValueError("no benchmarks: it is not what `pytest --benchmark-json FILE` writes, or none was run")
        origins.append(_origin(document))
        if origins[-1]._replace(finished="") != origins[0]._replace(finished=""):
            raise ValueError(f"document {launch + 1} is from another machine, Python, commit or pytest-benchmark than the first")
        if given in documents[:launch]:
            raise ValueError(f"document {launch + 1} is one of those before it: the same launch does not count twice")
        for benchmark in (_mapping(each, f"benchmark {number}") for number, each in enumerate(benchmarks)):
            with _named(benchmark):
                axes = _axes(benchmark, _said(benchmark), target)
                mine = launches.setdefault(axes, {})
                if launch in mine:
                    raise ValueError(f"it is the second of {axes.model}, {axes.method}, {axes.backend}: name them apart")
                mine[launch] = benchmark
    run_id = _identity([documents, suite, target, baseline])
    records = [_record(axes, mine, run_id, origins) for axes, mine in launches.items()]
    cells = [PlannedCell(record.cell_key, record.input_hash, record.axes, at) for at, record in enumerate(records)]
    resolved = _suite(suite, records, baseline)
    return Run(run_id, suite, resolved, 0, origins[0].finished, origins[-1].finished, _who(origins[0])), cells, records


def keep(store: Store, run: Run, cells: Sequence[PlannedCell], records: Sequence[Record]) -> int:
    """How many of the records were not in the store before: an import that was stopped goes on."""
    if run.id not in {known.id for known in store.runs()}:
        store.begin_run(run, cells)
    missing = {cell.cell_key for cell, record in store.run_records(run.id) if record is None}
    for record in records:
        if record.cell_key in missing:
            store.append(record)
    return len(missing)


def _record(axes: Axes, launches: Mapping[int, Json], run_id: str, origins: Sequence[Origin]) -> Record:
    (first, *_), origin = launches.values(), origins[0]
    with _named(first):
        options = _mapping(first.get("options", {}), "`options`")
        latency = _latency(launches, str(options.get("timer")), origin.version)
        profile = _profile(axes, _said(first), latency)
    machine = canonical_sha256(origin.machine)
    provenance = {
        "who": _who(origin),
        "benchmark": {name: first.get(name) for name in ("name", "fullname", "group", "params")},
        "sampling": options,
        "device": {"machine_key": machine, "facts": origin.machine},
        **({} if profile is None else {"profile": profile}),
    }
    key = cell_key(axes)
    return Record(
        id=_identity([run_id, key]),
        run_id=run_id,
        cell_key=key,
        input_hash=canonical_sha256([key, machine, _who(origin), options]),
        machine_key=machine,
        axes=axes,
        status="ok",
        reason=None,
        error_class=None,
        started=origins[min(launches)].finished,
        finished=origins[max(launches)].finished,
        measurements=(latency,),
        provenance=provenance,
    )


@contextmanager
def _named(benchmark: Json) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"benchmark `{benchmark.get('fullname')}`: {error}") from error


def _said(benchmark: Json) -> Json:
    said = _mapping(_mapping(benchmark.get("extra_info", {}), "`extra_info`").get("assay", {}), '`extra_info["assay"]`')
    if unknown := sorted(set(said) - set(_KEYS)):
        raise ValueError(f'`extra_info["assay"]` has the unknown key `{unknown[0]}`; it may have {", ".join(_KEYS)}')
    return said


def _axes(benchmark: Json, said: Json, target: str) -> Axes:
    name, _, parameters = str(benchmark.get("name", "")).partition("[")
    labels = {
        "model": said.get("model", name),
        "method": said.get("method", parameters.removesuffix("]") or "plain"),
        "backend": said.get("backend", "pytest-benchmark"),
    }
    for axis, label in labels.items():
        if not isinstance(label, str) or not 0 < len(label) <= 200:
            raise ValueError(f"its {axis} is {label!r}, no text of 1 to 200 characters")
    counts = {axis: said.get(axis, 1) for axis in ("threads", "batch")}
    for axis, count in counts.items():
        if type(count) is not int or count < 1:
            raise ValueError(f"its {axis} is {count!r}, no number from 1 on")
    return Axes(**labels, target=target, **counts)


def _latency(launches: Mapping[int, Json], timer: str, version: str) -> Measurement:
    parts: list[Samples] = []
    for launch, benchmark in launches.items():
        stats = _mapping(benchmark.get("stats"), "`stats`")
        data, iterations = stats.get("data"), stats.get("iterations")
        if not isinstance(data, list) or not 0 < len(data) <= MAX_SAMPLES:
            raise ValueError("it has no samples (`stats.data`): write them by --benchmark-json, or add --benchmark-save-data")
        if not all(isinstance(value, (int, float)) and 0 <= value < math.inf for value in data):
            raise ValueError("some of its samples (`stats.data`) are no times")
        if type(iterations) is not int or not 0 < iterations < 2**32:
            raise ValueError(f"`stats.iterations` is {iterations!r}, no number from 1 on")
        parts.append(replace(Samples.of(data, launch), loops=np.full(len(data), iterations, np.uint32)))
    how = f"pytest-benchmark {version}: each sample is the mean of its loops' calls"
    return Measurement("latency", "s", "measured", how, Samples.joined(parts), clock=timer)


def _profile(axes: Axes, said: Json, latency: Measurement) -> Json | None:
    operator, roofline = said.get("operator"), said.get("roofline")
    if operator is None:
        if roofline is not None:
            raise ValueError("a `roofline` says nothing without the `operator` that is held against it")
        return None
    assert latency.samples is not None
    typical = {"name": axes.model, **_mapping(operator, "`operator`"), "time_s": float(np.median(latency.samples.value))}
    return parse_profile({"operators": [typical], "roofline": roofline}).to_json()


def _origin(document: Json) -> Origin:
    info, commit = (_mapping(document.get(name), f"`{name}`") for name in ("machine_info", "commit_info"))
    machine = {name: info.get(name) for name in MACHINE} | {
        f"cpu_{name}": value for name, value in _mapping(info.get("cpu", {}), "`machine_info.cpu`").items() if name in CPU
    }
    python = f"{info.get('python_implementation')} {info.get('python_implementation_version')}"
    told = {"commit": commit.get("id"), "dirty": commit.get("dirty")}
    return Origin(_utc(document.get("datetime")), machine, python, told, str(document.get("version")))


def _who(origin: Origin) -> Json:
    return {"git": origin.commit, "python": origin.python, "packages": {"pytest-benchmark": origin.version}}


def _suite(name: str, records: Sequence[Record], baseline: str | None) -> Json:
    def labels(axis: str) -> list[str]:
        return list(dict.fromkeys(getattr(record.axes, axis) for record in records))

    if baseline is not None and baseline not in labels("method"):
        raise ValueError(f"no benchmark is of the method `{baseline}`, only of {', '.join(labels('method'))}")
    return {
        "name": name,
        "about": "Benchmarks that pytest-benchmark has timed.",
        **{f"{axis}s": labels(axis) for axis in ("model", "method", "backend", "target")},
        "operating_points": [],
        "sampling": {},
        "baseline": {} if baseline is None else {"method": baseline},
        "tables": [],
        "figures": [],
    }


def _identity(value: Any) -> str:
    return str(UUID(hex=canonical_sha256(value)[:32]))


def _mapping(value: Any, what: str) -> Json:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} is {type(value).__name__}, no mapping")
    return value


def _utc(text: Any) -> str:
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ValueError(f"`datetime` is {text!r}, no time") from None
    return found.astimezone(UTC).isoformat(timespec="milliseconds")
