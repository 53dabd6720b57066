"""The board in the inventory: one machine, two targets, by SSH and by ADB."""

from __future__ import annotations

from pathlib import Path

from targets.board import keys
from targets.board.board import Board
from targets.errors import UserError
from targets.inventory import add_entry, check_is_new, entry_text, load_inventory, remove_entry
from targets.target import Target

ABOUT = "an emulated arm64 board of `assay board up`; `assay board down` takes this entry away"


def targets(board: Board) -> tuple[Target, Target]:
    """By SSH and by ADB. Both are on this machine's cores: while one is timed, nothing else of ours runs here."""

    def target(way: str, port: int, user: str, key_file: str, known_hosts: str) -> Target:
        name = f"{board.name}-{way}"
        return Target(
            name,
            way,
            isa="aarch64",
            cpu="" if board.cpu == "max" else board.cpu.replace("-", "_"),
            host="localhost",
            address="127.0.0.1",
            port=port,
            user=user,
            key_file=key_file,
            known_hosts=known_hosts,
            work_dir=f"/data/{name}",
            python="none",
            tags=("deterministic",) if board.deterministic else (),
            thread_counts=tuple(sorted({1, board.cpus})),
            max_disk_bytes=disk_bytes(board) // 3,
            origin="emulated",
            counts_instructions=board.deterministic,
        )

    return (
        target("ssh", board.ssh_port, "root", str(keys.login_key(board)), str(keys.known_hosts(board))),
        target("adb", board.adb_port, "", "", ""),
    )


def disk_bytes(board: Board) -> int:
    """Of /data, which both targets share: guest/init gives it half of the memory."""
    return board.memory_mib << 19


def check_are_new(board: Board) -> None:
    for target in targets(board):
        check_is_new(Path(board.inventory), target.name)


def register(board: Board) -> None:
    """Write the entries that are not there. UserError where one of their names is another device's."""
    path = Path(board.inventory)
    for target in targets(board):
        known = load_inventory(path) if path.exists() else {}
        if target.name not in known:
            add_entry(path, target, entry_text(target, ABOUT))
        elif not _is_same_place(known[target.name], target):
            raise UserError(
                f"{path}: the target `{target.name}` is not board {board.name}'s; delete its entry, or choose another name"
            )


def unregister(board: Board) -> None:
    """Take the entries away, unless they were changed to lead elsewhere."""
    path = Path(board.inventory)
    for target in targets(board):
        known = load_inventory(path) if path.exists() else {}
        if target.name in known and _is_same_place(known[target.name], target):
            remove_entry(path, target.name)


def _is_same_place(one: Target, other: Target) -> bool:
    """A user may well have changed the rest."""
    return (one.transport, one.address, one.port) == (other.transport, other.address, other.port)
