"""What one cell left behind: frozen values with raw samples, units and origin. No statistics here."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

SCHEMA_VERSION = 1
"""Version of the record document. 1: first."""

Status = Literal["ok", "unsupported", "wrong", "failed", "unreachable", "invalid"]
Origin = Literal["measured", "emulated", "simulated", "estimated"]
Json = Mapping[str, Any]

STATUSES: tuple[Status, ...] = ("ok", "unsupported", "wrong", "failed", "unreachable", "invalid")
ORIGINS: tuple[Origin, ...] = ("measured", "emulated", "simulated", "estimated")
GOOD_STATUSES: frozenset[Status] = frozenset({"ok", "unsupported"})

COLUMNS: Mapping[str, np.dtype[Any]] = {
    "value": np.dtype(np.float64),
    "launch": np.dtype(np.uint16),
    "timed": np.dtype(np.bool_),
    "loops": np.dtype(np.uint32),
    "start_s": np.dtype(np.float64),
    "label": np.dtype(np.int32),
}
"""Type of each column of Samples, in its order. Exact, so that what is stored, hashed and read back are the same bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Raw samples of one metric in the order they were taken: parallel columns of one length n, outliers and warm-up included."""

    value: npt.NDArray[np.float64]
    """[n] in the measurement's unit."""
    launch: npt.NDArray[np.uint16]
    """[n] which process launch (0, 1, ...) took the sample."""
    timed: npt.NDArray[np.bool_]
    """[n] False for warm-up samples, which are kept and never used in a statistic."""
    loops: npt.NDArray[np.uint32]
    """[n] how many inner repetitions one sample averages."""
    start_s: npt.NDArray[np.float64]
    """[n] seconds from the launch's first sample, on the measurement's clock; NaN where no clock applies."""
    label: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    """[n] what the example really is, where a sample is an answer to one; -1 elsewhere, which is what none at all stands for."""

    def __post_init__(self) -> None:
        if not len(self.label):
            object.__setattr__(self, "label", np.full(len(self.value), -1, np.int32))
        columns: dict[str, npt.NDArray[Any]] = {column.name: getattr(self, column.name) for column in dataclasses.fields(self)}
        for name, values in columns.items():
            if values.ndim != 1 or values.dtype != COLUMNS[name]:
                raise ValueError(f"sample column `{name}` is {values.dtype}{list(values.shape)}, not {COLUMNS[name]}[n]")
        lengths = {len(values) for values in columns.values()}
        if len(lengths) != 1:
            raise ValueError(f"sample columns have different lengths: {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Samples):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, c.name), getattr(other, c.name), equal_nan=c.name in ("value", "start_s"))
            for c in dataclasses.fields(self)
        )

    @staticmethod
    def joined(parts: Sequence[Samples]) -> Samples:
        """One after the other."""
        return Samples(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS})

    @staticmethod
    def of(values: npt.ArrayLike, launch: int = 0, labels: npt.ArrayLike = -1) -> Samples:
        """Timed samples without a clock: one value (a size) or one value an example (top-1 hits)."""
        value = np.atleast_1d(np.asarray(values, dtype=np.float64))
        n = len(value)
        return Samples(
            value,
            np.full(n, launch, np.uint16),
            np.ones(n, np.bool_),
            np.ones(n, np.uint32),
            np.full(n, np.nan),
            np.array(np.broadcast_to(np.asarray(labels, np.int32), n)),
        )


@dataclass(frozen=True, slots=True)
class Measurement:
    """One metric of one cell: raw samples with unit, clock domain and origin, or null with the reason."""

    metric: str
    """`latency`, `top1`, `peak_memory`, `artifact_size`, `energy` ..."""
    unit: str
    """SI: `s`, `J`, `W`, `B`, `1`."""
    origin: Origin
    method: str
    """How the number was obtained, in words: 'VmHWM of the runner process'."""
    samples: Samples | None
    """None when the metric could not be had; `reason` then says why."""
    reason: str | None = None
    clock: str | None = None
    """Clock domain of a time: `CLOCK_MONOTONIC`, `cycles` ..."""
    derived_from: tuple[str, ...] = ()
    """Metrics this one was computed from."""
    flags: tuple[str, ...] = ()
    """Noise and validity flags raised where it was taken (`throttled`, `clock_step` ...)."""

    def __post_init__(self) -> None:
        if (self.samples is None) == (self.reason is None):
            raise ValueError(f"{self.metric}: a measurement has either samples or a reason why there are none")


@dataclass(frozen=True, slots=True)
class Axes:
    """A cell's place in the matrix, as the labels a reader sees. A class, not a dict: columns must never swap."""

    model: str
    method: str
    backend: str
    target: str
    threads: int = 1
    batch: int = 1
    layer: str | None = None
    """Name of the one layer that is measured; None for the whole network."""
    cpus: str | None = None
    """CPUs that the runner is bound to: `0-3,6`. None: any; here and below None says that the suite asks for nothing."""
    governor: str | None = None
    """Of the CPUs' clocks."""
    frequency_hz: int | None = None
    """That the CPUs' clocks are held at."""

    def to_json(self) -> dict[str, Any]:
        """What the suite does not ask for is left out, so that a record of before there was such an axis keeps its hash."""
        fields = dataclasses.asdict(self)
        return {name: value for name, value in fields.items() if value is not None or name == "layer"}


