"""Archives, read in memory: nothing is unpacked to a disk, so no path in one leads anywhere, and no more is unpacked than expected."""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from harness.errors import UserError

MAX_MEMBERS = 100_000


def zip_members(path: Path, wanted: Mapping[str, int]) -> dict[str, bytes]:
    """The members named, each of at most so many bytes; UserError for a missing, larger, encrypted or damaged one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _zip_member(archive, path, name, limit) for name, limit in wanted.items()}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise UserError(f"{path}: not a zip archive that can be read ({error}); get it again") from error


def zip_names(path: Path) -> tuple[str, ...]:
    """Names of the members that are files."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = tuple(member.filename for member in archive.infolist() if not member.is_dir())
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path}: not a zip archive that can be read ({error}); get it again") from error
    if len(names) > MAX_MEMBERS:
        raise UserError(f"{path}: {len(names):,} members; at most {MAX_MEMBERS:,} are read")
    return names


def _zip_member(archive: zipfile.ZipFile, path: Path, name: str, limit_bytes: int) -> bytes:
    try:
        with archive.open(name) as member:
            content = member.read(limit_bytes + 1)  # what the directory says of its size is not believed
    except KeyError:
        raise UserError(f"{path}: has no `{name}`; get it again") from None
    if len(content) > limit_bytes:
        raise UserError(f"{path}: `{name}` is larger than {limit_bytes:,} bytes; get it again")
    return content


def tar_gz_members(content: bytes, origin: str, wanted: Mapping[str, int]) -> dict[str, bytes]:
    """The regular files named, each of exactly so many bytes, out of a gzipped tar."""
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r|gz") as archive:
            for number, member in enumerate(archive):
                if number > MAX_MEMBERS:
                    break
                if member.name in wanted and member.isreg() and member.size == wanted[member.name]:
                    file = archive.extractfile(member)
                    assert file is not None
                    found[member.name] = file.read()
                if len(found) == len(wanted):
                    return found
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise UserError(f"{origin}: not a gzipped tar that can be read ({error}); get it again") from error
    absent = ", ".join(f"`{name}` of {size:,} bytes" for name, size in wanted.items() if name not in found)
    raise UserError(f"{origin}: has no {absent}; get it again")
