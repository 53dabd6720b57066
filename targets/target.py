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
    host: str = ""
    """The physical host; regions timed on one host exclude each other. Empty: the address, or this machine where there is none."""
    address: str = ""
    """Host name, IP address, or a name of ~/.ssh/config."""
    port: int = 0
    """0: the transport's own, or what ~/.ssh/config says."""
    user: str = ""
    key_file: str = ""
    """Private key; empty: the agent's, ~/.ssh/config's and the usual ones."""
    secret_env: str = ""
    """Environment variable that holds the key's passphrase or the account's password: secrets are never written down."""
    jump: str = ""
    """`user@host:port`, or a name of ~/.ssh/config, through which the device is reached; several by commas, outermost first."""
    connect_s: float = 30.0
    """How long the device may take to answer when it is called."""
    work_dir: str = ""
    """Where artifacts and requests live on the device; empty: the transport's default."""
    python: str = ""
    """Interpreter that runs the Python runner on the device; empty: the transport's default."""
    meters: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    thread_counts: tuple[int, ...] = ()
    """That make sense here: one core, one cluster, all cores."""
    frequencies_hz: tuple[int, ...] = ()
    """Steps the clock can be pinned to."""
    power_cycle: tuple[str, ...] = ()
    """A command for this machine, as a list of words, that switches the device off and on again."""
    max_celsius: float | None = None
    """Above it the device is too hot to be timed: `assay doctor` says so."""
    max_run_s: float | None = None
    """No command runs longer, whatever the suite allows."""
    max_disk_bytes: int = 4 << 30
    """Of pushed files kept on the device; the least recently used go first."""
    origin: Literal["measured", "emulated", "simulated"] = "measured"
    """What its times are: an emulated device's answers are real, its times are not."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", self.host or self.address or "localhost")
