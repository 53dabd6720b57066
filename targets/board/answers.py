"""Whether a board that was started does what it is for: commands by SSH, and a greeting by ADB."""

from __future__ import annotations

import socket
import struct
import time

from targets import transports
from targets.board import machine
from targets.board.board import Board
from targets.board.entries import targets
from targets.session import Unreachable

NETWORK_IS_UP = "assay board: the network is up"
"""guest/init's last words. A connection that is tried before hangs: QEMU accepts it, and there is no one to hand it to."""
PAUSE_S = 0.1
KNOCK_S = 5.0
_ADB_HEADER = struct.Struct("<4sIIIII")
"""Command, two arguments, length and sum of the payload, the command's bits inverted (adb's protocol.txt)."""
_ADB_VERSION, _ADB_MOST_BYTES = 0x01000001, 1 << 18


def wait(board: Board, limit_s: float) -> None:
    """Until both ways lead in. Unreachable, with what the guest said last, where they do not."""
    deadline = time.monotonic() + limit_s
    missing = "the guest did not boot"
    while machine.process(board) is not None:
        if machine.console(board).exists() and NETWORK_IS_UP in machine.console(board).read_text(errors="replace"):
            try:
                knock(board)
                return
            except Unreachable as error:
                missing = str(error)
        if time.monotonic() > deadline:
            raise Unreachable(
                f"board {board.name}: not up after {limit_s:g} s: {missing}. Its console:\n{machine.last_words(board)}"
            )
        time.sleep(PAUSE_S)
    raise Unreachable(f"board {board.name}: QEMU ended by itself. Its console:\n{machine.last_words(board)}")


def knock(board: Board) -> None:
    """Unreachable unless it answers now. A host key that is not the one it was given is CommandFailed."""
    over_ssh, _ = targets(board)
    with transports.connect(over_ssh) as session:
        if session.run(["true"], timeout_s=KNOCK_S).exit_status != 0:
            raise Unreachable("it runs no commands")
    _greet_adb(board.adb_port)


def _greet_adb(port: int) -> None:
    """What an adb client says first, and the answer, without a client: the daemon is there and would take a connection."""
    payload = b"host::\0"
    inverted = int.from_bytes(b"CNXN", "little") ^ 0xFFFFFFFF
    hello = _ADB_HEADER.pack(b"CNXN", _ADB_VERSION, _ADB_MOST_BYTES, len(payload), sum(payload), inverted) + payload
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=KNOCK_S) as connection:
            connection.sendall(hello)
            while len(answer) < 4 and (more := connection.recv(4 - len(answer))):
                answer += more
    except OSError as error:
        raise Unreachable(f"adbd does not answer: {error.strerror or error}") from error
    if answer != b"CNXN":
        raise Unreachable(f"what answers there is not adbd: {answer!r}")
