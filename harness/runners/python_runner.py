"""Runs an artifact on a device that has Python: `python python_runner.py request.json`. Answers inputs, or times one inference.

Alone on the device: this one file, Python 3.8 or newer, numpy, and the backend file named in the request, whose `load` opens the artifact.
What it says is one JSON document between two marks that carry the request's nonce; anything a library prints goes to standard error.
Exit status 3: the document says what went wrong. `harness/runners/reply.py` is the other end and documents every field.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import importlib.metadata
import importlib.util
import itertools
import json
import math
import os
import platform
import resource
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Arrays = list[Any]
    Document = dict[str, Any]

SCHEMA = 1
FAILED = 3
MAX_MESSAGE = 2000
WARMUP_CAP_S = 30.0
"""Warm-up ends here even if the least number of samples is not reached; the document says so."""
MOST_SAMPLES = 10_000
"""A sample lasts at least this share of the least timing time: so a launch leaves about as many, however fast the network."""
CLOCK_STEPS = 1000
"""A sample lasts at least this many steps of the clock."""
PROFILED_RUNS = 100
"""Inferences under the runtime's own profiler, or as many as fit into PROFILED_S seconds, but one at least."""
PROFILED_S = 5.0
PR_SET_PDEATHSIG = 1


def main(path: str) -> None:
    die_with_parent()
    say = private_standard_output()
    request = json.loads(Path(path).read_text(encoding="utf-8"))
    sys.excepthook = functools.partial(fail, say, request)
    # Should no one be there to end this process, the system does: SIGALRM works in native code that never returns, too.
    signal.setitimer(signal.ITIMER_REAL, request["limit_s"])
    run_on(request["cpus"])
    document = {"answer": answer, "time": time_launch, "profile": profile}[request["mode"]](request)
    say({"schema": SCHEMA, "nonce": request["nonce"], "mode": request["mode"], **document}, 0)


def run_on(cpus: Sequence[int] | None) -> None:
    """Bind this process, and so every thread that it will start, to these CPUs; before the backend is loaded, which may count them."""
    if cpus is None:
        return
    os.sched_setaffinity(0, cpus)
    allowed = sorted(os.sched_getaffinity(0))
    if allowed != sorted(cpus):  # the kernel leaves out what is not there without a word
        raise OSError(f"of the CPUs {list(cpus)} that were asked for, {allowed} are there and may be used")


def answer(request: Mapping[str, Any]) -> Document:
    """Every example of every inputs file, in chunks of the batch."""
    network, document = opened(request)
    document["outputs"] = list(map(functools.partial(answer_file, network, request), request["inputs"], request["outputs"]))
    document["memory"]["peak_rss_bytes"] = memory_bytes("VmHWM")
    return document


def answer_file(network: Any, request: Mapping[str, Any], inputs: str, outputs: str) -> Document:
    arrays = read_inputs(inputs)
    return write_outputs(
        network, in_chunks(network, arrays, request["batch"]) if request["batched"] else infer(network, arrays), outputs
    )


def in_chunks(network: Any, inputs: Arrays, batch: int) -> Arrays:
    """[n, ...] of each output; the last chunk is filled up by repeating its last row, and what that gives is cut off."""
    rows = len(inputs[0])
    found: Arrays = []
    for start in range(0, rows, batch):
        chunk = infer(network, [first_rows(array[start : start + batch], batch) for array in inputs])
        for index, output in enumerate(chunk):
            if output.shape[:1] != (batch,):
                raise ValueError(f"output {index} has shape {output.shape}, which does not start with the batch {batch}")
            if start == 0:
                found.append(np.empty((rows, *output.shape[1:]), output.dtype))
            found[index][start : start + batch] = output[: rows - start]
    return found


def time_launch(request: Mapping[str, Any]) -> Document:
    """Warm up, find how often a sample must repeat the inference, then time until least samples and least seconds are both met."""
    network, document = opened(request)
    inputs = read_inputs(request["inputs"][0])
    network.set_inputs([first_rows(array, request["batch"]) for array in inputs] if request["batched"] else inputs)
    gc.collect()
    gc.freeze()
    gc.disable()
    document["state_before"] = machine_state(request["sysfs"])
    document["process_before"] = process_state()
    samples = Samples(network.invoke)
    loops, document["warmup"] = warm_up(samples, request["sampling"])
    time_samples(samples, request["sampling"], loops)
    document["process_after"] = process_state()
    document["memory"]["peak_rss_bytes"] = memory_bytes("VmHWM")
    document["state_after"] = machine_state(request["sysfs"])
    document["samples"] = {**samples.columns, **uncounted(request)}
    document["outputs"] = [write_outputs(network, network.outputs(), request["outputs"][0])]
    return document


