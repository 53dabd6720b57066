"""Made-up runs with known truth, small and large; a browser; golden files (`pytest tests/reports --update` rewrites them, the diff is reviewed)."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pytest

from results.query import Past
from results.record import Axes, Measurement, Origin, Record, Run, Samples, Status

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Request

RUN_ID = "5a1e0000-0000-4000-8000-000000000001"
MakeRecord = Callable[..., Record]
MakeRun = Callable[..., Run]


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare text with tests/reports/golden/<name>, or rewrite that file."""
    folder = Path(__file__).parent / "golden"

    def check(name: str, text: str) -> None:
        path = folder / name
        if request.config.getoption("update", default=False):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{name} differs; if that is meant: pytest tests/reports --update"

    return check


@pytest.fixture
def make_record() -> MakeRecord:
    """One record. `latency`: median of each launch in s (unless given: 1 ms within 1 %); `hits`: 0/1 per example; None: no such metric."""

    def make(
        method: str = "float32",
        backend: str = "ort",
        model: str = "cnn",
        *,
        target: str = "local",
        threads: int = 1,
        batch: int = 1,
        layer: str | None = None,
        status: Status = "ok",
        reason: str | None = None,
        latency: Sequence[float] | None = (),
        origin: Origin = "measured",
        flags: tuple[str, ...] = (),
        hits: Sequence[float] | None = None,
        size: int | None = 40_000,
        macs: int | None = 1_000_000,
        weight_bytes: int = 38_000,
        more: tuple[Measurement, ...] = (),
        run_id: str = RUN_ID,
        record_id: str | None = None,
        provenance: Mapping[str, Any] | None = None,
        point: Mapping[str, Any] | None = None,
    ) -> Record:
        axes = Axes(model, method, backend, target, threads, batch, layer, **(point or {}))
        # What was made up before there were more axes stays as it was made up.
        digest = hashlib.sha256(repr(axes).replace(", cpus=None, governor=None, frequency_hz=None", "").encode()).hexdigest()
        measurements = []
        if status == "ok":
            if latency is not None:
                near = [1e-3 * (0.99 + 0.02 * int(digest[k : k + 4], 16) / 0xFFFF) for k in (0, 4, 8)]
                measurements.append(_latency(latency or near, origin, flags))
            if hits is not None:
                measurements.append(Measurement("top1", "1", "measured", "argmax of the outputs", Samples.of(hits)))
            if size is not None:
                measurements.append(Measurement("artifact_size", "B", "measured", "bytes pushed", Samples.of(size)))
        claims = {"macs": 1_000_000, "nonzero_macs": macs, "params": 9_500, "nonzero_params": 9_500, "weight_bits": 32.0}
        return Record(
            record_id or f"{digest[:8]}-{digest[8:12]}",
            run_id,
            digest,
            digest[::-1],
            "00ff" * 16,
            axes,
            status,
            reason,
            "MadeUp" if status not in ("ok", "unsupported") else None,
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:09Z",
            claims={} if macs is None else {**claims, "weight_bytes": weight_bytes},
            measurements=(*measurements, *more),
            provenance={"device": {"cpu": "made-up"}} if provenance is None else provenance,
        )

    return make


@pytest.fixture
def make_run() -> MakeRun:
    """The run that some records belong to; labels in the order they first appear. Keywords replace keys of the document."""

    def make(records: Sequence[Record], *, finished: str | None = "2026-01-02T03:10:00Z", **replaced: Any) -> Run:
        axes = [record.axes for record in records]
        points = dict.fromkeys((a.threads, a.batch) for a in axes)
        document: dict[str, Any] = {
            "name": "made-up",
            "about": "Is int8 faster here?",
            "models": list(dict.fromkeys(a.model if a.layer is None else f"{a.model}/{a.layer}" for a in axes)),
            "methods": list(dict.fromkeys(a.method for a in axes)),
            "backends": list(dict.fromkeys(a.backend for a in axes)),
            "targets": list(dict.fromkeys(a.target for a in axes)),
            "operating_points": [{"threads": threads, "batch": batch} for threads, batch in points],
            "baseline": {"method": "float32"},
            "tables": [],
            "sampling": {"launches": 3, "evaluation_size": None},
            "seed": 7,
            "data": {"cnn": {"name": "digits", "title": "digits", "sha256": "ab" * 32}},
        }
        return Run(RUN_ID, "made-up", {**document, **replaced}, 7, "2026-01-02T03:00:00Z", finished, {"version": "0.1.0"})

    return make


