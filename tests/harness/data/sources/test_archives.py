"""Archives give the members asked for, and neither bombs nor paths that lead outside do anything."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from harness.data.sources.archives import tar_gz_members, zip_members
from harness.errors import UserError


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tar_gz(members: dict[str, bytes], extra: tarfile.TarInfo | None = None) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        if extra is not None:
            archive.addfile(extra)
        for name, member in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(member)
            archive.addfile(info, io.BytesIO(member))
    return content.getvalue()


def test_zip_members_are_read(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"a": b"1", "b/c": b"22", "d": b"333"})
    assert zip_members(path, {"b/c": 2, "a": 10}) == {"b/c": b"22", "a": b"1"}


def test_nothing_of_a_zip_reaches_the_disk(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"../escaped": b"1"})
    assert zip_members(path, {"../escaped": 1}) == {"../escaped": b"1"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zip"] and not (tmp_path.parent / "escaped").exists()


def test_a_zip_bomb_is_unpacked_no_further_than_its_limit(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "bomb.zip", {"a": bytes(50_000_000)})
    assert path.stat().st_size < 100_000
    with pytest.raises(UserError, match="`a` is larger than 1,000 bytes"):
        zip_members(path, {"a": 1000})


def test_a_zip_that_lies_about_a_members_size_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "liar.zip", {"a": bytes(5_000)})
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a zip archive that can be read"):
        zip_members(path, {"a": 1000})


@pytest.mark.parametrize("cut", [0, 10, -30])
def test_a_damaged_zip_is_refused(tmp_path: Path, cut: int) -> None:
    path = zip_of(tmp_path / "a.zip", {"a": bytes(range(256)) * 8})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match="not a zip archive that can be read"):
        zip_members(path, {"a": 10_000})


def test_a_missing_zip_member_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no `b`"):
        zip_members(zip_of(tmp_path / "a.zip", {"a": b"1"}), {"b": 1})


def test_tar_members_are_read() -> None:
    content = tar_gz({"x": b"0", "f/a.bin": b"12", "f/b.bin": b"34"})
    assert tar_gz_members(content, "here", {"f/a.bin": 2, "f/b.bin": 2}) == {"f/a.bin": b"12", "f/b.bin": b"34"}


def test_a_link_is_no_member() -> None:
    link = tarfile.TarInfo("a")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with pytest.raises(UserError, match="here: has no `a` of 2 bytes"):
        tar_gz_members(tar_gz({}, link), "here", {"a": 2})


@pytest.mark.parametrize("members", [{}, {"a": b"123"}, {"a": b""}, {"b": b"12"}])
def test_a_tar_member_of_another_size_is_missing(members: dict[str, bytes]) -> None:
    with pytest.raises(UserError, match="has no `a` of 2 bytes"):
        tar_gz_members(tar_gz(members), "here", {"a": 2})


@pytest.mark.parametrize("content", [b"", b"no gzip", tar_gz({"a": bytes(range(256)) * 99})[:-200]])
def test_a_damaged_tar_is_refused(content: bytes) -> None:
    with pytest.raises(UserError, match=r"not a gzipped tar that can be read|has no `a`"):
        tar_gz_members(content, "here", {"a": 256 * 99})
