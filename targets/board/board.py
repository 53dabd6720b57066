"""A board as data: what it is made to be, and the folder where all of it is kept until it is taken down."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from targets.data import data_root
from targets.errors import UserError, nearest
from targets.inventory import NAME, NAMES

CPUS = ("cortex-a35", "cortex-a53", "cortex-a57", "cortex-a72", "cortex-a76", "neoverse-n1", "max")
"""As QEMU's machine `virt` has them. `max`: all that QEMU can do, no real core."""
MOST_CPUS = 8
LEAST_MEMORY_MIB = 256


@dataclass(frozen=True, slots=True)
class Board:
    """One emulated board. Its two targets are NAME-ssh and NAME-adb."""

    name: str
    inventory: str
    """File that holds its targets' entries."""
    cpu: str = "cortex-a72"
    cpus: int = 1
    memory_mib: int = 1024
    """Half of it is the disk where targets work."""
    deterministic: bool = False
    """Time is instructions: the same work takes the same number of them."""
    ssh_port: int = 0
    adb_port: int = 0
    """Of this machine's loopback; 0: not chosen yet."""

    @property
    def folder(self) -> Path:
        return boards_folder() / self.name

    @property
    def mode(self) -> str:
        return "deterministic" if self.deterministic else "free-running"


def boards_folder() -> Path:
    return data_root() / "boards"


def check(board: Board) -> None:
    """UserError for a board that cannot be."""
    if not NAME.fullmatch(f"{board.name}-ssh"):
        raise UserError(f"board name {board.name!r}: {NAMES}, less the four of `-ssh`")
    if board.cpu not in CPUS:
        raise UserError(f"unknown CPU `{board.cpu}`.{nearest(board.cpu, CPUS)}")
    if not 1 <= board.cpus <= MOST_CPUS:
        raise UserError(f"a board has 1 to {MOST_CPUS} CPUs, not {board.cpus}")
    if board.deterministic and board.cpus > 1:
        raise UserError("a deterministic board has one CPU: which of several gets how far is chance")
    if board.memory_mib < LEAST_MEMORY_MIB:
        raise UserError(f"a board needs {LEAST_MEMORY_MIB} MiB of memory, not {board.memory_mib}")


def save(board: Board) -> None:
    path = board.folder / "board.json"
    path.with_suffix(".part").write_text(json.dumps(dataclasses.asdict(board), indent=1))
    path.with_suffix(".part").replace(path)


def boards() -> dict[str, Board]:
    """All that were brought up and not taken down, running or not, by name."""
    notes = sorted(boards_folder().glob("*/board.json"))
    return {note.parent.name: Board(**json.loads(note.read_text())) for note in notes}
