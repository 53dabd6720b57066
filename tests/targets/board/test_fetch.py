"""Packages come verified, from a mirror of Debian's, and this machine's apt never hears of it."""

from __future__ import annotations

import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from targets.board.fetch import check_packager, download
from targets.errors import UserError
from targets.session import CommandFailed


def everything_of_apt() -> dict[str, tuple[int, int, int]]:
    """Every file of this machine's apt, and by what a change would show."""
    folders = [Path("/etc/apt"), Path("/var/lib/apt"), Path("/var/cache/apt")]
    files = {str(path): path.stat() for folder in folders for path in folder.rglob("*") if path.is_file()}
    return {path: (status.st_ino, status.st_size, status.st_mtime_ns) for path, status in files.items()}


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.mark.peers
def test_a_package_of_another_architecture_is_fetched_and_this_machines_apt_stays_as_it_is(
    board_image: Path, tmp_path: Path
) -> None:
    """`board_image` skips where Debian's mirror cannot be reached."""
    before = everything_of_apt()
    (found,) = download(["libtommath1"], "armhf", tmp_path / "folder")
    assert everything_of_apt() == before
    field = subprocess.run(["dpkg-deb", "--field", found, "Package"], capture_output=True, text=True, check=True)
    assert field.stdout == "libtommath1\n"


@pytest.fixture
def unsigned_mirror(tmp_path: Path) -> Iterator[str]:
    """Serves an index that no one signed."""
    folder = tmp_path / "debian"
    for suite in ("bookworm", "bookworm-backports"):
        (folder / "dists" / suite).mkdir(parents=True)
        (folder / "dists" / suite / "Release").write_text(f"Codename: {suite}\nComponents: main\nArchitectures: arm64\n")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/debian"
        server.shutdown()


@pytest.mark.peers
def test_a_mirror_that_is_not_signed_is_refused(
    board_image: Path, unsigned_mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_DEBIAN_MIRROR", unsigned_mirror)
    with pytest.raises(CommandFailed, match="not signed"):
        download(["libtommath1"], "arm64", tmp_path / "folder")


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no `apt-get` here"):
        check_packager()
    program(tmp_path, "apt-get", "exit 0")
    with pytest.raises(UserError, match="no `dpkg-deb` here"):
        check_packager()
    program(tmp_path, "dpkg-deb", "exit 0")
    monkeypatch.setattr("targets.board.fetch.KEYRING", tmp_path / "absent.gpg")
    with pytest.raises(UserError, match="debian-archive-keyring"):
        check_packager()


@pytest.fixture
def other_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of another distribution; its apt fails at all but telling its sources."""
    tools = tmp_path / "tools"
    tools.mkdir()
    program(tools, "apt-get", "[ $1 = indextargets ] || { echo 'E: cannot reach it' >&2; exit 100; }\necho http://mirror/ubuntu/")
    program(tools, "dpkg-deb", "exit 0")
    (tmp_path / "keyring").touch()
    monkeypatch.setattr("targets.board.fetch.KEYRING", tmp_path / "keyring")
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.delenv("ASSAY_DEBIAN_MIRROR", raising=False)
    return tmp_path


def test_without_a_debian_mirror_the_way_to_name_one_is_told(other_apt: Path) -> None:
    with pytest.raises(UserError, match=r"\$ASSAY_DEBIAN_MIRROR"):
        download(["x"], "arm64", other_apt / "folder")


def test_a_mirror_that_does_not_answer_is_told_with_apts_words(other_apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_DEBIAN_MIRROR", "http://mirror/debian")
    with pytest.raises(CommandFailed, match=r"is there a network\?.*apt-get said: E: cannot reach it"):
        download(["x"], "arm64", other_apt / "folder")
