"""adbd in a network of its own, since it listens everywhere and asks nobody who he is; this machine reaches it through one socket.

    unshare --net --mount python lone_adbd.py LISTENING_FD SHELL OLD ADBD

SHELL takes the place of /bin/sh there. OLD is 1 for a device that tells of no features and takes 4 KiB at once, as adbd of old.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress

PORT = 5555
HEADER = struct.Struct("<4sIIIII")
"""AOSP's protocol.txt: command, two arguments, length and sum of the payload, the command inverted."""


def main(listening_fd: str, shell: str, old: str, adbd: str) -> None:
    _die_with_parent()
    listening = socket.socket(fileno=int(listening_fd))
    _raise_loopback()
    _bind(shell, os.path.realpath("/bin/sh"))
    subprocess.Popen([adbd], env=os.environ | {"ADBD_PORT": str(PORT)}, preexec_fn=_die_with_parent)
    while True:
        outer = listening.accept()[0]
        inner = _connected()
        for end in (outer, inner):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, sink in ((outer, inner), (inner, outer)):
            threading.Thread(target=_carry, args=(source, sink, old == "1"), daemon=True).start()


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: IFF_UP | IFF_RUNNING


def _bind(source: str, place: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(os.fsencode(source), os.fsencode(place), None, 4096, None) != 0:  # MS_BIND
        raise OSError(ctypes.get_errno(), f"cannot mount {source} over {place}")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _connected() -> socket.socket:
    while True:
        try:
            return socket.create_connection(("127.0.0.1", PORT))
        except ConnectionRefusedError:
            time.sleep(0.02)


def _carry(source: socket.socket, sink: socket.socket, make_old: bool) -> None:
    with suppress(OSError):
        if make_old:
            sink.sendall(_older(source))
        while data := source.recv(1 << 20):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _older(peer: socket.socket) -> bytes:
    """The first message of either side, CNXN, without features."""
    command, version, _most, size, _sum, inverted = HEADER.unpack(_exactly(peer, HEADER.size))
    assert command == b"CNXN", command
    parts = _exactly(peer, size).split(b";")
    banner = b";".join(part for part in parts if b"features=" not in part)
    return HEADER.pack(command, version, 4096, len(banner), sum(banner), inverted) + banner


def _exactly(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = peer.recv(count - len(data))
        if not chunk:
            raise ConnectionResetError
        data += chunk
    return data


if __name__ == "__main__":
    main(*sys.argv[1:])
