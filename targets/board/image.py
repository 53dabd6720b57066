"""The board's kernel and first file system, made of Debian's packages without root: kept in the cache, one for each recipe."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePosixPath

from targets.board.fetch import BACKPORTS, download
from targets.cache import appearing, cache_root, locked
from targets.session import CommandFailed

ARCHITECTURE = "arm64"
PACKAGES = (
    "linux-image-cloud-arm64*",
    "busybox-static",
    *("dropbear-bin", "libcrypt1", "libtomcrypt1", "libtommath1", "libgmp10", "zlib1g"),
    "openssh-sftp-server",
    *(
        f"{name}/{BACKPORTS}"
        for name in ("adbd", "android-libbase", "android-libboringssl", "android-libcutils", "android-liblog")
    ),
    *(
        "libbrotli1",
        "liblz4-1",
        "libprotobuf32",
        "libzstd1",
        "libsystemd0",
        "libcap2",
        "libgcrypt20",
        "libgpg-error0",
        "liblzma5",
    ),
    *("libc6", "libgcc-s1", "libstdc++6"),
)
"""Of each line's first, and what it needs of libraries."""
MODULES = ("virtio", "virtio_ring", "virtio_mmio", "failover", "net_failover", "virtio_net")
GUEST = {"init": ("init", 0o755), "etc/inittab": ("inittab", 0o644)}
"""Path there -> our file in `guest/`, and its mode."""
ACCOUNTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/shells": "/bin/sh\n",
}
LEFT_OUT = ("usr/share", "etc", "boot", "lib/modules", "lib/systemd", "lib/udev")
"""Of the packages."""


@dataclass(frozen=True, slots=True)
class Image:
    """What QEMU boots."""

    kernel: Path
    root: Path
    """A gzipped cpio archive; what differs from board to board is put before it (`cpio`)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, folder or link of a file system."""

    path: str
    mode: int
    """With its type, as in `st_mode`."""
    content: bytes = b""
    """Of a link: where it leads."""


def image(say: Callable[[str], None] = lambda _text: None) -> Image:
    """From the cache; the first time it is fetched (40 MB) and made."""
    key = _recipe()
    folder = cache_root() / "board" / key
    with locked(f"board-{key}"):
        if not folder.is_dir():
            say("fetching Debian's packages (40 MB) and making the board's image; this happens once")
            with appearing(folder) as scratch:
                _make(download(PACKAGES, ARCHITECTURE, scratch / "download"), scratch)
                shutil.rmtree(scratch / "download")
    return Image(folder / "kernel", folder / "root.cpio.gz")


def _recipe() -> str:
    """All that decides what is made, but the day on which Debian is asked."""
    ours = [Path(__file__).with_name(name).read_bytes() for name in ("image.py", "fetch.py")]
    return hashlib.sha256(b"\0".join((*ours, *(_guest(name).encode() for name, _ in GUEST.values())))).hexdigest()


def _guest(name: str) -> str:
    return (files("targets.board") / "guest" / name).read_text(encoding="utf-8")


def _make(packages: Iterable[Path], folder: Path) -> None:
    """Kernel, root file system, and the note which packages they are of."""
    entries: dict[str, Entry] = {}
    notes: dict[str, str] = {}
    for package in packages:
        notes[package.name] = hashlib.sha256(package.read_bytes()).hexdigest()
        for entry in _unpacked(package):
            path = PurePosixPath(entry.path)
            if path.match("boot/vmlinuz-*"):
                (folder / "kernel").write_bytes(entry.content)
            elif path.suffix == ".ko" and path.stem in MODULES:
                entries[f"modules/{path.name}"] = Entry(f"modules/{path.name}", entry.mode, entry.content)
            elif not entry.path.startswith(tuple(f"{name}/" for name in LEFT_OUT)) and "gconv" not in path.parts:
                entries[entry.path] = entry
    for place, (name, mode) in GUEST.items():
        entries[place] = Entry(place, stat.S_IFREG | mode, _guest(name).encode())
    for place, text in ACCOUNTS.items():
        entries[place] = Entry(place, stat.S_IFREG | 0o644, text.encode())
    with (folder / "root.cpio.gz").open("wb") as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as packed:
        packed.write(cpio(entries.values()))
    missing = [name for name in MODULES if f"modules/{name}.ko" not in entries]
    if missing or not (folder / "kernel").exists():
        raise CommandFailed(
            f"Debian's kernel package lacks {', '.join(missing) or 'the kernel'}; this version of Assay does not know it"
        )
    (folder / "packages.json").write_text(json.dumps(notes, indent=1))


def _unpacked(package: Path) -> Iterator[Entry]:
    """Its files and links; folders follow from their names."""
    read = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], capture_output=True, check=False)
    if read.returncode != 0:
        raise CommandFailed(f"{package.name} cannot be read: {read.stderr.decode(errors='replace').strip()[-300:]}")
    with tarfile.open(fileobj=io.BytesIO(read.stdout)) as archive:
        for member in archive:
            path = str(PurePosixPath(member.name))
            if member.issym():
                yield Entry(path, stat.S_IFLNK | 0o777, member.linkname.encode())
            elif content := archive.extractfile(member):
                yield Entry(path, stat.S_IFREG | member.mode, content.read())


def cpio(entries: Iterable[Entry]) -> bytes:
    """An archive that the kernel unpacks, all of root's ("newc", the kernel's Documentation/driver-api/early-userspace/buffer-format)."""
    given = {entry.path: entry for entry in entries}
    folders = {str(parent): Entry(str(parent), stat.S_IFDIR | 0o755) for path in given for parent in PurePosixPath(path).parents}
    packed = bytearray()
    everything = [entry for _, entry in sorted((folders | given).items()) if entry.path != "."]
    for number, entry in enumerate([*everything, Entry("TRAILER!!!", 0)], start=1):
        name = entry.path.encode() + b"\0"
        links = 2 if stat.S_ISDIR(entry.mode) else 1
        fields = (number, entry.mode, 0, 0, links, 0, len(entry.content), 0, 0, 0, 0, len(name), 0)
        packed += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        packed += bytes(-len(packed) % 4) + entry.content
        packed += bytes(-len(packed) % 4)
    return bytes(packed)
