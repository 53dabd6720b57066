"""Monsoon's High Voltage Power Monitor: current and voltage of its main output 5000 times a second, by its maker's USB protocol (`monsoon`).

Only the maker's way to the instrument is used. What it sends is decoded here: his own decoder stamps samples by when they arrive, and leaves some out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from targets.meters import Recording
from targets.power.arrivals import offset_of_arrivals
from targets.power.blocks import means
from targets.power.listening import Heard, InstrumentError, listening
from targets.power.trace import Channel, Tier, Trace
from targets.session import Session

Floats = npt.NDArray[np.float64]

SAMPLES_HZ = 5000
MEAN_OF = 5
"""Samples: so no gap is where the instrument looks at itself for one or two of them."""
PACKET = np.dtype([("lost", ">u2"), ("flags", "u1"), ("count", "u1"), ("samples", "u1", (3, 18))])
"""Of 64 bytes the first 58: samples lost so far, samples in this packet, and those."""
SAMPLE = np.dtype(
    [("main_coarse", ">u2"), ("main_fine", ">u2"), ("usb", ">u2", 2), ("aux", ">u2", 2), ("main_volts", ">u2"), ("usb_volts", ">u2"),
     ("gains", "u1"), ("kind", "u1")]
)  # fmt: skip
KIND, MEASURED, ZERO, REFERENCE = 0x30, 0x00, 0x10, 0x30
"""Now and then the instrument measures nothing, or a reference, in a sample's place."""
FINE_MOST = 64000
"""Of the fine converter: above it the coarse one counts. Both end at 65535."""
COARSE_END = 65535
VOLTS_A_COUNT = 62.5e-6 * 4
HIGH_VOLTAGE = 2
CALIBRATED_EVERY_MS = 1250


@dataclass(frozen=True, slots=True)
class Monsoon:
    """It supplies the device, at the voltage that was set before: a meter that sets it would start the device anew."""

    device: str = ""
    """Its serial number, where several are attached."""
    uncertainty: Annotated[float, Ge(0)] = 0.02
    """Relative: ours until yours was compared with a better meter."""

    tier: ClassVar[Tier] = "T2"

    def window(self, session: Session) -> AbstractContextManager[Recording]:
        scales: dict[str, float] = {}
        return listening(session, self._opened(scales), lambda heard: self._trace(heard, scales))

    @contextmanager
    def _opened(self, scales: dict[str, float]) -> Iterator[Callable[[], bytes]]:
        """`scales` takes the instrument's calibration."""
        try:
            from Monsoon import HVPM, pmapi
        except ImportError:
            raise InstrumentError("monsoon needs the package `monsoon`: pip install 'assay[meters]'") from None

        def read() -> bytes:
            try:
                return bytes(instrument.BulkRead())
            except OSError as error:  # a USBError, also of no packet within a second
                raise InstrumentError(f"monsoon: {device} broke off ({error}); check its cable") from None

        instrument = HVPM.Monsoon()
        try:
            device = self._device(instrument.enumerateDevices())
            instrument.setup_usb(device, pmapi.USB_protocol())
        except (OSError, ValueError) as error:
            raise InstrumentError(
                f"monsoon: it cannot be opened ({error}); is it on, and may this user use its USB device?"
            ) from None
        try:
            instrument.StartSampling(CALIBRATED_EVERY_MS)
            status = instrument.statusPacket
            if status.hardwareModel != HIGH_VOLTAGE:
                raise InstrumentError(f"monsoon: {device} is no High Voltage Power Monitor, whose packets alone are known here")
            scales |= {
                "fine_a": status.mainFineScale * 1e-6,
                "coarse_a": status.mainCoarseScale * 1e-3,
                "fine_zero": status.mainFineZeroOffset,
                "coarse_zero": status.mainCoarseZeroOffset,
                "serial": float(status.serialNumber),
            }
            yield read
        except ValueError as error:
            raise InstrumentError(f"monsoon: {device} does not begin ({error}); switch it off and on again") from None
        finally:
            instrument.closeDevice()

    def _device(self, attached: Sequence[str]) -> str:
        found = [serial for serial in attached if self.device in ("", serial)]
        if len(found) == 1:
            return found[0]
        raise InstrumentError(
            f"monsoon: attached: {', '.join(attached) or 'none'}; `device` ({self.device or 'not set'}) must leave one"
        )

    def _trace(self, heard: Sequence[Heard[bytes]], scales: Mapping[str, float]) -> Trace:
        packets = np.frombuffer(b"".join(piece.said[: PACKET.itemsize].ljust(PACKET.itemsize, b"\0") for piece in heard), PACKET)
        samples, number, last, lost = _samples(packets)
        is_measured = samples["kind"] & KIND == MEASURED
        amperes, is_clipped = (column[is_measured] for column in _amperes(samples, scales))
        volts = samples["main_volts"][is_measured] * VOLTS_A_COUNT
        watts = amperes * volts
        most_w = float(watts.max()) if is_clipped.any() else math.inf
        watts[is_clipped] = most_w
        middle, means_w = means(number[is_measured], watts, MEAN_OF, least=1, most=most_w)
        return Trace(
            "monsoon",
            self.tier,
            "measured",
            "its own",
            middle / SAMPLES_HZ,
            means_w[:, None],
            (Channel("main", "W"),),
            SAMPLES_HZ / MEAN_OF,
            (-most_w, most_w) if is_clipped.any() else None,
            lost,
            self.uncertainty,
            offset_of_arrivals(last / SAMPLES_HZ, np.array([piece.got_s for piece in heard])),
            {"serial": int(scales["serial"]), "volts": float(np.median(volts))},
        )


METER = Monsoon


def _samples(packets: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """(samples [n], number of each where those that were lost count too, number of each packet's last, how many were lost)."""
    counts = packets["count"].astype(np.int64)
    if not counts.any() or (counts > 3).any():
        raise InstrumentError("monsoon: its packets hold no samples; is it a High Voltage Power Monitor?")
    so_far = packets["lost"].astype(np.int64)
    lost = np.cumsum(np.mod(np.diff(so_far, prepend=so_far[:1]), 1 << 16))
    begins = np.cumsum(counts) - counts + lost
    is_there = np.arange(3) < counts[:, None]
    samples = np.ascontiguousarray(packets["samples"][is_there]).view(SAMPLE)[:, 0]
    number = (begins[:, None] + np.arange(3))[is_there]
    return samples, number, begins + counts - 1, int(lost[-1])


def _amperes(samples: npt.NDArray[Any], scales: Mapping[str, float]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """(amperes [n], whether beyond the range): between nothing and the reference each converter is linear."""
    kinds = samples["kind"] & KIND
    if not (kinds == ZERO).any() or not (kinds == REFERENCE).any():
        raise InstrumentError(f"monsoon: it was not calibrated within {len(samples) / SAMPLES_HZ:.2g} s; measure longer")
    amperes = dict[str, Floats]()
    for name in ("fine", "coarse"):
        raw = samples[f"main_{name}"].astype(np.float64)
        zero = float(raw[kinds == ZERO].mean()) + scales[f"{name}_zero"]
        reference = float(raw[kinds == REFERENCE].mean())
        if reference <= zero:
            raise InstrumentError("monsoon: its reference is no larger than nothing; let its maker calibrate it")
        amperes[name] = (raw - zero) * scales[f"{name}_a"] / (reference - zero)
    is_fine = samples["main_fine"] < FINE_MOST
    return np.where(is_fine, amperes["fine"], amperes["coarse"]), ~is_fine & (samples["main_coarse"] >= COARSE_END)
