"""Files of a device read over and over by a small program there, on the clock by which the runner tells its times.

The program is Python where the device has one, else a loop of its shell. It ends when a file of a certain name appears, at its limit, and with
the session; what it read is its output.
"""

from __future__ import annotations

import re
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from targets.power.device_clock import UPTIME, UPTIME_STEP_S
from targets.power.trace import Channel, NoTrace, Offset, Tier, Trace
from targets.session import CommandFailed, CommandResult, Session, TargetError

LIMIT_S = 4 * 3600.0
"""The program ends itself then, should nobody stop it."""
MAX_BYTES = 256 << 20
STOP_S = 60.0
"""For the program to end once it was told to."""
_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,9})?")

FILES = """
def read(file):
    try:
        with open(file, "rb", 0) as opened:
            return opened.read(64).split(b"\\n")[0].strip().decode("ascii") or "-"
    except (OSError, UnicodeDecodeError):
        return "-"
"""
"""The number that a file holds, or `-`; a meter whose sensor is no file has a `read` of its own."""
PYTHON = """
import os, sys, time
stop, period, limit, words = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]
rows = []
begin = tick = time.monotonic()
while tick - begin < limit and not os.path.exists(stop):
    before = time.monotonic()
    row = " ".join([read(word) for word in words])
    after = time.monotonic()
    rows.append("%.9f %s" % ((before + after) / 2, row))
    late = time.monotonic() - tick
    tick += period * (1 + late // period)
    time.sleep(max(0.0, tick - time.monotonic()))
print("0 0")
print("\\n".join(rows))
"""
SHELL = (
    UPTIME
    + r"""
stop=$1 period=$2
end=$((${uptime%.*} + $3))
shift 3
while [ ! -e "$stop" ]; do
  read -r now rest </proc/uptime
  [ "${now%.*}" -lt "$end" ] || break
  row=$now
  for file; do
    value=
    { read -r value <"$file"; } 2>/dev/null
    row="$row ${value:--}"
  done
  echo "$row"
  sleep "$period"
done
"""
)
"""Both print how often the device has slept, which a shell's clock counts and Python's does not, then lines of `time value value ...`."""


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """What the program read: rows in which every file could be read."""

    time_s: npt.NDArray[np.float64]
    """[n] on the device's CLOCK_MONOTONIC."""
    values: npt.NDArray[np.float64]
    """[n, files]."""
    offset: Offset | None
    """Not none where the clock was read coarsely."""
    unread: int
    """Rows that are missing because a file could not be read."""

    def trace(
        self,
        meter: str,
        tier: Tier,
        values: npt.NDArray[np.float64],
        channels: tuple[Channel, ...],
        rate_hz: float,
        uncertainty: float,
        facts: Mapping[str, Any],
        range_w: tuple[float, float] | None = None,
    ) -> Trace:
        """`values` [n, channels]: what a meter makes of each row, in its channels' units."""
        lost, clock = self.unread, "CLOCK_MONOTONIC"
        return Trace(
            meter, tier, "measured", clock, self.time_s, values, channels, rate_hz, range_w, lost, uncertainty, self.offset, facts
        )


Made = TypeVar("Made")


class Recording(Generic[Made]):
    """Of files of the device: what the readings were made into."""

    def __init__(
        self, session: Session, paths: Sequence[str], rate_hz: float, trace: Callable[[Readings], Made | NoTrace], read: str
    ) -> None:
        self._session, self._paths, self._period_s, self._make = session, list(paths), 1 / rate_hz, trace
        self._program = read + PYTHON
        self._folder = f"requests/meter-{secrets.token_hex(8)}"
        self._ended: CommandResult | TargetError | None = None
        self._trace: Made | NoTrace | None = None
        self._thread = threading.Thread(target=self._run, name="meter", daemon=True)
        self._thread.start()

    @property
    def trace(self) -> Made | NoTrace:
        """Once it was stopped."""
        assert self._trace is not None, "a recording has no trace before it is stopped"
        return self._trace

    def stop(self) -> None:
        """Twice is fine."""
        if self._trace is not None:
            return
        self._trace = NoTrace("the program that reads the sensors was not stopped")
        try:
            with tempfile.NamedTemporaryFile(prefix="assay-") as empty:
                self._session.push(Path(empty.name), f"{self._folder}/stop")
            self._thread.join(STOP_S)
        finally:
            self._session.remove(self._folder)
        if self._thread.is_alive():
            self._trace = NoTrace(f"the program that reads the sensors did not end within {STOP_S:g} s")
        elif isinstance(self._ended, CommandResult):
            try:
                self._trace = self._make(_readings(self._ended, len(self._paths)))
            except CommandFailed as error:
                self._trace = NoTrace(str(error))
        else:
            self._trace = NoTrace(f"the program that reads the sensors failed: {self._ended}")

    def _run(self) -> None:
        words = [f"{self._folder}/stop", f"{self._period_s:.6f}", f"{LIMIT_S:.0f}", *self._paths]
        is_shell = self._session.python == "none"
        command = ["sh", "-c", SHELL, "sh"] if is_shell else [self._session.python, "-S", "-E", "-c", self._program]
        try:
            self._ended = self._session.run([*command, *words], timeout_s=LIMIT_S + STOP_S, max_output_bytes=MAX_BYTES)
        except TargetError as error:
            self._ended = error


@contextmanager
def sampled(
    session: Session, paths: Sequence[str], rate_hz: float, trace: Callable[[Readings], Made | NoTrace], read: str = FILES
) -> Iterator[Recording[Made]]:
    """Read the files `rate_hz` times a second until the end; `trace` makes of them what is to be left, such as a meter's Trace.

    Another `read`, Python that defines it, makes of `paths` what it likes: a shell reads files alone.
    """
    recording = Recording(session, paths, rate_hz, trace, read)
    try:
        yield recording
    finally:
        recording.stop()


def _readings(ended: CommandResult, columns: int) -> Readings:
    said = ended.stdout.decode("utf-8", "replace").splitlines()
    if ended.exit_status != 0 or ended.timed_out or ended.truncated or not said:
        why = "it says more than is kept" if ended.truncated else ended.stderr.decode("utf-8", "replace").strip()[-300:]
        why = "it ran into its time limit; raise the target's `max_run_s`" if ended.timed_out else why
        raise CommandFailed(f"the program that reads the sensors ended with exit status {ended.exit_status}: {why}")
    slept, _, step = said[0].partition(" ")
    if slept != "0":
        raise CommandFailed("the device has no Python, and has slept since it started: its clock cannot be told; start it anew")
    rows = [line.split() for line in said[1:]]
    read = [[float(word) for word in row] for row in rows if len(row) == 1 + columns and all(map(_NUMBER.fullmatch, row))]
    table = np.array(read, np.float64).reshape(len(read), 1 + columns)
    if (np.diff(table[:, 0]) < 0).any():
        raise CommandFailed("the device's clock went backwards while its sensors were read")
    is_exact = step == "0"
    return Readings(table[:, 0], table[:, 1:], None if is_exact else Offset(0.0, UPTIME_STEP_S), len(rows) - len(read))
