"""Made-up runs with known truth, and golden files: `pytest tests/reports --update` rewrites them, the diff is reviewed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.record import Axes, Measurement, Origin, Record, Run, Samples, Status

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
    ) -> Record:
        axes = Axes(model, method, backend, target, threads, batch, layer)
        digest = hashlib.sha256(repr(axes).encode()).hexdigest()
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
