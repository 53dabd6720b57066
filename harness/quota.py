"""A CPU quota that emulates a slower device: the runner in a control group of its own, which gets so much of a CPU's time and no more.

The kernel lets the group run for its share of each period and then stops it until the next, so only a sample of many periods tells its speed.
Caches, memory and clock stay the fast machine's: what comes out is an emulation, and its origin says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from harness.suite import Sampling
from targets.target import Target

PERIOD_S = 0.01
LEAST_SAMPLE_S = 20 * PERIOD_S
"""One period more or less is then 5 % of a sample at most."""
UNABLE = 125
"""Exit status where the group cannot be made."""

ENTER = r"""
name=$1 quota=$2 period=$3
shift 3
give_up() { echo "no CPU quota can be set: $1; log in as root on a device with cgroups, or take cpu_quota out of its entry" >&2; exit 125; }
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  echo +cpu >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null
  group=/sys/fs/cgroup/$name file=cpu.max value="$quota $period"
else
  group=/sys/fs/cgroup/cpu/$name file=cpu.cfs_quota_us value=$quota
fi
mkdir -p "$group" 2>/dev/null || give_up "$group cannot be made"
[ "$file" = cpu.max ] || echo "$period" >"$group/cpu.cfs_period_us" || give_up "$group refuses the period"
echo "$value" >"$group/$file" || give_up "$group refuses the quota"
[ "$(cat "$group/$file")" = "$value" ] || give_up "$group keeps another quota"
echo $$ >"$group/cgroup.procs" || give_up "$group takes no process"
exec "$@"
"""
"""Arguments: name of the group, microseconds of each period, of the period, then the command. An empty group stays until the device is started anew."""


def held(command: Sequence[str], target: Target) -> tuple[str, ...]:
    """The command, held to the target's quota where it has one."""
    if target.cpu_quota is None:
        return tuple(command)
    period_us = round(1e6 * PERIOD_S)
    quota_us = round(period_us * target.cpu_quota)
    return ("sh", "-c", ENTER, "sh", f"assay-{quota_us}", str(quota_us), str(period_us), *command)


def patient(sampling: Sampling, target: Target) -> Sampling:
    """Samples long enough for a quota to be even over them."""
    if target.cpu_quota is None:
        return sampling
    return dataclasses.replace(sampling, min_sample_s=max(sampling.min_sample_s, LEAST_SAMPLE_S))
