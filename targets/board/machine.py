"""The board's QEMU process: started so that it outlives its parent, known by its own command line, and nothing else is ever killed."""

from __future__ import annotations

import itertools
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

from targets.board.board import Board
from targets.errors import UserError
from targets.session import CommandFailed

PROGRAM = "qemu-system-aarch64"
START_S = 60.0
"""Until QEMU has opened its ports and gone into the background; the guest boots after that."""
END_S = 10.0
CONSOLE_LINES = 15
KERNEL_OPTIONS = "console=ttyAMA0 quiet panic=-1 nokaslr kpti=off mitigations=off"
"""An emulated core has no secrets to leak; without what guards them, starting a program takes a third of the time."""


def start(board: Board, kernel: Path, root: Path) -> None:
    """Start a machine that is not running. CommandFailed with QEMU's own words where it refuses, such as for a port that is taken."""
    check_emulator()
    console(board).unlink(missing_ok=True)
    try:
        done = subprocess.run(
            command(board, kernel, root),
            cwd=board.folder,
            env={"PATH": os.environ.get("PATH", os.defpath)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        stop(board)
        raise CommandFailed(f"board {board.name}: {PROGRAM} did not start within {START_S:g} s") from error
    if done.returncode != 0:
        raise CommandFailed(
            f"board {board.name}: {PROGRAM} would not start: {done.stderr.strip()[-500:]}. If a port is taken: "
            f"assay board down {board.name}, then up again"
        )


def check_emulator() -> None:
    if shutil.which(PROGRAM) is None:
        raise UserError(f"the board needs {PROGRAM}; install Debian's package qemu-system-arm")


def version() -> str:
    """QEMU's."""
    said = subprocess.run([PROGRAM, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout
    return said.partition("version ")[2].split()[0]


def command(board: Board, kernel: Path, root: Path) -> list[str]:
    """QEMU's `virt` machine with one network card behind which there is nothing but this machine's loopback.

    A deterministic one counts 1 ns for each instruction. It sleeps in real time where the guest is idle (`sleep=on`): otherwise its
    clock would run hours ahead within seconds and every connection would time out; what programs execute is counted the same.
    """
    network = ",".join((
        "user", "id=net", "restrict=on",
        f"hostfwd=tcp:127.0.0.1:{board.ssh_port}-:22", f"hostfwd=tcp:127.0.0.1:{board.adb_port}-:5555",
    ))  # fmt: skip
    return [
        PROGRAM, "-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none",
        "-name", f"assay-{board.name}",
        "-machine", "virt", "-cpu", "max,pauth-impdef=on" if board.cpu == "max" else board.cpu,
        "-smp", str(board.cpus), "-m", f"{board.memory_mib}M",
        *(("-icount", "shift=0,sleep=on") if board.deterministic else ()),
        "-kernel", str(kernel), "-initrd", str(root), "-append", KERNEL_OPTIONS + (" norandmaps" if board.deterministic else ""),
        "-serial", f"file:{console(board)}",
        "-netdev", network, "-device", "virtio-net-device,netdev=net",
        "-daemonize", "-pidfile", str(_pid_file(board)),
    ]  # fmt: skip


def process(board: Board) -> int | None:
    """The process id of the board's QEMU; None where it does not run.

    The number in the file may be a stranger's by now: it counts only if that process was started with this very file as `-pidfile`.
    """
    try:
        pid = int(_pid_file(board).read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    file = os.fsencode(_pid_file(board))
    return pid if any(pair == (b"-pidfile", file) for pair in itertools.pairwise(words)) else None


def stop(board: Board) -> None:
    """End the board's QEMU, gently, then for good. The guest keeps everything in memory: there is nothing for it to save."""
    pid = process(board)
    if pid is None:
        return
    try:
        handle = os.pidfd_open(pid)  # from here on the number cannot come to mean another process
    except ProcessLookupError:
        return
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process(board) != pid:
                return
            signal.pidfd_send_signal(handle, number)
            if select.select([handle], [], [], END_S)[0]:
                return
    finally:
        os.close(handle)
    raise CommandFailed(f"board {board.name}: process {pid} cannot be killed")


def uptime_s(board: Board) -> float | None:
    """Since QEMU started; None where it does not run."""
    return time.time() - _pid_file(board).stat().st_mtime if process(board) is not None else None


def console(board: Board) -> Path:
    """What the guest's kernel and servers say."""
    return board.folder / "console.log"


def last_words(board: Board) -> str:
    """The end of what the guest said, for a message."""
    path = console(board)
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return "\n".join(lines[-CONSOLE_LINES:]) or "it said nothing"


def _pid_file(board: Board) -> Path:
    return board.folder / "qemu.pid"