@pytest.fixture
def smoke_records(make_record: MakeRecord) -> list[Record]:
    """Two models, four methods, two backends: what is true of them can be read off the launch medians.

    int8 is 2x faster on `ort` and 4x on `lite`; `prune` claims 4x and gives nothing; `slim` is 1.5x slower on `ort`, wrong on
    `lite` for one model, simulated there for the other; `ort` cannot run int8 for the second model.
    """
    right = [1.0] * 190 + [0.0] * 10
    worse = [1.0] * 150 + [0.0] * 50
    energy = Measurement("energy", "J", "measured", "no meter", None, reason="no meter is attached to `local`")
    records = []
    for model, ms in (("cnn", 1.0), ("resnet(width=16)", 10.0)):
        for backend in ("ort", "lite"):
            is_lite = backend == "lite"

            def launches(factor: float, spread: float = 0.004, ms: float = ms) -> list[float]:
                return [ms * 1e-3 / factor * (1 + spread * k) for k in (-1, 0, 1)]

            records.append(make_record("float32", backend, model, latency=launches(1.0), hits=right, more=(energy,)))
            if model != "cnn" and not is_lite:
                records.append(
                    make_record("int8", backend, model, status="unsupported", reason="ort has no int8 form for node `add_3`")
                )
            else:
                fast = launches(4.0 if is_lite else 2.0, 0.003)[::-1]
                records.append(
                    make_record("int8", backend, model, latency=fast, hits=[*right[:-1], 1.0], size=12_000, weight_bytes=9_500)
                )
            even = [launches(1.0, 0.03)[k] for k in (1, 2, 0)]
            records.append(make_record("prune(sparsity=0.75)", backend, model, latency=even, hits=worse, macs=250_000))
            if is_lite and model == "cnn":
                records.append(
                    make_record("slim", backend, model, status="wrong", reason="SQNR 3 dB, at least 20 dB is asked\nsee check")
                )
            else:
                slow = launches(1 / 1.5, 0.005)[::-1]
                where: Origin = "simulated" if is_lite else "measured"
                records.append(
                    make_record(
                        "slim", backend, model, latency=slow, hits=worse, macs=500_000, origin=where, flags=("throttled",)
                    )
                )
    return records


@pytest.fixture(scope="session")
def past_of() -> Callable[..., Past]:
    """What the store would say of one record in the past of a run."""

    def past(record: Record, metric: str = "latency") -> Past:
        m = record.measurement(metric)
        measured = (None, None, None) if m is None else (m.unit, m.origin, m.samples)
        return Past(record.id, record.cell_key, record.machine_key, record.input_hash, record.started, record.status, *measured)

    return past


def _latency(medians: Sequence[float], origin: Origin, flags: tuple[str, ...]) -> Measurement:
    """Five timed samples a launch, symmetric about its median, after two for warm-up; a sample averages 10 loops."""
    shape = np.array([1.5, 1.2, 0.99, 0.995, 1.0, 1.005, 1.01])
    value = np.concatenate([median * shape for median in medians])
    n, launches = len(shape), len(medians)
    samples = Samples(
        value,
        np.repeat(np.arange(launches, dtype=np.uint16), n),
        np.tile(np.arange(n) >= 2, launches),
        np.full(len(value), 10, np.uint32),
        np.tile(np.arange(n) * 0.01, launches),
    )
    return Measurement("latency", "s", origin, "loop around invoke", samples, clock="CLOCK_MONOTONIC", flags=flags)