def profile(request: Mapping[str, Any]) -> Document:
    """Where the time of one inference goes, by the runtime's own account. A launch of its own: a profiler slows down what it watches."""
    network, document = opened({**request, "options": {**request["options"], "profile": True}})
    inputs = read_inputs(request["inputs"][0])
    network.set_inputs([first_rows(array, request["batch"]) for array in inputs] if request["batched"] else inputs)
    network.invoke()
    network.invoke()
    begin, runs = time.perf_counter_ns(), 0
    while runs == 0 or (runs < PROFILED_RUNS and time.perf_counter_ns() - begin < 1e9 * PROFILED_S):
        network.invoke()
        runs += 1
    document["memory"]["peak_rss_bytes"] = memory_bytes("VmHWM")
    document["outputs"] = [write_outputs(network, network.outputs(), request["outputs"][0])]
    document["operators"] = list(network.operators(runs))
    return document


def uncounted(request: Mapping[str, Any]) -> Document:
    """Instructions are counted where they are asked of a program that is its own runner; an interpreter's would drown the network's."""
    reason = "the Python runner counts no instructions: they would be the interpreter's, too"
    return {"instructions": None, "instructions_reason": reason} if request["count_instructions"] else {}


class Samples:
    """Samples in the order they are taken, in parallel columns. Only `invoke` and the loop around it are timed."""

    def __init__(self, invoke: Callable[[], None]) -> None:
        self.invoke = invoke
        self.first_ns = time.perf_counter_ns()
        self.columns: dict[str, list[Any]] = {"start_ns": [], "duration_ns": [], "loops": [], "timed": []}

    def take(self, loops: int, timed: bool) -> int:
        """Nanoseconds that `loops` inferences took together."""
        clock, invoke, iterations = time.perf_counter_ns, self.invoke, itertools.repeat(None, loops)
        begin = clock()
        for _ in iterations:
            invoke()
        end = clock()
        row = {"start_ns": begin - self.first_ns, "duration_ns": end - begin, "loops": loops, "timed": timed}
        for name, value in row.items():
            self.columns[name].append(value)
        return end - begin

    def seconds(self) -> float:
        """Since the first sample."""
        return (time.perf_counter_ns() - self.first_ns) / 1e9


def warm_up(samples: Samples, rule: Mapping[str, Any]) -> tuple[int, Document]:
    """Run until least warm-up samples and seconds are both met and a sample lasts long enough; the loops that this takes."""
    least_s = max(rule["min_sample_s"], rule["min_s"] / MOST_SAMPLES, CLOCK_STEPS * clock_step_s())
    loops, taken, long_ones = 1, 0, 0
    is_met = is_capped = False
    # Two long samples in a row: the first of all may be long for being the first.
    while not ((is_met and long_ones >= 2) or (is_capped and long_ones >= 1)):
        sample_s = samples.take(loops, timed=False) / 1e9
        taken += 1
        long_ones = long_ones + 1 if sample_s >= least_s else 0
        if not long_ones:
            # A quarter above what this sample says is needed; ten times at most, since one sample may be anything.
            loops = min(10 * loops, max(loops + 1, math.ceil(1.25 * loops * least_s / max(sample_s, 1e-9))))
        is_met = taken >= rule["warmup_samples"] and samples.seconds() >= rule["warmup_s"]
        is_capped = samples.seconds() >= WARMUP_CAP_S
    return loops, {"samples": taken, "seconds": samples.seconds(), "capped": not is_met, "least_sample_s": least_s}


def time_samples(samples: Samples, rule: Mapping[str, Any], loops: int) -> None:
    taken, timed_s = 0, 0.0
    while taken < rule["min_samples"] or timed_s < rule["min_s"]:
        timed_s += samples.take(loops, timed=True) / 1e9
        taken += 1


