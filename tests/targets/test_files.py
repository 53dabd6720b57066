"""The scripts of push, pull and remove, run by this machine's shell and by busybox's; what they promise on a device that misbehaves."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from targets import files
from targets.process import run_group
from targets.session import CommandFailed, CommandResult


class Device:
    """A folder of this machine, behind a shell; `sends` may spoil what is sent."""

    def __init__(self, folder: Path, tools: str) -> None:
        self.name, self.boot_id, self.run_id, self.max_disk_bytes = "device", "boot-1", "1.2", 1 << 30
        self.folder, self.tools = folder, tools
        self.sent: list[bytes] = []
        self.spoil: Callable[[bytes], bytes] = lambda content: content
        (folder / ".assay" / "pushed").mkdir(parents=True)
        (folder / ".assay" / "incoming").mkdir()

    def script(self, text: str, *words: str, stdin: BinaryIO, timeout_s: float, max_output_bytes: int = 1 << 16) -> CommandResult:
        content = stdin.read()
        self.sent += [content] if content else []
        return run_group(
            ["sh", "-c", text, "sh", *words],
            folder=self.folder,
            environment={"PATH": self.tools},
            timeout_s=timeout_s,
            stdin=self.spoil(content),
            max_output_bytes=max_output_bytes,
        )


@pytest.fixture(params=["sh", pytest.param("busybox", marks=pytest.mark.peers)])
def device(request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Device:
    tools = os.environ["PATH"]
    if request.param == "busybox":
        busybox = shutil.which("busybox") or pytest.skip("needs busybox (busybox-static)")
        folder = tmp_path_factory.mktemp("tools")
        run_group([busybox, "--install", "-s", str(folder)], folder=folder, environment={}, timeout_s=60)
        tools = str(folder)
    (tmp_path / "device").mkdir()
    return Device(tmp_path / "device", tools)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"content" * 1000)
    os.utime(path, (1_000_000, 1_000_000))
    return path


@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b[:-1] + b"X", lambda b: b + b"X", lambda _: b""])
def test_a_push_that_arrives_spoiled_is_refused_and_leaves_the_old_file(
    device: Device, source: Path, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "old").write_bytes(b"old")
    files.push(device, tmp_path / "old", "a/file")
    device.spoil = spoil
    with pytest.raises(CommandFailed, match="what was written is not what was sent"):
        files.push(device, source, "a/file")
    assert (device.folder / "a" / "file").read_bytes() == b"old"
    assert not list((device.folder / ".assay" / "incoming").iterdir())


def test_an_unchanged_file_is_not_even_read_again_until_the_next_boot(device: Device, source: Path) -> None:
    files.push(device, source, "file")
    assert len(device.sent) == 1
    target = device.folder / "file"
    status = target.stat()
    target.write_bytes(b"CONTENT" * 1000)  # in place, the same size, and the old time set back: only reading it would tell
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    files.push(device, source, "file")
    assert len(device.sent) == 1, "what looks the same is believed within a boot"
    device.boot_id = "boot-2"
    files.push(device, source, "file")
    assert len(device.sent) == 2 and target.read_bytes() == source.read_bytes()


def test_a_file_that_was_touched_is_hashed_and_not_sent(device: Device, source: Path) -> None:
    files.push(device, source, "file")
    os.utime(device.folder / "file", (5, 5))
    files.push(device, source, "file")
    assert len(device.sent) == 1


def test_a_file_that_was_changed_is_sent_again(device: Device, source: Path) -> None:
    files.push(device, source, "file")
    (device.folder / "file").write_bytes(b"CONTENT" * 1000)
    files.push(device, source, "file")
    assert len(device.sent) == 2 and (device.folder / "file").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("works", [True, False])
@pytest.mark.parametrize("size", [1000, 2_000_000])
def test_openssl_hashes_large_files_where_it_is_and_works(source: Path, tmp_path: Path, size: int, works: bool) -> None:
    """And is believed no more than another: what it finds must be what was sent."""
    (tmp_path / "device").mkdir()
    openssl = tmp_path / "tools" / "openssl"
    openssl.parent.mkdir()
    openssl.write_text(f"#!/bin/sh\necho $* >>{tmp_path}/asked\n" + ("sha256sum" if works else "echo no such digest >&2; exit 1"))
    openssl.chmod(0o755)
    device = Device(tmp_path / "device", f"{openssl.parent}:{os.environ['PATH']}")
    source.write_bytes(b"x" * size)
    files.push(device, source, "file")
    device.spoil = lambda content: b"y" + content[1:]
    with pytest.raises(CommandFailed, match="what was written is not what was sent"):
        files.push(device, source, "other")
    assert (tmp_path / "asked").exists() == (size > 1_000_000)


def test_a_source_that_changed_is_hashed_again(device: Device, source: Path) -> None:
    files.push(device, source, "file")
    source.write_bytes(b"CONTENT" * 1000)
    files.push(device, source, "file")
    assert (device.folder / "file").read_bytes() == b"CONTENT" * 1000


def test_no_room_is_told_before_anything_is_sent(device: Device, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SPARE", 1e12)
    with pytest.raises(CommandFailed, match=r"ENOSPC: \d+ KiB are needed and \d+ are free"):
        files.push(device, source, "file")
    assert device.sent == []


def test_a_file_that_cannot_be_noted_is_refused_and_not_there(device: Device, source: Path) -> None:
    """A disk that is full to the last byte: whatever word the shell has for it."""
    (device.folder / ".assay" / "pushed" / "file").symlink_to("/dev/full")
    with pytest.raises(CommandFailed, match="ENOSPC"):
        files.push(device, source, "file")
    assert not (device.folder / "file").exists() and not list((device.folder / ".assay" / "incoming").iterdir())


def test_room_is_read_from_df_whatever_its_disks_are_called(source: Path, tmp_path: Path) -> None:
    (tmp_path / "device").mkdir()
    df = tmp_path / "df"
    df.write_text("#!/bin/sh\necho Filesystem 1024-blocks Used Available Capacity Mounted on\necho /dev/a b 9 1 8 12% /mnt/x y\n")
    df.chmod(0o755)
    device = Device(tmp_path / "device", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(CommandFailed, match="ENOSPC: 9 KiB are needed and 8 are free"):
        files.push(device, source, "file")


def test_a_file_larger_than_the_target_may_hold_is_refused(device: Device, source: Path) -> None:
    device.max_disk_bytes = 6999
    with pytest.raises(CommandFailed, match="7000 bytes, and `max_disk_bytes` is 6999"):
        files.push(device, source, "file")


@pytest.mark.parametrize("name", [".assay/pushed/x", ".assay", "./.assay/x"])
def test_what_the_transport_keeps_in_mind_is_not_to_be_touched(device: Device, source: Path, name: str) -> None:
    with pytest.raises(CommandFailed, match="inside the work directory"):
        files.push(device, source, name)
    with pytest.raises(CommandFailed, match="inside the work directory"):
        files.remove(device, name)


def test_a_note_that_a_hostile_device_wrote_costs_nothing_but_a_second_sending(device: Device, source: Path) -> None:
    files.push(device, source, "file")
    (device.folder / ".assay" / "pushed" / "file").write_bytes(b"\xff$(touch hacked)\n\n`id`" * 100)
    (device.folder / "file").write_bytes(b"bad")
    files.push(device, source, "file")
    assert (device.folder / "file").read_bytes() == source.read_bytes() and not (device.folder / "hacked").exists()


def test_no_folder_is_made_behind_a_link(device: Device, source: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (device.folder / "link").symlink_to(tmp_path / "outside")
    for name in ("link/new/file", "link/file"):
        with pytest.raises(CommandFailed, match="inside the work directory"):
            files.push(device, source, name)
        with pytest.raises(CommandFailed, match="inside the work directory"):
            files.remove(device, name)
    assert not list((tmp_path / "outside").iterdir())


def test_a_link_in_the_files_place_is_replaced_not_followed(device: Device, source: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (device.folder / "file").symlink_to(tmp_path / "precious")
    files.push(device, source, "file")
    assert (tmp_path / "precious").read_bytes() == b"precious" and not (device.folder / "file").is_symlink()


def test_a_device_that_says_more_than_a_file_may_hold_is_cut_off(device: Device, source: Path) -> None:
    (device.folder / "grows").write_bytes(b"x")
    fake = CommandResult(("sh",), 0, b"x" * 10, b"", 0.0, truncated=True)
    device.script = lambda *_words, **_options: fake  # type: ignore[method-assign]
    with pytest.raises(CommandFailed, match="larger than the 10 bytes"):
        files.pull(device, "grows", 10)


def test_a_link_that_is_too_slow_is_told(device: Device, source: Path) -> None:
    device.script = lambda *_words, **_options: CommandResult(("sh",), -9, b"", b"", 0.0, timed_out=True)  # type: ignore[method-assign]
    with pytest.raises(CommandFailed, match="too slow"):
        files.push(device, source, "file")


def test_stdin_is_empty_where_nothing_is_sent(device: Device) -> None:
    result = device.script("cat", stdin=io.BytesIO(), timeout_s=10)
    assert result.stdout == b""
