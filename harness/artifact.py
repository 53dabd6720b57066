"""Artifact: built files with sha256 and size, and what built them. Content-addressed: the same files, the same sha256."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Artifact:
    """What is pushed to a device. `folder` holds the files; the first of `files` is the one the backend's `load` opens."""

    folder: Path
    files: tuple[ArtifactFile, ...]
    facts: Mapping[str, Any]
    """Toolchain versions, precision really built, build-time measurements."""

    @property
    def sha256(self) -> str:
        return hashlib.sha256("\n".join(f"{f.sha256} {f.name}" for f in self.files).encode()).hexdigest()

    @property
    def size_bytes(self) -> int:
        return sum(f.size_bytes for f in self.files)

    @staticmethod
    def of(folder: Path, names: tuple[str, ...], facts: Mapping[str, Any]) -> Artifact:
        """Hash the named files of a folder."""
        return Artifact(
            folder, tuple(ArtifactFile(n, file_sha256(folder / n), (folder / n).stat().st_size) for n in names), dict(facts)
        )

    def save(self) -> None:
        document = {"files": [dataclasses.asdict(f) for f in self.files], "facts": self.facts}
        (self.folder / "artifact.json").write_text(json.dumps(document, indent=1, sort_keys=True))

    @staticmethod
    def load(folder: Path) -> Artifact:
        document = json.loads((folder / "artifact.json").read_text())
        return Artifact(folder, tuple(ArtifactFile(**f) for f in document["files"]), document["facts"])


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
