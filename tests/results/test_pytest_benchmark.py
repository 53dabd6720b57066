from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.profile import parse_profile
from results.pytest_benchmark import benchmark_run, keep
from results.record import Record
from results.store import open_store


def benchmark(name: str, data: list[float], **said: Any) -> dict[str, Any]:
    return {
        "name": name,
        "fullname": f"test_x.py::{name}",
        "group": None,
        "params": None,
        "extra_info": {"assay": said} if said else {},
        "options": {"timer": "perf_counter", "min_rounds": 5},
        "stats": {"data": data, "iterations": 10, "median": -1.0},
    }


def document(*benchmarks: dict[str, Any], at: str = "2026-11-22T12:00:00+01:00") -> dict[str, Any]:
    return {
        "machine_info": {
            "node": "secret-host",
            "machine": "x86_64",
            "system": "Linux",
            "release": "6.1",
            "processor": "",
            "python_implementation": "CPython",
            "python_implementation_version": "3.11.7",
            "cpu": {"brand_raw": "A CPU", "count": 2, "hz_actual_friendly": "2.6 GHz"},
        },
        "commit_info": {"id": "abc", "dirty": False, "branch": "main"},
        "benchmarks": list(benchmarks),
        "datetime": at,
        "version": "5.3.1",
    }


def records(*documents: Any, **settings: Any) -> list[Record]:
    return list(benchmark_run(documents, **{"suite": "kernels", "target": "here", **settings})[2])


def latency(record: Record) -> Any:
    (measurement,) = record.measurements
    assert (measurement.metric, measurement.unit, measurement.origin) == ("latency", "s", "measured")
    return measurement.samples


def test_documents_are_launches_and_every_sample_is_kept() -> None:
    first = document(benchmark("test_sum[10]", [3e-6, 1e-6]), benchmark("test_plain", [5e-6]))
    second = document(benchmark("test_sum[10]", [2e-6]), at="2026-11-22T12:05:00+01:00")
    run, cells, found = benchmark_run([first, second], suite="kernels", target="here")
    assert (run.suite, run.started, run.finished) == ("kernels", "2026-11-22T11:00:00.000+00:00", "2026-11-22T11:05:00.000+00:00")
    assert [cell.cell_key for cell in cells] == [record.cell_key for record in found]
    ten, plain = found
    assert (ten.axes.model, ten.axes.method, ten.axes.backend, ten.axes.target) == ("test_sum", "10", "pytest-benchmark", "here")
    assert plain.axes.method == "plain"
    assert latency(ten).value.tolist() == [3e-6, 1e-6, 2e-6]
    assert latency(ten).launch.tolist() == [0, 0, 1] and latency(ten).loops.tolist() == [10] * 3
    assert np.isnan(latency(ten).start_s).all() and latency(ten).timed.all()
    assert ten.provenance["who"]["git"] == {"commit": "abc", "dirty": False}


def test_a_host_has_no_name_and_a_clock_rate_makes_no_other_machine() -> None:
    one, other = document(benchmark("a", [1.0])), document(benchmark("a", [1.0]))
    other["machine_info"]["node"] = "another"
    other["machine_info"]["cpu"]["hz_actual_friendly"] = "3 GHz"
    (first,), (second,) = records(one), records(other)
    assert first.machine_key == second.machine_key and "secret-host" not in str(first.to_json())
    other["machine_info"]["cpu"]["brand_raw"] = "B CPU"
    assert records(other)[0].machine_key != first.machine_key


def test_what_a_benchmark_says_of_itself_becomes_axes_and_a_profile() -> None:
    operator = {"op": "Conv", "macs": 100, "bytes": 50, "format": "dense", "sparsity": 0.0}
    said = {
        "model": "64→64",
        "method": "dense",
        "backend": "native",
        "threads": 2,
        "operator": operator,
        "roofline": {"peak_flops": 1e9},
    }
    (record,) = records(document(benchmark("a", [4e-6, 2e-6, 3e-6], **said)))
    assert (record.axes.model, record.axes.method, record.axes.backend, record.axes.threads) == ("64→64", "dense", "native", 2)
    profile = parse_profile(record.provenance["profile"])
    assert (profile.operators[0].time_s, profile.operators[0].macs) == (3e-6, 100)
    assert profile.roofline is not None and profile.roofline.floor_s(100, None) == pytest.approx(2e-7)


def test_an_import_that_was_stopped_goes_on_and_is_made_once(tmp_path: Path) -> None:
    made = benchmark_run([document(benchmark("a", [1.0]), benchmark("b", [1.0]))], suite="kernels", target="here")
    with open_store(str(tmp_path / "store.db")) as store:
        run, cells, found = made
        store.begin_run(run, cells)
        store.append(found[0])
        assert keep(store, *made) == 1 and keep(store, *made) == 0
        kept = [record for _, record in store.run_records(run.id)]
        assert [record.id for record in kept if record] == [record.id for record in found]
        assert store.verify(found[1].id)


def changed(**changes: Any) -> dict[str, Any]:
    found = document(benchmark("a", [1.0]))
    found.update(changes)
    return found


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([7], "the document is int"),
        ([changed(benchmarks=[])], "no benchmarks"),
        ([changed(benchmarks=[3])], "benchmark 0 is int"),
        ([changed(machine_info=None)], "`machine_info` is NoneType"),
        ([changed(datetime="yesterday")], "`datetime` is 'yesterday'"),
        ([document(benchmark("a", []))], r"benchmark `test_x.py::a`: it has no samples .* --benchmark-save-data"),
        ([document(benchmark("a", [float("nan")]))], "are no times"),
        ([document(benchmark("a", [-1.0]))], "are no times"),
        ([document(benchmark("a", [1.0], model=""))], "its model is ''"),
        ([document(benchmark("a", [1.0], threads=0))], "its threads is 0"),
        ([document(benchmark("a", [1.0], treads=2))], "unknown key `treads`"),
        ([document(benchmark("a", [1.0], operator={"macs": -1}))], "macs is -1"),
        ([document(benchmark("a", [1.0], roofline={"peak_flops": 1}))], "without the `operator`"),
        ([document(benchmark("a", [1.0]), benchmark("a", [1.0]))], "second of a, plain, pytest-benchmark"),
        ([document(benchmark("a", [1.0])), changed(commit_info={"id": "def"})], "document 2 is from another"),
        (
            [document(benchmark("a", [1.0])), copy.deepcopy(document(benchmark("a", [1.0])))],
            "the same launch does not count twice",
        ),
    ],
)
def test_what_is_wrong_is_named(given: list[Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        records(*given)


def test_a_baseline_must_be_there() -> None:
    assert benchmark_run([document(benchmark("a", [1.0]))], suite="s", target="t", baseline="plain")[0].document["baseline"]
    with pytest.raises(ValueError, match="no benchmark is of the method `dense`, only of plain"):
        records(document(benchmark("a", [1.0])), baseline="dense")
