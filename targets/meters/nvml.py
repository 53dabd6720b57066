"""NVIDIA's own account of a GPU, through its driver's NVML: the counter of joules, held against the power that is told beside it.

A small Python program on the device reads both, so the GPU may be in another machine; it needs the driver alone. The counter moves about ten times a
second (Volta or newer), so what counts are the moments in which it moved. On A100 and H100 the sensor looks at a quarter of the time only (Yang,
Adamek, Armour 2024, arXiv 2312.02741): where counter and power differ by more than 10 %, both are doubtful, and the flag `cross_check` says so.

Peaks are the power's where it is of the moment: the driver's field 186, or what older GPUs tell. Newer ones without that field tell a mean of
the last second (NVML's reference, nvmlDeviceGetPowerUsage): there the counter's largest rise is the better peak. The record says which it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le

from targets.meters import Recording, Silent
from targets.power.sampled import PYTHON, Readings, sampled
from targets.power.trace import Channel, NoTrace, Tier, Trace
from targets.session import Session

Floats = npt.NDArray[np.float64]

MOST_APART = 0.1
TIMEOUT_S = 60.0
INSTANT, MEAN = "of the moment", "a mean of the last second"
GA100 = (8, 0)
"""The last compute capability whose power usage is of the moment."""
READ = """
import ctypes, json, sys

def checked(what, code):
    if code:
        text = nvml.nvmlErrorString
        text.restype = ctypes.c_char_p
        sys.exit("%s: %s" % (what, text(code).decode("utf-8", "replace")))

try:
    nvml = ctypes.CDLL(library)
except OSError as error:
    sys.exit("no NVIDIA driver: %s" % error)
checked("NVML does not begin", nvml.nvmlInit_v2())
device = ctypes.c_void_p()
if gpu.isdigit():
    checked("GPU " + gpu, nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(int(gpu)), ctypes.byref(device)))
else:
    checked("GPU " + gpu, nvml.nvmlDeviceGetHandleByUUID(gpu.encode(), ctypes.byref(device)))

class Field(ctypes.Structure):  # nvmlFieldValue_t
    _fields_ = [("id", ctypes.c_uint), ("scope", ctypes.c_uint), ("at_us", ctypes.c_longlong), ("took_us", ctypes.c_longlong),
                ("kind", ctypes.c_uint), ("status", ctypes.c_uint), ("value", ctypes.c_uint), ("rest", ctypes.c_uint)]

def told(ask, kind):
    value = kind()
    return ask(device, ctypes.byref(value)), value.value

def of_the_moment():
    field = Field(id=186)
    return nvml.nvmlDeviceGetFieldValues(device, 1, ctypes.byref(field)) or field.status, field.value

ways = {
    "millijoules": lambda: told(nvml.nvmlDeviceGetTotalEnergyConsumption, ctypes.c_ulonglong),
    "milliwatts": lambda: told(nvml.nvmlDeviceGetPowerUsage, ctypes.c_uint),
}
source = "nvmlDeviceGetPowerUsage"
if hasattr(nvml, "nvmlDeviceGetFieldValues") and of_the_moment()[0] == 0:
    ways["milliwatts"], source = of_the_moment, "NVML_FI_DEV_POWER_INSTANT"

def read(word):
    status, value = ways[word]()
    return "-" if status else str(value)

for word, way in ways.items():
    checked(word, way()[0])
major, minor = ctypes.c_int(), ctypes.c_int()
checked("capability", nvml.nvmlDeviceGetCudaComputeCapability(device, ctypes.byref(major), ctypes.byref(minor)))
name, driver = ctypes.create_string_buffer(96), ctypes.create_string_buffer(96)
checked("name", nvml.nvmlDeviceGetName(device, name, 96))
checked("driver", nvml.nvmlSystemGetDriverVersion(driver, 96))
words_of = [text.value.decode("utf-8", "replace") for text in (name, driver)]
print(json.dumps([*words_of, source, major.value, minor.value]), file=sys.stderr)
"""
"""By the name of a way. `library` and `gpu` are set before."""


@dataclass(frozen=True, slots=True)
class Nvml:
    """The board as its driver sees it. A Jetson has no such counter: its rails are `hwmon`'s."""

    gpu: str = "0"
    """Its number, or its UUID (`nvidia-smi -L`), which stays the same."""
    rate_hz: Annotated[float, Gt(0), Le(200)] = 50.0
    """How often it is looked whether the counter has moved."""
    uncertainty: Annotated[float, Ge(0), Le(1)] = 0.05
    """Relative, as nvidia-smi's documentation states of its power readings."""
    library: str = "libnvidia-ml.so.1"
    """The driver's, as the device's loader finds it."""

    tier: ClassVar[Tier] = "T4"

    def window(self, session: Session) -> AbstractContextManager[Recording]:
        if session.python == "none":
            return nullcontext(Silent(NoTrace("nvml: it is read by a Python program on the device, which has no Python")))
        read = f"library, gpu = {(self.library, self.gpu)!r}{READ}"
        # A recording of no length: it begins, asks for all once, and ends.
        tried = session.run([session.python, "-S", "-E", "-c", read + PYTHON, "", "1", "0"], timeout_s=TIMEOUT_S)
        said = tried.stderr.decode("utf-8", "replace").strip()
        if tried.exit_status != 0:
            return nullcontext(Silent(NoTrace(f"nvml: {said[-300:]}; see whether `nvidia-smi` works there")))
        name, driver, source, *capability = json.loads(said.splitlines()[-1])
        facts = {"gpu": name, "driver": driver, "power_from": source, "power_is": _power_is(source, tuple(capability))}
        return sampled(session, ["millijoules", "milliwatts"], self.rate_hz, lambda found: self._trace(found, facts), read)

    def _trace(self, readings: Readings, facts: Mapping[str, Any]) -> Trace | NoTrace:
        joules, watts = readings.values[:, 0] * 1e-3, readings.values[:, 1] * 1e-3
        if (np.diff(joules) < 0).any():
            return NoTrace("nvml: the counter went back: the driver was loaded anew meanwhile")
        moved = np.flatnonzero(np.diff(joules) > 0) + 1
        if len(moved) < 2:
            return NoTrace(f"nvml: the counter moved {len(moved)} times; measure longer")
        checked = _checked(readings.time_s, joules, watts, moved)
        return Trace(
            "nvml",
            self.tier,
            "measured",
            "CLOCK_MONOTONIC",
            readings.time_s[moved],
            joules[moved][:, None],
            (Channel("board", "J"),),
            None,
            None,
            readings.unread,
            self.uncertainty,
            readings.offset,
            {**facts, **checked},
            ("cross_check",) if abs(checked["power_over_counter"] - 1) > MOST_APART else (),
            np.stack([readings.time_s, watts], axis=1) if facts["power_is"] == INSTANT else np.empty((0, 2)),
        )


METER = Nvml


def _power_is(source: str, capability: tuple[int, ...]) -> str:
    return MEAN if source == "nvmlDeviceGetPowerUsage" and capability > GA100 else INSTANT


def _checked(time_s: Floats, joules: Floats, watts: Floats, moved: npt.NDArray[np.int64]) -> dict[str, float]:
    """The joules that the counter counted between its first move and its last, and those that the power adds up to meanwhile."""
    whole = slice(moved[0], moved[-1] + 1)
    counted, added = float(joules[moved[-1]] - joules[moved[0]]), float(np.trapezoid(watts[whole], time_s[whole]))
    return {"counter_j": counted, "power_j": added, "power_over_counter": added / counted}
