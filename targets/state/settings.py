"""The settings of a device that Assay may change, by name: files below its /sys, and switches of Android. Nothing else is ever written.

`devices/system/cpu/cpufreq/policy0/scaling_governor` is a file below `Target.sysfs`; `android/global/airplane_mode_on` a row of Android's
settings; `android/battery` and `android/deviceidle` what `dumpsys` forces. One script reads all of them, one writes them, in order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from targets.probe import printable_line
from targets.session import Session

CPUFREQ = "devices/system/cpu/cpufreq"
BOOST = f"{CPUFREQ}/boost"
NO_TURBO = "devices/system/cpu/intel_pstate/no_turbo"
AIRPLANE = "android/global/airplane_mode_on"
QUIET_ANDROID: Mapping[str, str] = {
    "android/battery": "unplug",
    "android/deviceidle": "true",
    AIRPLANE: "1",
    "android/system/screen_brightness_mode": "0",
    "android/system/accelerometer_rotation": "0",
}
"""Android's switches and their values while something is timed: told to be on battery, idle, off the air, light and picture left alone."""

TIMEOUT_S = 60.0
MAX_BYTES = 1 << 16
_KNOWN: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = tuple(
    (re.compile(name, re.ASCII), re.compile(value, re.ASCII))
    for name, value in (
        (rf"{CPUFREQ}/policy\d{{1,4}}/scaling_governor", r"[a-z][a-z0-9_-]{0,31}"),
        (rf"{CPUFREQ}/policy\d{{1,4}}/scaling_(min|max)_freq", r"[1-9]\d{0,9}"),
        (rf"{BOOST}|{NO_TURBO}", r"[01]"),
        (r"android/battery", r"unplug|reset"),
        (r"android/deviceidle", r"true|false"),
        (r"android/(global|system)/[a-z_]{1,40}", r"\d{1,4}|null"),
    )
)
"""(names, values) that may be written."""

_READ = r"""
sysfs=$1
shift
for name; do
  case $name in android/*) command -v dumpsys >/dev/null || continue ;; esac
  case $name in
  android/battery) value=reset && dumpsys battery | grep -q 'UPDATES STOPPED' && value=unplug ;;
  android/deviceidle) value=$(dumpsys deviceidle get force) ;;
  android/*) value=${name#android/} && value=$(settings get "${value%%/*}" "${value#*/}") ;;
  *) [ -r "$sysfs/$name" ] || continue && value=$(head -n 1 "$sysfs/$name") ;;
  esac
  printf '%s=%s\n' "$name" "$value"
done 2>/dev/null
exit 0
"""
"""Arguments: sysfs, then names. Prints `NAME=VALUE` of those that can be read."""

_WRITE = r"""
sysfs=$1
shift
put() {
  case $1 in
  android/battery) dumpsys battery "$2" ;;
  android/deviceidle) if [ "$2" = true ]; then dumpsys deviceidle force-idle; else dumpsys deviceidle unforce; fi ;;
  android/global/airplane_mode_on)
    if [ "$2" = 1 ]; then set -- enable true 1; else set -- disable false 0; fi
    cmd connectivity airplane-mode "$1" || {
      settings put global airplane_mode_on "$3" && am broadcast -a android.intent.action.AIRPLANE_MODE --ez state "$2"
    }
    ;;
  android/*)
    name=${1#android/}
    if [ "$2" = null ]; then settings delete "${name%%/*}" "${name#*/}"; else settings put "${name%%/*}" "${name#*/}" "$2"; fi
    ;;
  *) printf '%s\n' "$2" >"$sysfs/$1" ;;
  esac
}
while [ $# -gt 1 ]; do
  said=$(put "$1" "$2" 2>&1) || printf '%s=%s\n' "$1" "$(printf %s "$said" | tr '\n' ' ')"
  shift 2
done
exit 0
"""
"""Arguments: sysfs, then pairs of a name and a value, in the order in which they are written. Prints `NAME=WHY` of those refused."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting that a run changes."""

    name: str
    before: str
    """Its value to come back to."""
    wanted: str
    after: str | None = None
    """What it read back as; None while that is not known: then whatever it is now is Assay's doing."""


def is_known(name: str, value: str) -> bool:
    """Whether the setting is one that may be written, and the value one that it may take: a journal is not believed before this."""
    return any(names.fullmatch(name) and values.fullmatch(value) for names, values in _KNOWN)


def survives_reboot(name: str) -> bool:
    """Android keeps its settings on disk; all else begins anew."""
    return name.startswith(("android/global/", "android/system/"))


def read(session: Session, sysfs: str, names: Sequence[str]) -> dict[str, str]:
    """The value of each setting that the device has, printable and short whatever it says; others are left out."""
    return _told(session, _READ, sysfs, names, names)


def write(session: Session, sysfs: str, changes: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Write the settings in this order; the device's complaint about each that it refuses."""
    unknown = [f"{name}={value}" for name, value in changes if not is_known(name, value)]
    if unknown:
        raise ValueError(f"not settings that Assay may write: {unknown}")
    return _told(session, _WRITE, sysfs, [word for change in changes for word in change], [name for name, _ in changes])


def ordered(changes: Mapping[str, str], now: Mapping[str, str]) -> list[tuple[str, str]]:
    """Changes in an order that the kernel takes: boost and governors, then each policy's limits, of which the lower may never pass the upper.

    So going down the lower limit is written first, going up the upper.
    """
    limits = [name for name in changes if name.endswith(("/scaling_min_freq", "/scaling_max_freq"))]
    found = sorted((name, value) for name, value in changes.items() if name not in limits)
    for folder in sorted({name.rpartition("/")[0] for name in limits}):
        low, high = f"{folder}/scaling_min_freq", f"{folder}/scaling_max_freq"
        upper = now.get(high, "")
        is_low_first = not upper.isdigit() or int(changes.get(low, "0")) <= int(upper)
        found += [(name, changes[name]) for name in ((low, high) if is_low_first else (high, low)) if name in changes]
    return found


def _told(session: Session, script: str, sysfs: str, words: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """`NAME=TEXT` lines of a script, of the names that were asked for."""
    if not words:
        return {}
    result = session.run(["sh", "-c", script, "sh", sysfs, *words], timeout_s=TIMEOUT_S, max_output_bytes=MAX_BYTES)
    lines = (line.partition("=") for line in result.stdout.decode("utf-8", "replace").split("\n"))
    wanted = set(names)
    return {name: printable_line(text.strip()) for name, equals, text in lines if equals and name in wanted}