class OpenPage(Protocol):
    def __call__(
        self, path: Path, *, fragment: str = "", width: int = 1440, height: int = 900, dark: bool = False, javascript: bool = True
    ) -> Page: ...


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's Chromium, driven by Playwright: nothing is downloaded."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("chromium not found")
    flags = [
        "--disable-quic",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, chromium_sandbox=False, args=flags)
        yield launched
        launched.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[OpenPage]:
    """`browser(path)` opens a file. At its end a test fails on any console error, any page error and any request but for a file."""
    complaints: list[str] = []
    opened: list[BrowserContext] = []

    def dismiss(dialog: Dialog) -> None:
        complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def asked(request: Request) -> None:
        if not request.url.startswith(("file:", "data:")):
            complaints.append(f"request: {request.url}")

    def failed(request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # a link was followed before a file had come
            complaints.append(f"failed request: {request.url}: {request.failure}")

    def open_page(
        path: Path, *, fragment: str = "", width: int = 1440, height: int = 900, dark: bool = False, javascript: bool = True
    ) -> Page:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", java_script_enabled=javascript
        )
        opened.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(f"console: {said.text}") if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(f"page error: {error}"))
        page.on("requestfailed", failed)
        page.on("request", asked)
        page.on("dialog", dismiss)
        page.goto(path.as_uri() + fragment)
        return page

    yield open_page
    for context in opened:
        context.close()
    assert complaints == []


class Synthetic(NamedTuple):
    """Many nights of one suite, oldest first, and what is true of them."""

    runs: tuple[Run, ...]
    records: tuple[tuple[Record, ...], ...]
    """Of each run, in the suite's order."""
    latency_s: Mapping[str, float]
    """True latency, by the id of each ok record."""
    accuracy: Mapping[str, float]
    """True accuracy, likewise."""
    changes: Mapping[str, int]
    """The first night after a planted change of speed, by cell key: 10 % slower or 8 % faster from there on."""
    machine_changes: Mapping[str, int]
    """The first night on another machine (its key changes, and it is 1.25x faster), by target."""

    @property
    def history(self) -> dict[str, tuple[Record, ...]]:
        """Every cell's records before the last night, oldest first."""
        found: dict[str, tuple[Record, ...]] = {}
        for records in self.records[:-1]:
            for record in records:
                found[record.cell_key] = (*found.get(record.cell_key, ()), record)
        return found


class Device(NamedTuple):
    seconds: float
    """Latency of the float32 baseline of the smallest model."""
    backends: tuple[str, ...]
    origin: Origin = "measured"
    has_meter: bool = False


DEVICES: Mapping[str, Device] = {
    "laptop": Device(1e-3, ("onnxruntime", "litert")),
    "pi4": Device(6e-3, ("onnxruntime", "litert"), has_meter=True),
    "pixel7": Device(2e-3, ("litert",)),
    "jetson": Device(3e-3, ("onnxruntime",), has_meter=True),
    "nucleo-h7": Device(0.4, ("litert",), "emulated"),
    "fpga": Device(5e-4, ("native",), "simulated"),
}


class Strength(NamedTuple):
    """What a method does, by truth: latency over the baseline's, points of accuracy, and what it claims."""

    speedup: float
    accuracy: float
    macs: float = 1.0
    weight_bytes: float = 1.0


