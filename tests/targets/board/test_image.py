"""What the kernel unpacks is what was put in; of packages the board gets what it needs, and a package that is another is told."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.board import image as image_module
from targets.board.image import MODULES, Entry, cpio, image
from targets.session import CommandFailed

FILE, LINK, FOLDER = stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR
PATHS = st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=4).map("/".join)


def unpacked(archive: bytes) -> Iterator[Entry]:
    """The format's description, word by word: 6 bytes of magic, 13 numbers of 8 hex digits, name and content, each filled up to 4."""
    at = 0
    while True:
        assert at % 4 == 0 and archive[at : at + 6] == b"070701"
        numbers = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, uid, gid, size, name_size = numbers[1], numbers[2], numbers[3], numbers[6], numbers[11]
        name = archive[at + 110 : at + 110 + name_size]
        assert name[-1] == 0 and (uid, gid) == (0, 0)
        at += -(-(110 + name_size) // 4) * 4
        content = archive[at : at + size]
        at += -(-size // 4) * 4
        if name == b"TRAILER!!!\0":
            assert at == len(archive)
            return
        yield Entry(name[:-1].decode(), mode, content)


@given(st.dictionaries(PATHS, st.tuples(st.sampled_from((FILE | 0o644, FILE | 0o755, LINK | 0o777)), st.binary(max_size=9))))
def test_an_archive_holds_what_was_put_in_each_folder_before_what_is_in_it(files: dict[str, tuple[int, bytes]]) -> None:
    leaves = {path: entry for path, entry in files.items() if not any(other.startswith(f"{path}/") for other in files)}
    given_ = [Entry(path, mode, content) for path, (mode, content) in leaves.items()]
    found = list(unpacked(cpio(given_)))
    assert {entry for entry in found if not stat.S_ISDIR(entry.mode)} == set(given_)
    seen = {"."}
    for entry in found:
        assert str(Path(entry.path).parent) in seen
        if stat.S_ISDIR(entry.mode):
            seen.add(entry.path)


def test_a_folder_that_is_given_keeps_its_mode() -> None:
    found = {entry.path: entry.mode for entry in unpacked(cpio([Entry("a/b", FILE | 0o600), Entry("a", FOLDER | 0o700)]))}
    assert found == {"a": FOLDER | 0o700, "a/b": FILE | 0o600}


@pytest.fixture
def package(tmp_path: Path) -> Callable[..., Path]:
    """Makes a Debian package of these files."""

    def make(name: str, files: dict[str, str]) -> Path:
        root = tmp_path / name
        (root / "DEBIAN").mkdir(parents=True)
        (root / "DEBIAN" / "control").write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: arm64\nMaintainer: x\nDescription: x\n"
        )
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("-> "):
                (root / path).symlink_to(text[3:])
            else:
                (root / path).write_text(text)
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "--build", root, tmp_path / f"{name}.deb"], check=True, capture_output=True
        )
        return tmp_path / f"{name}.deb"

    return make


@pytest.fixture
def kernel_files() -> dict[str, str]:
    modules = {f"lib/modules/6.1/kernel/{name}.ko": name for name in (*MODULES, "unwanted")}
    return {"boot/vmlinuz-6.1": "the kernel", "boot/System.map-6.1": "x"} | modules


def downloads(monkeypatch: pytest.MonkeyPatch, *packages: Path) -> list[Path]:
    """Debian's mirror gives these; the list grows with every asking."""
    asked: list[Path] = []

    def download(_names: object, _architecture: str, folder: Path) -> tuple[Path, ...]:
        asked.append(folder)
        folder.mkdir()
        return packages

    monkeypatch.setattr(image_module, "download", download)
    return asked


@pytest.mark.peers
def test_the_board_gets_kernel_modules_programs_and_libraries_and_no_papers(
    package: Callable[..., Path], kernel_files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = {
        "usr/bin/tool": "a program",
        "usr/lib/libtool.so.1": "-> libtool.so.1.2",
        "usr/share/doc/tool/copyright": "x",
        "etc/tool.conf": "x",
        "usr/lib/aarch64-linux-gnu/gconv/ISO.so": "x",
    }
    packages = package("linux", kernel_files), package("tool", tool)
    asked = downloads(monkeypatch, *packages)
    made = image()
    assert made.kernel.read_text() == "the kernel"
    listing = subprocess.run(["gzip", "-dc", made.root], capture_output=True, check=True).stdout
    found = {entry.path: entry for entry in unpacked(listing) if not stat.S_ISDIR(entry.mode)}
    assert set(found) == {
        "init", "etc/inittab", "etc/passwd", "etc/group", "etc/shells", "usr/bin/tool", "usr/lib/libtool.so.1",
        *(f"modules/{name}.ko" for name in MODULES),
    }  # fmt: skip
    assert found["usr/lib/libtool.so.1"] == Entry("usr/lib/libtool.so.1", LINK | 0o777, b"libtool.so.1.2")
    assert found["init"].mode == FILE | 0o755 and found["init"].content.startswith(b"#!/bin/busybox sh\n")
    notes = json.loads((made.root.parent / "packages.json").read_text())
    assert notes == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in packages}
    assert sorted(path.name for path in made.root.parent.iterdir()) == ["kernel", "packages.json", "root.cpio.gz"]
    assert image() == made and len(asked) == 1


@pytest.mark.peers
@pytest.mark.parametrize(("without", "says"), [("virtio_net.ko", "virtio_net"), ("vmlinuz-6.1", "the kernel")])
def test_a_kernel_package_that_lacks_something_is_told_and_nothing_is_kept(
    package: Callable[..., Path],
    kernel_files: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    own_cache: Path,
    without: str,
    says: str,
) -> None:
    downloads(monkeypatch, package("linux", {path: text for path, text in kernel_files.items() if not path.endswith(without)}))
    with pytest.raises(CommandFailed, match=f"lacks {says}"):
        image()
    assert list((own_cache / "board").iterdir()) == []


@pytest.mark.peers
def test_a_package_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.deb").write_bytes(b"cut off")
    downloads(monkeypatch, tmp_path / "bad.deb")
    with pytest.raises(CommandFailed, match=r"bad\.deb cannot be read"):
        image()


def test_the_guests_init_loads_the_modules_that_the_image_holds() -> None:
    (line,) = [line for line in image_module._guest("init").splitlines() if line.startswith("for module in")]
    assert tuple(line.removeprefix("for module in ").removesuffix("; do").split()) == MODULES
