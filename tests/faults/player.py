"""A program that is its own runner: it plays back right answers, or misbehaves as the folder FAULTS tells it to. Standard library alone.

Its first line and its folder are filled in by who builds it.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

FAULTS = Path("@FAULTS@")


def main(path: str) -> None:
    request = json.loads(Path(path).read_text())
    here = Path(sys.argv[0]).parent
    facts = json.loads((here / "facts.json").read_text())
    mode = request["mode"]
    output = request["outputs"][0]
    begun = time.perf_counter_ns()
    document = {
        "schema": 1, "nonce": request["nonce"], "mode": mode, "load_s": 0.001, "versions": {}, "runner": facts["runner"],
        "facts": {"boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip()},
        "clock": {"name": "CLOCK_MONOTONIC", "step_s": 1e-9},
        "memory": {"rss_before_load_bytes": 1, "rss_after_load_bytes": 1, "peak_rss_bytes": 1},
    }  # fmt: skip
    if mode == "time":
        if (FAULTS / "stubborn").exists():
            hold_on()
        document |= timed(begun)
    shutil.copy(here / f"{mode}.npz", output)
    tensor = {"shape": facts["shapes"][mode], "dtype": facts["dtype"], "quantization": None}
    document["outputs"] = [{"file": output, "size_bytes": Path(output).stat().st_size, "tensors": [tensor]}]
    text = f"ASSAY-BEGIN {request['nonce']}\n{json.dumps(document)}\nASSAY-END {request['nonce']}\n"
    say(text, mode == "time")


def timed(begun: int) -> dict[str, object]:
    starts, durations = [], []
    for _ in range(5):
        start = time.perf_counter_ns()
        time.sleep(0.02)
        starts.append(start)
        durations.append(time.perf_counter_ns() - start)
    state = {"monotonic_s": begun / 1e9, "frequency_hz": None, "celsius": None, "reason": "made up"}
    process = dict.fromkeys(("voluntary_switches", "involuntary_switches", "minor_faults", "major_faults"), 0)
    return {
        "samples": {"start_ns": starts, "duration_ns": durations, "loops": [1] * 5, "timed": [True] * 5},
        "warmup": {"samples": 0, "seconds": 0.0, "capped": False, "least_sample_s": 0.005},
        "state_before": state, "state_after": state,
        "process_before": process | {"cpu_s": 0.0, "affinity": None}, "process_after": process | {"cpu_s": 0.0, "affinity": None},
    }  # fmt: skip


def hold_on() -> None:
    """Neither we nor a child in a session of its own end of our own will."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(["sh", "-c", "trap '' TERM HUP INT; while :; do sleep 1; done"], start_new_session=True)
    while True:
        time.sleep(1)


def say(text: str, is_timing: bool) -> None:
    kept = FAULTS / "said"
    if is_timing and (FAULTS / "garbage").exists():
        text = "\x1b[2J\0" + text[: len(text) // 2] + "\udcff" * 100
    elif is_timing and (FAULTS / "oversized").exists():
        text = text + "x" * (40 << 20)
    elif is_timing and (FAULTS / "replayed").exists() and kept.exists():
        text = kept.read_text()
    elif is_timing:
        kept.write_text(text)
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))


if __name__ == "__main__":
    main(sys.argv[1])