def _methods() -> dict[str, Strength]:
    """40 methods: eight alone, and families whose one parameter is swept."""
    found = {
        "float32": Strength(1.0, 0.0),
        "float16": Strength(1.02, 0.0, weight_bytes=0.5),
        "int8_ptq": Strength(2.6, -0.004, weight_bytes=0.25),
        "int8_ptq(granularity=per_tensor)": Strength(2.7, -0.02, weight_bytes=0.25),
        "int8_qat": Strength(2.6, 0.0, weight_bytes=0.26),
        "distill": Strength(1.6, -0.02, 0.5, 0.5),
        "nm_prune(m=4, n=2)": Strength(1.0, -0.01, 0.5, 0.56),
        "nm_prune(m=8, n=4)": Strength(1.0, -0.008, 0.5, 0.57),
    }
    for sparsity in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
        found[f"magnitude_prune(sparsity={sparsity})"] = Strength(1.0, -0.3 * sparsity**6, 1 - sparsity, 1.0)
    for share in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        found[f"channel_prune(ratio={share})"] = Strength(1 / (1 - 0.9 * share), -0.25 * share**3, (1 - share) ** 1.5, 1 - share)
    for rank in (1, 2, 4, 8, 16, 32):
        found[f"low_rank(rank={rank})"] = Strength(1.5 / (1 + rank / 32), -0.4 / (1 + rank), 0.05 * rank, 0.03 * rank + 0.02)
    for group in (32, 64, 128):
        found[f"int4_gptq(group={group})"] = Strength(1.2, -0.01 - group / 1e4, weight_bytes=0.13 + 1 / group)
    for sparsity in (0.25, 0.5, 0.6, 0.75, 0.9):
        found[f"prune_int8(bits=8, sparsity={sparsity})"] = Strength(2.6, -0.1 * sparsity**4, 1 - sparsity, 0.25)
    return found


METHODS = _methods()
FAILURES: Mapping[tuple[str, str | None, str | None], tuple[Status, str]] = {
    ("int4_gptq", "onnxruntime", None): ("unsupported", "onnxruntime has no 4-bit form for node `conv1`"),
    ("low_rank(rank=1)", "litert", None): (
        "wrong",
        "SQNR 3.1 dB against the compressed network's own answers, at least 20 dB is asked",
    ),
    ("float16", None, "nucleo-h7"): (
        "failed",
        "ld: region `FLASH' overflowed by 48216 bytes\ncollect2: ld returned 1 exit status",
    ),
    ("distill", None, "jetson"): ("unreachable", "jetson did not answer within 30 s; is it switched on?"),
    ("nm_prune", "litert", "pixel7"): ("invalid", "the CPU was throttled to 0.6 of its clock during 3 of 5 launches"),
}
"""(how the method begins, backend, target) -> how the cells end; None: any."""
LAYERS = ("conv1", *(f"stack{s}.conv{c}" for s in (1, 2, 3) for c in (1, 2)), "fc")
LAYER_METHODS = ("float32", "int8_ptq")
LAUNCHES, WARM, TIMED, EXAMPLES = 5, 5, 30, 200


@pytest.fixture(scope="session")
def synthetic() -> Callable[..., Synthetic]:
    """`synthetic(models, nights)`: 40 methods on 6 devices, 336 cells a model and night (1 x 30 or 30 x 1 makes 10,080 records in seconds).

    Some cells end badly (FAILURES), `pixel7` is unstable, `nucleo-h7` emulated and `fpga` simulated; the float32 and int8 layers of each
    model are measured on the laptop. `hostile` is put into every name and reason. Equal arguments give the very same object.
    """
    return functools.cache(_synthetic)


