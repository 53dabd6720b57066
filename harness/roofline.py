"""The ceilings of a device, measured on it: multiply-adds a second, and bytes a second for as much memory as a network touches."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.artifact import file_sha256
from harness.compression import Numeric
from harness.errors import RunnerError
from harness.toolchain import compiled
from results.profile import Roofline
from targets.session import Session
from targets.target import Target

SOURCE = Path(__file__).parent / "kernels" / "peak.c"
SECONDS = 0.1
"""Of each of the three measurements: hundreds of repetitions, of which the best counts."""
LEAST_BYTES, MOST_BYTES = 1 << 14, 1 << 28
_ANSWER = TypeAdapter(dict[str, float | None])


def measured_roofline(session: Session, target: Target, threads: int, working_set_bytes: float, numeric: Numeric) -> Roofline:
    """The best this device does just now with so many threads.

    The bandwidth is that of a buffer of the network's own size, for a small network never leaves the caches: the main memory's would be
    no ceiling for it. Unsupported or BuildError where no program can be built for the device, RunnerError where it answers nonsense.
    """
    program = compiled([SOURCE], target)
    name = f"programs/{file_sha256(program)[:32]}/peak"
    session.push(program, name)
    # A power of two above it.
    size = min(max(LEAST_BYTES, 1 << int(working_set_bytes).bit_length()), MOST_BYTES)
    ended = session.run([f"./{name}", str(threads), str(size), str(SECONDS)], timeout_s=60, max_output_bytes=4096)
    try:
        found = _ANSWER.validate_python(json.loads(ended.stdout))
        peak = found["peak_flops"] if numeric == "float32" else found["peak_int8_ops"]
        return Roofline(peak, found["bandwidth_bytes_per_s"])
    except (ValueError, ValidationError, KeyError) as error:
        said = (ended.stderr or ended.stdout)[-200:].decode("utf-8", "replace")
        raise RunnerError(f"the program that measures the roofline ended with {ended.exit_status} and said {said!r}") from error
