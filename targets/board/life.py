"""Boards brought up and taken down."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from targets.board import answers, entries, keys, machine
from targets.board.board import Board, boards, boards_folder, check, save
from targets.board.fetch import RELEASE
from targets.board.image import Entry, Image, cpio, image
from targets.errors import UserError, nearest

BOOT_S = 180.0
"""It takes 3 s on an idle machine."""


def up(wanted: Board, say: Callable[[str], None] = lambda _text: None) -> Board:
    """The board, running, answering and registered; again is fine, and so is after its QEMU was killed.

    A new board that does not come up leaves nothing behind.
    """
    check(wanted)
    with _alone():
        known = boards().get(wanted.name)
        if known is None:
            return _made(wanted, say)
        _check_is_same(known, wanted)
        if machine.process(known) is None:
            _boot(known, image(say), say)
        else:
            answers.wait(known, BOOT_S)
        entries.register(known)
        return known


def down(name: str) -> Board:
    """Stop it, and delete all that it left but the cache."""
    with _alone():
        known = boards()
        if name not in known:
            raise UserError(f"there is no board `{name}`.{nearest(name, known)}")
        _delete(known[name])
        return known[name]


def _check_is_same(known: Board, wanted: Board) -> None:
    other = replace(known, ssh_port=0, adb_port=0)
    for field in dataclasses.fields(Board):
        is_now, asked = getattr(other, field.name), getattr(wanted, field.name)
        if is_now != asked:
            raise UserError(
                f"board {known.name} is there, with {field.name} {is_now} and not {asked}; choose another name, or: "
                f"assay board down {known.name}"
            )


def _made(wanted: Board, say: Callable[[str], None]) -> Board:
    machine.check_emulator()
    keys.check_keygen()
    entries.check_are_new(wanted)
    made = image(say)
    ssh_port, adb_port = _free_ports(2)
    board = replace(wanted, ssh_port=ssh_port, adb_port=adb_port)
    if board.folder.exists():
        shutil.rmtree(board.folder)  # an `up` was killed before there was a board
    with ExitStack() as undo:
        board.folder.mkdir(mode=0o700)
        undo.callback(_delete, board)
        keys.make(board)
        save(board)
        _boot(board, made, say)
        entries.register(board)
        undo.pop_all()
    return board


def _boot(board: Board, made: Image, say: Callable[[str], None]) -> None:
    say(f"booting board {board.name}")
    root = board.folder / "root"
    root.write_bytes(cpio((*keys.entries(board), _release(board))) + made.root.read_bytes())
    machine.start(board, made.kernel, root)
    answers.wait(board, BOOT_S)


def _release(board: Board) -> Entry:
    """What the board says that it is: part of its machine key, so that numbers of different emulators or modes never share a history."""
    name = f"Assay's board ({RELEASE}) on QEMU {machine.version()}, {board.mode}"
    return Entry("etc/os-release", stat.S_IFREG | 0o644, f'NAME="Assay board"\nPRETTY_NAME="{name}"\n'.encode())


def _delete(board: Board) -> None:
    machine.stop(board)
    entries.unregister(board)
    shutil.rmtree(board.folder)


def _free_ports(count: int) -> tuple[int, ...]:
    """Of loopback, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return tuple(one.getsockname()[1] for one in sockets)


@contextmanager
def _alone() -> Iterator[None]:
    """One `up` or `down` of this user at a time: they make folders, choose ports and write the inventory."""
    boards_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(boards_folder(), os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