def opened(request: Mapping[str, Any]) -> tuple[Any, Document]:
    """The network, and what there is to say of opening it. The runtime's own import is part of the load time and of the memory."""
    backend = request["backend"]
    spec = importlib.util.spec_from_file_location("assay_backend", backend)
    if spec is None or spec.loader is None:
        raise ImportError(f"{backend} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their own module up while they are made
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    resident = memory_bytes("VmRSS")
    begin = time.perf_counter_ns()
    network = module.load(request["folder"], request["files"][0], request["options"])
    end = time.perf_counter_ns()
    return network, {
        "load_s": (end - begin) / 1e9,
        "clock": {"name": clock_name(), "step_s": clock_step_s()},
        "memory": {"rss_before_load_bytes": resident, "rss_after_load_bytes": memory_bytes("VmRSS")},
        "facts": dict(network.facts()),
        "runner": {"implementation": platform.python_implementation(), "version": platform.python_version()},
        "versions": {name: version(name) for name in request["distributions"]},
    }


def infer(network: Any, inputs: Arrays) -> Arrays:
    network.set_inputs(inputs)
    network.invoke()
    return [np.asarray(output) for output in network.outputs()]


def first_rows(array: Any, batch: int) -> Any:
    """The first `batch` rows; where there are fewer, the last is repeated."""
    missing = batch - len(array)
    return np.ascontiguousarray(
        array[:batch] if missing <= 0 else np.concatenate([array, np.repeat(array[-1:], missing, axis=0)])
    )


def read_inputs(path: str) -> Arrays:
    """in0, in1, ... of an npz file."""
    with np.load(path, allow_pickle=False) as file:
        return [file[f"in{index}"] for index in range(len(file.files))]


def write_outputs(network: Any, outputs: Sequence[Any], path: str) -> Document:
    """Save out0, out1, ... and describe them, so that the host knows what it will read."""
    arrays = [np.asarray(output, order="C") for output in outputs]
    readings = network.output_quantization()
    if len(readings) != len(arrays):
        raise ValueError(f"the network has {len(arrays)} outputs and says how to read {len(readings)}")
    np.savez(path, **{f"out{index}": array for index, array in enumerate(arrays)})  # type: ignore[arg-type]
    return {"file": path, "size_bytes": Path(path).stat().st_size, "tensors": list(map(describe, arrays, readings))}


def describe(array: Any, reading: Any) -> Document:
    quantization = None if reading is None else {"scale": float(reading[0]), "zero_point": int(reading[1])}
    return {"shape": list(array.shape), "dtype": array.dtype.str, "quantization": quantization}


def machine_state(sysfs: str) -> Document:
    """Clock, frequencies and temperatures just now, null where the kernel does not show them."""
    frequencies = glob_numbers(f"{sysfs}/devices/system/cpu/cpufreq", "policy*/scaling_cur_freq", 1e3)
    temperatures = glob_numbers(f"{sysfs}/class/thermal", "thermal_zone*/temp", 1e-3)
    return {
        "monotonic_s": time.perf_counter_ns() / 1e9,
        "frequency_hz": frequencies or None,
        "celsius": temperatures or None,
        "reason": None if frequencies and temperatures else "the kernel shows no cpufreq policy or no thermal zone",
    }


def glob_numbers(folder: str, pattern: str, unit: float) -> dict[str, float]:
    """The number in each file that can be read, by the name of its folder: a zone may refuse to be read (EAGAIN, EINVAL)."""
    found = {}
    for path in sorted(Path(folder).glob(pattern)):
        try:
            found[path.parent.name] = unit * int(path.read_text())
        except (OSError, ValueError):
            continue
    return found


def process_state() -> Document:
    """Counters of this process so far: time on a CPU, context switches, page faults; and the CPUs it may run on."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu_s": time.process_time(),
        "voluntary_switches": usage.ru_nvcsw,
        "involuntary_switches": usage.ru_nivcsw,
        "minor_faults": usage.ru_minflt,
        "major_faults": usage.ru_majflt,
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
    }


def memory_bytes(field: str) -> int | None:
    """Bytes of a `kB` line of /proc/self/status; None where the system has no such file."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith(field + ":"))
    return 1024 * int(line.split()[1])


def version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def clock_name() -> str:
    return "CLOCK_MONOTONIC" if "CLOCK_MONOTONIC" in time.get_clock_info("perf_counter").implementation else "perf_counter"


def clock_step_s() -> float:
    return time.get_clock_info("perf_counter").resolution


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it dies, however it dies (Linux, prctl(2)).

    The signal comes at the end of the parent's *thread*, which waits for us. Where the parent died before this call, its number
    has changed by the time we look again.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(FAILED)


def private_standard_output() -> Callable[[Document, int], None]:
    """Keep standard output for the document alone: what libraries print there from now on goes to standard error."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(document: Document, status: int) -> None:
        text = json.dumps(document, allow_nan=False)
        ours.write(f"ASSAY-BEGIN {document['nonce']}\n{text}\nASSAY-END {document['nonce']}\n")
        ours.flush()
        for stream in (sys.stdout, sys.stderr):  # a library's last words
            stream.flush()
        # Without the interpreter's own end: a runtime that crashes while it is torn down has answered all the same.
        os._exit(status)

    return say


def fail(say: Callable[[Document, int], None], request: Mapping[str, Any], kind: Any, error: BaseException, trace: Any) -> None:
    sys.__excepthook__(kind, error, trace)
    described = {"class": kind.__name__, "message": str(error)[:MAX_MESSAGE]}
    say({"schema": SCHEMA, "nonce": request["nonce"], "mode": request["mode"], "error": described}, FAILED)


if __name__ == "__main__":
    main(sys.argv[1])
