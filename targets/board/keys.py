"""Who the board is and who may log in: both keys are made here, so that the very first connection knows whom it talks to."""

from __future__ import annotations

import hashlib
import shutil
import stat
import subprocess
from pathlib import Path

from targets.board.board import Board
from targets.board.image import Entry
from targets.errors import UserError


def check_keygen() -> None:
    if shutil.which("ssh-keygen") is None:
        raise UserError("the board's keys are made by ssh-keygen; install Debian's package openssh-client")


def make(board: Board) -> None:
    """The board's own key and the one to log in with, in the board's folder, which is the user's alone."""
    for path in (host_key(board), login_key(board)):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"assay-{board.name}", "-f", str(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
    known_hosts(board).write_text(f"[127.0.0.1]:{board.ssh_port} {host_key(board).with_suffix('.pub').read_text()}")


def entries(board: Board) -> tuple[Entry, ...]:
    """What of the board's file system is its own."""
    public = login_key(board).with_suffix(".pub").read_bytes()
    identity = hashlib.sha256(host_key(board).with_suffix(".pub").read_bytes()).hexdigest()[:32]
    return (
        Entry("etc/hostname", stat.S_IFREG | 0o644, f"{board.name}\n".encode()),
        Entry("etc/machine-id", stat.S_IFREG | 0o444, f"{identity}\n".encode()),
        Entry("etc/dropbear/openssh_key", stat.S_IFREG | 0o600, host_key(board).read_bytes()),
        Entry("root", stat.S_IFDIR | 0o700),
        Entry("root/.ssh", stat.S_IFDIR | 0o700),
        Entry("root/.ssh/authorized_keys", stat.S_IFREG | 0o600, public),
    )


def host_key(board: Board) -> Path:
    return board.folder / "host_key"


def login_key(board: Board) -> Path:
    return board.folder / "login_key"


def known_hosts(board: Board) -> Path:
    return board.folder / "known_hosts"
