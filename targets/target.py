"""A device as data: what it is, where it is, how it is reached, what it may be asked to bear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

Kind = Literal["cpu", "gpu", "fpga", "mcu"]
SETTLED: Mapping[str, Mapping[str, object]] = {"qemu": {"origin": "emulated", "python": "none", "sysfs": "/nonexistent"}}
"""Transport -> what it leaves no choice about: an emulator's times are never measured, it runs the programs it is given, and no clock is its own."""


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
    """Host name, IP address, or a name of ~/.ssh/config; over adb a serial number."""
    port: int = 0
    """0: the transport's own, or what ~/.ssh/config says."""
    user: str = ""
    key_file: str = ""
    """Private key; empty: the agent's, ~/.ssh/config's and the usual ones."""
    known_hosts: str = ""
    """File with the device's host keys, and the only one that is asked; empty: ~/.ssh/config's or the usual ones."""
    secret_env: str = ""
    """Environment variable that holds the key's passphrase or the account's password: secrets are never written down."""
    jump: str = ""
    """`user@host:port`, or a name of ~/.ssh/config, through which the device is reached; several by commas, outermost first."""
    connect_s: float = 30.0
    """How long the device may take to answer when it is called."""
    work_dir: str = ""
    """Where artifacts and requests live on the device; empty: the transport's default."""
    lease_dir: str = ""
    """Folder of the device's leases, the same in every entry of one device; empty: in /data/local/tmp, /var/tmp or /tmp, the first there is."""
    python: str = ""
    """Interpreter that runs the Python runner on the device; empty: the transport's default."""
    meters: tuple[str, ...] = ()
    """What measures its power (`targets/meters/`): the name of each, then its parameters as JSON where it is given some."""
    tags: tuple[str, ...] = ()
    thread_counts: tuple[int, ...] = ()
    """That make sense here: one core, one cluster, all cores."""
    frequencies_hz: tuple[int, ...] = ()
    """Steps the clock can be pinned to."""
    sysfs: str = "/sys"
    """Where the device's /sys is."""
    android_quiet: bool = False
    """While something is timed the phone is put on airplane mode, forced idle, and told that it is on battery; then as it was."""
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
    cpu_quota: Annotated[float, Ge(0.1), Le(1024)] | None = None
    """CPUs' worth of time that a network gets there, by a control group: 0.5 emulates half of one. Its times are `emulated` then."""
    counts_instructions: bool = False
    """The same work is the same number of instructions there, every time: the runner counts them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", self.host or self.address or "localhost")
        for field, value in SETTLED.get(self.transport, {}).items():
            object.__setattr__(self, field, value)
        if self.cpu_quota is not None:
            object.__setattr__(self, "origin", "emulated")

    @property
    def no_time(self) -> str:
        """Why what its clock tells is no time; empty where it is one."""
        if not self.counts_instructions or self.origin == "measured":
            return ""
        if self.transport == "qemu":
            return "the emulator counts instructions there, which takes it time of its own"
        return "the clock there ticks once an instruction: it counts them, and tells no time"

    @property
    def counted_by(self) -> str:
        """Who counts instructions there."""
        return "by the emulator" if self.transport == "qemu" else "by the CPU's own counter (perf_event_open)"

    @property
    def no_memory(self) -> str:
        """Why the memory of a process there is not its program's; empty where it is."""
        is_shared = self.transport == "qemu"
        return "a process there is emulator and program in one, and so is its memory" if is_shared else ""
