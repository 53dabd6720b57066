"""Another instruction set on this machine: programs built for it run under qemu's user-mode emulation. Their answers are real, their times are not.

    with connect(Target("arm", transport="qemu", isa="aarch64", cpu="cortex_a72")) as session:
        session.push(Path("program"), "program")
        session.run(["./program", "x"], timeout_s=10)        # qemu-aarch64 -cpu cortex-a72 -0 ./program .../program x

Only a program that the session itself starts, and that is an ELF file of the device's instruction set, is emulated. All else (sh, cat, a
script) is this machine's own, as are files, kernel, memory and clock: a session keeps the promises of `local`, by the same code. So a
program must be static (there is no sysroot), and a shell script cannot start it. Commands see as many CPUs as this machine has.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from targets.facts import ITSELF
from targets.here import LocalSession, session_here
from targets.session import CommandFailed
from targets.target import Target
from targets.transports.qemu.counting import counting_words


class Guest(NamedTuple):
    """How others than `uname -m` call an instruction set."""

    emulator: str
    machine: int
    """e_machine of its ELF files (elf.h)."""
    any_cpu: str
    """The model for a target that names no CPU: what the emulator has of everything."""


GUESTS: Mapping[str, Guest] = {
    "aarch64": Guest("qemu-aarch64", 183, "max"),
    "armv7l": Guest("qemu-arm", 40, "max"),
    "riscv64": Guest("qemu-riscv64", 243, "rv64"),
    "x86_64": Guest("qemu-x86_64", 62, "max"),
}


@contextmanager
def connect(target: Target) -> Iterator[LocalSession]:
    """A session in a work directory of this machine. CommandFailed if the emulator is not there, or has no such CPU."""
    guest = GUESTS.get(target.isa)
    if guest is None:
        raise CommandFailed(f"target {target.name}: nothing here emulates `{target.isa}`; `isa` is one of {', '.join(GUESTS)}")
    if target.isa == platform.machine():
        raise CommandFailed(f"target {target.name}: this machine is {target.isa} itself; use the transport `local`")
    program = shutil.which(guest.emulator) or shutil.which(f"{guest.emulator}-static")
    if program is None:
        raise CommandFailed(
            f"target {target.name}: there is no {guest.emulator} here; install it (Debian: apt-get install qemu-user)"
        )
    version = re.search(r"version (\S+)", _said(target, [program, "--version"]))
    cpu = emulated_cpu(target, guest, offered_cpus(_said(target, [program, "-cpu", "help"])))
    about = (f"isa: {target.isa}", f"cpu: {cpu}", f"emulator: qemu-user {version[1] if version else 'of unknown version'}")
    counting = counting_words(target.name, program, version[1] if version else "0") if target.counts_instructions else ()
    yield session_here(target, Emulation(guest.machine, (program, "-cpu", cpu, *counting), about))


@dataclass(frozen=True, slots=True)
class Emulation:
    """What this machine executes for a command of the device."""

    machine: int
    emulator: tuple[str, ...]
    about: tuple[str, ...]

    def __call__(self, argv: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Sequence[str]:
        if argv[0] == ITSELF:
            return ["printf", r"%s\n", *self.about]
        found = folder / argv[0] if "/" in argv[0] else shutil.which(argv[0], path=environment.get("PATH"))
        machine = elf_machine(Path(found)) if found and os.access(found, os.X_OK) else None
        if machine is None or machine == elf_machine(Path(sys.executable)):
            return argv  # for the kernel to run, or to refuse
        if machine != self.machine:
            raise OSError(errno.ENOEXEC, os.strerror(errno.ENOEXEC))
        return [*self.emulator, "-0", argv[0], str(found), *argv[1:]]


def elf_machine(path: Path) -> int | None:
    """For which machine a program is built; None for what is no ELF file of little-endian words."""
    try:
        with path.open("rb") as file:
            head = file.read(20)
    except OSError:
        return None
    is_elf = len(head) == 20 and head.startswith(b"\x7fELF") and head[5] == 1
    return int(struct.unpack_from("<H", head, 18)[0]) if is_elf else None


def offered_cpus(text: str) -> tuple[str, ...]:
    """The models that `-cpu help` lists, one a line; x86's lines begin with `x86`, and flags follow them."""
    lines = [line.removeprefix("x86 ").split() for line in text.partition("Recognized")[0].splitlines()]
    return tuple(words[0] for words in lines if words and words[0] != "Available")


def emulated_cpu(target: Target, guest: Guest, offered: Sequence[str]) -> str:
    """The compiler's name of a CPU as qemu writes it: cortex_a72 -> cortex-a72, baseline_rv64+v+zvl256b -> rv64,v=true,vlen=256."""
    name, *features = re.split(r"(?=[+-])", target.cpu)
    is_any = not name or name.startswith(("baseline", "generic"))
    model = {cpu.lower(): cpu for cpu in offered}.get(guest.any_cpu if is_any else name.replace("_", "-").lower())
    if model is None:
        raise CommandFailed(f"target {target.name}: {guest.emulator} has no CPU `{name}`; its own are {', '.join(offered)}")
    if features and target.isa != "riscv64":
        raise CommandFailed(
            f"target {target.name}: {guest.emulator} adds no features to a CPU: `{target.cpu}`; name one that has them"
        )
    return ",".join([model, *map(_property, features)])


def _property(feature: str) -> str:
    length = re.fullmatch(r"\+zvl(\d+)b", feature)
    return f"vlen={length[1]}" if length else f"{feature[1:]}={'true' if feature[0] == '+' else 'false'}"


def _said(target: Target, command: Sequence[str]) -> str:
    """Whatever the exit status: after `-cpu help` some versions say 1."""
    try:
        return subprocess.run(command, capture_output=True, timeout=target.connect_s, check=False, text=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise CommandFailed(
            f"target {target.name}: {' '.join(command)} did not answer: {error}; is it installed whole?"
        ) from error
