"""A device as data: what it is, where it is, how it is reached, what it may be asked to bear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["cpu", "gpu", "fpga", "mcu"]


@dataclass(frozen=True, slots=True)
class Target:
    """One device of the inventory. Two targets of one physical host are never timed at once."""

    name: str
    transport: str = "local"
    """File name of the transport in `targets/transports/`."""
    kind: Kind = "cpu"
    isa: str = ""
    """`x86_64`, `aarch64` ...; empty: what the host is."""
    cpu: str = ""
    """CPU model as the cross compiler names it (`cortex_a72`); empty: unknown."""
    host: str = "localhost"
    """The physical host; regions timed on one host exclude each other."""
    address: str = ""
    work_dir: str = ""
    """Where artifacts and requests live on the device; empty: the transport's default."""
    python: str = ""
    """Interpreter that runs the Python runner on the device; empty: the transport's default."""
    meters: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    origin: Literal["measured", "emulated", "simulated"] = "measured"
    """What its times are: an emulated device's answers are real, its times are not."""