@dataclass(frozen=True, slots=True)
class Record:
    """What one cell left behind, success or not. Append-only: a later attempt is another record."""

    id: str
    run_id: str
    cell_key: str
    """sha256 over the axes alone: joins history into a Series."""
    input_hash: str
    """sha256 over all that decides the numbers (sources, data, weights, sampling, seeds, toolchain)."""
    machine_key: str
    """sha256 over listed machine facts: a new kernel or CPU starts a new Series on purpose."""
    axes: Axes
    status: Status
    reason: str | None
    """Why the status is not ok, in words that name the next step; None when ok."""
    error_class: str | None
    started: str
    """UTC, ISO 8601."""
    finished: str
    attempt: int = 1
    claims: Json = field(default_factory=dict)
    """What the method says of its network: macs, nonzero_macs, params, nonzero_params, weight_bits, weight_bytes."""
    measurements: tuple[Measurement, ...] = ()
    provenance: Json = field(default_factory=dict)
    """Sections by name: who, model, compress, data, runtime, device, state, artifact, sampling, seeds, logs."""

    def measurement(self, metric: str) -> Measurement | None:
        return next((m for m in self.measurements if m.metric == metric), None)

    def to_json(self) -> dict[str, Any]:
        """The whole record as plain JSON values, samples included (one line of JSON Lines)."""
        document: dict[str, Any] = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        document["schema"] = SCHEMA_VERSION
        document["axes"] = self.axes.to_json()
        document["claims"], document["provenance"] = dict(self.claims), dict(self.provenance)
        document["measurements"] = [_measurement_json(m) for m in self.measurements]
        return document

    def sha256(self) -> str:
        """Hash of the canonical document: what the store keeps beside the row to show that nothing was altered."""
        return canonical_sha256(self.to_json())


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a suite, with the suite as it was resolved."""

    id: str
    suite: str
    """The suite's name."""
    document: Json
    """The resolved suite: axes, sampling, `about`, `baseline`, `tables` - all a report needs."""
    seed: int
    started: str
    finished: str | None = None
    environment: Json = field(default_factory=dict)
    """Harness version, git commit and dirt, command line, Python and package versions, host alias."""


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """One cell of a run as the store knows it: where it stands in the matrix, and the record that answers it, once there is one."""

    cell_key: str
    input_hash: str
    axes: Axes
    position: int
    record_id: str | None = None


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, NaN spelled as null is not allowed to hide (it stays NaN)."""
    return _encode(value)


def canonical_sha256(value: Any) -> str:
    # surrogatepass: a reason may quote a device's output or a path that is not valid UTF-8; it must still be kept.
    return hashlib.sha256(canonical_json(value).encode(errors="surrogatepass")).hexdigest()


def cell_key(axes: Axes) -> str:
    """Hash of the axes only; None axes are left out, so that a new axis does not break old Series."""
    return canonical_sha256({name: value for name in Axes.__slots__ if (value := getattr(axes, name)) is not None})


def record_from_json(document: Json) -> Record:
    """The inverse of `Record.to_json`, without loss. A document of another schema, or of something else, is a ValueError."""
    if document.get("schema") != SCHEMA_VERSION:
        raise ValueError(f"record document of schema {document.get('schema')!r}; this Assay reads schema {SCHEMA_VERSION}")
    rest = {name: value for name, value in document.items() if name not in ("schema", "axes", "measurements")}
    try:
        measurements = tuple(_measurement_from_json(m) for m in document["measurements"])
        return Record(**rest, axes=Axes(**document["axes"]), measurements=measurements)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a record document: {error}") from error


def plain(value: Any) -> Any:
    """What JSON writes for a value it does not know: the `default` of every encoder of records."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} has no place in a record")


def _measurement_json(measurement: Measurement) -> dict[str, Any]:
    samples = measurement.samples
    document = {f.name: getattr(measurement, f.name) for f in dataclasses.fields(measurement) if f.name != "samples"}
    document["derived_from"] = list(measurement.derived_from)
    document["flags"] = list(measurement.flags)
    document["samples"] = (
        None if samples is None else {c.name: _column(getattr(samples, c.name)) for c in dataclasses.fields(samples)}
    )
    return document


def _measurement_from_json(document: Json) -> Measurement:
    columns = document["samples"]
    samples = None if columns is None else Samples(**{name: np.array(columns[name], dtype) for name, dtype in COLUMNS.items()})
    tuples = {name: tuple(document[name]) for name in ("derived_from", "flags")}
    return Measurement(**{**document, **tuples, "samples": samples})


def _column(values: npt.NDArray[Any]) -> list[Any]:
    if values.dtype.kind == "f" and np.isnan(values).any():
        return [None if v != v else v for v in values.tolist()]
    return list(values.tolist())


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=plain).encode