def _synthetic(models: int = 1, nights: int = 1, seed: int = 0, hostile: str = "") -> Synthetic:
    rng = np.random.default_rng(seed)
    names = [
        f"{('resnet8', 'dscnn', 'mobilenet', 'mlp')[i % 4]}{f'(width={8 * (i // 4 + 1)})' if i >= 4 else ''}"
        for i in range(models)
    ]
    size = {name: 1.0 + i for i, name in enumerate(names)}
    axes = [
        Axes(model, method, backend, target) for model in names for method in METHODS for target, device in DEVICES.items()
        for backend in device.backends
    ]  # fmt: skip
    axes += [
        Axes(model, method, "onnxruntime", "laptop", layer=layer)
        for model in names
        for method in LAYER_METHODS
        for layer in LAYERS
    ]
    difficulty = {name: rng.permutation(EXAMPLES) / EXAMPLES for name in names}
    hits = {axis: _hits(difficulty[axis.model], METHODS[axis.method].accuracy, rng) for axis in axes}
    machine_changes = {"pi4": nights // 2} if nights > 2 else {}
    night_of_change = {"int8_ptq": nights // 3, "channel_prune(ratio=0.5)": nights // 2}
    columns = _clock_columns()
    runs, nightly, latency_s, accuracy, changes = [], [], {}, {}, {}
    for night in range(nights):
        run_id = _hex(seed, "run", night, hostile, length=32)
        started = (datetime(2026, 1, 1, 2, tzinfo=UTC) + timedelta(days=night)).isoformat()
        records = []
        for axis in axes:
            key, device, strength = _hex(hostile, *dataclasses.astuple(axis)), DEVICES[axis.target], METHODS[axis.method]
            moved = axis.target in machine_changes and night >= machine_changes[axis.target]
            status, reason = _fate(axis)
            measured: list[Measurement] = []
            record_id = _hex(seed, night, key, length=32)
            if status == "ok":
                true = (
                    device.seconds
                    * size[axis.model]
                    / strength.speedup
                    / (1.25 if moved else 1.0)
                    / (len(LAYERS) if axis.layer else 1)
                )
                if nights > 2 and axis.target == "laptop" and axis.method in night_of_change and axis.layer is None:
                    changes[key] = night_of_change[axis.method]
                    if night >= changes[key]:
                        true *= 1.1 if axis.method == "int8_ptq" else 0.92
                latency_s[record_id], accuracy[record_id] = true, 0.9 + strength.accuracy
                measured = _measurements(axis, device, strength, true, hits[axis], size[axis.model], columns, rng)
            claims = {"macs": 12_500_000, "nonzero_macs": int(12_500_000 * strength.macs), "params": 78_666}
            records.append(
                Record(
                    record_id,
                    run_id,
                    key,
                    _hex(key, "input"),
                    _hex(axis.target, "machine", moved),
                    _spoilt(axis, hostile),
                    status,
                    reason and reason + hostile,
                    "MadeUp" if status not in ("ok", "unsupported") else None,
                    started,
                    started,
                    claims={**claims, "weight_bytes": int(314_664 * strength.weight_bytes)},
                    measurements=tuple(measured),
                    provenance=_provenance(axis, moved, hostile),
                )
            )
        runs.append(_run_of(run_id, records, started, hostile))
        nightly.append(tuple(records))
    return Synthetic(tuple(runs), tuple(nightly), latency_s, accuracy, changes, machine_changes)


def _hits(difficulty: npt.NDArray[np.float64], change: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """The easiest nine tenths of the examples, more or fewer by the method's change; two in a hundred fall the other way."""
    right = difficulty < 0.9 + change
    return right ^ (rng.random(len(right)) < 0.02) if change else right


def _fate(axis: Axes) -> tuple[Status, str | None]:
    for (method, backend, target), (status, reason) in FAILURES.items():
        if axis.method.startswith(method) and backend in (None, axis.backend) and target in (None, axis.target):
            return status, reason
    return "ok", None


def _measurements(
    axis: Axes, device: Device, strength: Strength, true: float, hits: npt.NDArray[np.bool_], size: float,
    columns: Mapping[str, npt.NDArray[Any]], rng: np.random.Generator,
) -> list[Measurement]:  # fmt: skip
    """Launches spread by 0.5 %, samples by 1 % more; the first samples of a launch are slow, those of `pixel7` wild."""
    spread = 0.01 if axis.target != "pixel7" else 0.12
    value = np.exp(rng.normal(0, spread, (LAUNCHES, WARM + TIMED)) + rng.normal(0, 0.005, (LAUNCHES, 1))) * true
    value[:, :WARM] *= np.linspace(1.8, 1.0, WARM)
    flags = ("throttled",) if axis.target == "pixel7" and "prune" in axis.method else ()
    per_launch = np.arange(LAUNCHES, dtype=np.uint16)
    memory = Samples.of(8e6 * size * (0.4 + 0.6 * strength.weight_bytes) * rng.normal(1, 0.01, LAUNCHES).round(3))
    found = [
        Measurement(
            "latency",
            "s",
            device.origin,
            "loop around invoke",
            Samples(value.ravel(), **columns),
            clock="CLOCK_MONOTONIC",
            flags=flags,
        ),
        Measurement("peak_memory", "B", "measured", "VmHWM of the runner", dataclasses.replace(memory, launch=per_launch)),
        Measurement(
            "artifact_size", "B", "measured", "bytes pushed", Samples.of(int(314_664 * size * strength.weight_bytes) + 9_000)
        ),
    ]
    if axis.layer is None:
        found.insert(1, Measurement("top1", "1", "measured", "argmax of the outputs", Samples.of(hits)))
    if device.has_meter:
        energy = dataclasses.replace(Samples.of(true * 4.2 * rng.normal(1, 0.01, LAUNCHES)), launch=per_launch)
        found.append(Measurement("energy", "J", "measured", "INA226 on the 5 V rail", energy))
    else:
        found.append(Measurement("energy", "J", "measured", "no meter", None, reason=f"no meter is attached to `{axis.target}`"))
    return found


def _clock_columns() -> dict[str, npt.NDArray[Any]]:
    """All but the values of a latency: shared, for they are the same for every cell."""
    n = WARM + TIMED
    return {
        "launch": np.repeat(np.arange(LAUNCHES, dtype=np.uint16), n),
        "timed": np.tile(np.arange(n) >= WARM, LAUNCHES),
        "loops": np.full(LAUNCHES * n, 100, np.uint32),
        "start_s": np.tile(np.arange(n) * 0.01, LAUNCHES),
    }


def _spoilt(axis: Axes, hostile: str) -> Axes:
    if not hostile:
        return axis
    names = {name: getattr(axis, name) + hostile for name in ("model", "method", "backend", "target")}
    return dataclasses.replace(axis, **names, layer=axis.layer and axis.layer + hostile)


def _provenance(axis: Axes, moved: bool, hostile: str) -> dict[str, Any]:
    return {
        "device": {"cpu": f"{axis.target} core{hostile}", "cores": 4, "revision": 2 if moved else 1, "governor": "performance"},
        "artifact": {
            "files": [{"name": f"model.onnx{hostile}", "sha256": _hex(*dataclasses.astuple(axis)), "size_bytes": 314_664}]
        },
        "sampling": {"launches": LAUNCHES, "warmup_samples": WARM, "min_samples": TIMED},
        "logs": {"build": f"built in 0.41 s\nnothing to complain about{hostile}\n"},
    }


def _run_of(run_id: str, records: Sequence[Record], started: str, hostile: str) -> Run:
    axes = [record.axes for record in records]
    document = {
        "name": f"nightly{hostile}",
        "about": f"What do 40 ways to compress a network give on six devices?{hostile}",
        "models": list(dict.fromkeys(a.model if a.layer is None else f"{a.model}/{a.layer}" for a in axes)),
        "methods": list(dict.fromkeys(a.method for a in axes)),
        "backends": list(dict.fromkeys(a.backend for a in axes)),
        "targets": list(dict.fromkeys(a.target for a in axes)),
        "operating_points": [{"threads": 1, "batch": 1}],
        "baseline": {"method": f"float32{hostile}"},
        "tables": [
            {"name": f"main{hostile}", "rows": ["model", "method"], "columns": "target", "metrics": ["latency", "speedup"]}
        ],
        "sampling": {"launches": LAUNCHES, "warmup_samples": WARM, "min_samples": TIMED, "evaluation_size": EXAMPLES},
        "seed": 7,
        "data": {"digits": {"title": f"digits{hostile}", "sha256": "ab" * 32}},
    }
    return Run(run_id, f"nightly{hostile}", document, 7, started, started, {"assay": "0.1.0", "git": {"commit": "0" * 40}})


def _hex(*parts: object, length: int = 64) -> str:
    return hashlib.sha256(repr(parts).encode(errors="surrogatepass")).hexdigest()[:length]
