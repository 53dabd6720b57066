"""The device's CLOCK_MONOTONIC, on which all is timed there, set beside this machine's."""

from __future__ import annotations

import time
from pathlib import Path

from targets.power.offset import Ping
from targets.session import Session

PINGS = 8
TIMEOUT_S = 10.0
BOOT_ID = "/proc/sys/kernel/random/boot_id"
MONOTONIC = "import time; print(time.clock_gettime(time.CLOCK_MONOTONIC))"
UPTIME = """
if [ -e /sys/power/suspend_stats/success ]; then read -r slept < /sys/power/suspend_stats/success
elif read -r states < /sys/power/state && [ -n "$states" ]; then slept=unknown
else slept=0; fi 2> /dev/null
read -r uptime rest < /proc/uptime
echo "$slept $uptime"
"""
"""Without Python: the time since boot, which is CLOCK_MONOTONIC as long as the device never slept."""
UPTIME_STEP_S = 0.01


class NoClock(Exception):  # noqa: N818 - says what there is not
    """Why the device's clock cannot be told."""


def is_ours(session: Session) -> bool:
    """Whether the device's clock is this machine's: the same boot of the same kernel."""
    there = session.run(["cat", BOOT_ID], timeout_s=TIMEOUT_S)
    here = Path(BOOT_ID)
    return here.exists() and there.exit_status == 0 and there.stdout.strip() == here.read_bytes().strip()


def pings(session: Session) -> tuple[Ping, ...]:
    """Looks at the device's clock, each between two looks at ours; NoClock where it does not tell."""
    return tuple(ping(session) for _ in range(PINGS))


def ping(session: Session) -> Ping:
    return _uptime(session) if session.python == "none" else _monotonic(session)


def _monotonic(session: Session) -> Ping:
    sent_s, said, received_s = _asked(session, [session.python, "-c", MONOTONIC])
    return Ping(sent_s, float(said), received_s)


def _uptime(session: Session) -> Ping:
    sent_s, said, received_s = _asked(session, ["sh", "-c", UPTIME])
    slept, uptime = said.split()
    if slept != "0":
        raise NoClock("the device has no Python, and has slept since it started: its clock cannot be told; start it anew")
    half = UPTIME_STEP_S / 2  # it is cut off to whole hundredths
    return Ping(sent_s - half, float(uptime) + half, received_s + half)


def _asked(session: Session, argv: list[str]) -> tuple[float, str, float]:
    sent_s = time.monotonic()
    result = session.run(argv, timeout_s=TIMEOUT_S, max_output_bytes=4096)
    received_s = time.monotonic()
    if result.exit_status != 0:
        raise NoClock(f"the device's clock does not tell: {argv[0]}: {result.stderr.decode('utf-8', 'replace').strip()[-200:]}")
    return sent_s, result.stdout.decode("ascii", "replace").strip(), received_s
