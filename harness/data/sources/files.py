"""Files of a data set: where they are looked for, what they must be, how they are downloaded. Nothing is used before its sha256 is right."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.cache import cache_root, locked
from harness.data import Source
from harness.errors import UserError

TIMEOUT_S = 60.0


def places(folder: str) -> tuple[Path, ...]:
    """Folders that are looked into, in this order: `$ASSAY_DATA/<folder>`, `$ASSAY_DATA`, and the cache."""
    given = os.environ.get("ASSAY_DATA")
    return (*((Path(given) / folder, Path(given)) if given else ()), download_folder(folder))


def download_folder(folder: str) -> Path:
    return cache_root() / "data" / folder


@dataclass(frozen=True, slots=True)
class Pinned:
    """A file that is used only with the bytes it had when the data set was written down here."""

    data: str
    """The data set, which is also its folder's name."""
    name: str
    size_bytes: int
    sha256: str
    how: str
    """How a person gets it, for messages."""
    url: str = ""
    """Where Assay can fetch it; empty: nowhere."""

    def find(self) -> Path | None:
        return next((folder / self.name for folder in places(self.data) if (folder / self.name).is_file()), None)

    def source(self) -> Source:
        found = self.find()
        if found is not None:
            return Source(str(found))
        if self.url:
            return Source(self.url, self.size_bytes)
        raise missing(self.data, self.name, self.how)

    def read(self) -> bytes:
        """Its bytes, downloaded if need be."""
        found = self.find()
        if found is None:
            self.source()
            found = download_folder(self.data) / self.name
            download(self.url, found, self.size_bytes, lambda content: self.check(content, self.url), self.how)
        if found.stat().st_size != self.size_bytes:
            raise UserError(f"{self.data}: {found} has {found.stat().st_size:,} bytes, not {self.size_bytes:,}; {self._again()}")
        content = found.read_bytes()
        self.check(content, str(found))
        return content

    def check(self, content: bytes, origin: str) -> None:
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise UserError(f"{self.data}: {origin} has sha256 {found}, expected {self.sha256}; {self._again()}")

    def _again(self) -> str:
        return f"delete it and get it again: {self.how}"


def find_folder(data: str, name: str, path: str, how: str) -> Path:
    """A folder of the user's own: `path` if they gave one, else `name` in `$ASSAY_DATA` or the cache; UserError where it is not."""
    if path:
        given = Path(path).expanduser()
        if not given.is_dir():
            raise UserError(f"{data}: `{path}` is no folder; {how}")
        return given.resolve()
    for place in places(data):
        if (place / name).is_dir():
            return place / name
    raise missing(data, name, how)


def missing(data: str, name: str, how: str) -> UserError:
    where = ", ".join(map(str, places(data)))
    unset = "" if os.environ.get("ASSAY_DATA") else " ($ASSAY_DATA, a folder of data sets, is not set)"
    return UserError(f"{data}: no `{name}` in {where}{unset}; {how}")


def download(url: str, destination: Path, limit_bytes: int, check: Callable[[bytes], object], how: str) -> None:
    """Fetch one file, check its contents, and only then give it its name. Processes that want the same file wait for one of them."""
    with locked(f"download-{destination.name}"):
        if destination.is_file():
            return
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - a constant of a plug-in; contents are checked
                content: bytes = answer.read(limit_bytes + 1)
        except OSError as error:  # URLError and time-outs are OSError
            raise UserError(f"{destination.name} is not here, and {url} did not give it ({error}); {how}") from error
        check(content)
        destination.parent.mkdir(parents=True, exist_ok=True)
        temporary = destination.with_name(f"{destination.name}.{os.getpid()}.part")
        temporary.write_bytes(content)
        temporary.replace(destination)
