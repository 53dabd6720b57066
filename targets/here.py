"""A session on the machine Assay itself runs on: a work directory, processes, files.

Against a `kill -9` of the harness itself nothing outside a process can help it at once: the runner asks the kernel for a signal at its
parent's death, and what another command left running is killed when the next session begins.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from targets import runs
from targets.cache import cache_root
from targets.process import Launch, as_it_is, run_group
from targets.session import CommandFailed, CommandResult
from targets.target import Target

SPARE = 1.2
"""Free space asked for before a file is sent, as a multiple of its size."""
CHUNK_BYTES = 1 << 20


def session_here(target: Target, launch: Launch = as_it_is) -> LocalSession:
    """In the target's work directory, made if it is not there."""
    folder = Path(target.work_dir).expanduser() if target.work_dir else cache_root() / "device" / target.name
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = folder.resolve(strict=True)
    except OSError as error:
        raise CommandFailed(f"target {target.name}: no work directory {folder}: {error.strerror}; set `work_dir`") from error
    runs.sweep()
    return LocalSession(target.name, folder, target.python or sys.executable, target.max_run_s, launch)


@dataclass(frozen=True, slots=True)
class LocalSession:
    """See `targets.session.Session`: nothing is held open between calls, so several may share one work directory."""

    name: str
    folder: Path
    python: str
    max_run_s: float | None = None
    launch: Launch = as_it_is
    first: tuple[str, ...] = ()
    """What every command is started by."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        max_output_bytes: int = 16 << 20,
    ) -> CommandResult:
        return run_group(
            argv,
            folder=self.folder,
            environment={**_clean_environment(), **(environment or {}), runs.VARIABLE: runs.new_run()},
            timeout_s=timeout_s if self.max_run_s is None else min(timeout_s, self.max_run_s),
            stdin=stdin,
            max_output_bytes=max_output_bytes,
            launch=lambda *command: [*self.first, *self.launch(*command)],
        )

    def push(self, source: Path, destination: str) -> None:
        path = self._path(destination)
        with self._told("push", destination):
            execute = source.stat().st_mode & stat.S_IXUSR
            if _is_copy(path, source):
                _allow(path, execute)
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            self._check_space(source, destination)
            # No fsync: should power fail, the next push finds another sha256 and sends the file again.
            temporary = path.parent / f".{secrets.token_hex(8)}.part"
            try:
                sent = _copy(source, temporary)
                if _sha256(temporary) != sent:
                    raise CommandFailed(
                        f"target {self.name}: push of {destination!r}: what was written is not what was sent; check the disk"
                    )
                _allow(temporary, execute)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)

    def pull(self, source: str, *, max_bytes: int) -> bytes:
        path = self._path(source)
        # Not blocking, so that a pipe left under this name is refused below instead of waited for.
        with self._told("pull", source), os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise CommandFailed(f"target {self.name}: pull of {source!r}: not a regular file")
            content = b"" if status.st_size > max_bytes else file.read(max_bytes + 1)
            if status.st_size > max_bytes or len(content) > max_bytes:
                raise CommandFailed(
                    f"target {self.name}: pull of {source!r}: larger than the {max_bytes} bytes that were expected"
                )
            return content

    def remove(self, path: str) -> None:
        victim = self._path(path)
        with self._told("remove", path):
            if victim.is_dir() and not victim.is_symlink():
                shutil.rmtree(victim)
            else:
                victim.unlink(missing_ok=True)

    def behind(self, words: Sequence[str]) -> LocalSession:
        return replace(self, first=(*self.first, *words))

    def _path(self, name: str) -> Path:
        """The file of that name, which must lie inside the work directory whatever links lie there."""
        pure = PurePosixPath(name)
        inside = bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts and "\0" not in name
        path = self.folder / pure
        if not inside or not path.parent.resolve().is_relative_to(self.folder):
            raise CommandFailed(f"target {self.name}: {name!r} is not the name of a file inside the work directory {self.folder}")
        return path

    def _check_space(self, source: Path, destination: str) -> None:
        need, free = int(SPARE * source.stat().st_size), shutil.disk_usage(self.folder).free
        if free < need:
            raise CommandFailed(
                f"target {self.name}: push of {destination!r}: ENOSPC: {need} bytes are needed and {free} are free in {self.folder}; "
                "delete old artifacts there or set `work_dir`"
            )

    @contextmanager
    def _told(self, verb: str, name: str) -> Iterator[None]:
        """What the system refuses becomes CommandFailed, which names the file and the errno."""
        try:
            yield
        except OSError as error:
            code = errno.errorcode.get(error.errno or 0, "error")
            raise CommandFailed(
                f"target {self.name}: {verb} of {name!r}: {code}: {error.strerror or error} ({error.filename})"
            ) from error


def _clean_environment() -> dict[str, str]:
    """The same few variables on every machine: nothing that was set in the user's shell may change a number."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(Path.home()),
        "LANG": "C.UTF-8",
        "TMPDIR": tempfile.gettempdir(),
    }


def _is_copy(path: Path, source: Path) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size != source.stat().st_size:
        return False
    return _sha256(path) == _sha256(source)


def _allow(path: Path, execute: int) -> None:
    """To execute the file, where this is its owner's bit for it; and not, where it is 0."""
    mode = path.stat().st_mode
    if mode & stat.S_IXUSR != execute:
        path.chmod(stat.S_IMODE(mode) ^ stat.S_IXUSR)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(source: Path, destination: Path) -> str:
    """Copy the bytes and return the sha256 of what was read."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, destination.open("xb") as writer:
        while chunk := reader.read(CHUNK_BYTES):
            digest.update(chunk)
            writer.write(chunk)
    return digest.hexdigest()
