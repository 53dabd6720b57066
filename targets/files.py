"""Files of a device that is reached by commands alone: pushed whole or not at all, pulled within a limit, never outside the work directory.

An unchanged file is not sent again. What was pushed is noted on the device with inode, size and time of change, and believed until the
device's next boot; then it is hashed again.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import io
import os
import secrets
import stat
import time
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from targets.session import CommandFailed, CommandResult
from targets.shell import STATE_FOLDER

SPARE = 1.2
"""Free space asked for before a file is sent, as a multiple of its size."""
TIMEOUT_S = 60.0
LEAST_BYTES_PER_S = 200_000
"""A slower link counts as stuck."""
SETTLED_S = 2.0
"""A file changed since is hashed anew: two changes within one step of the file system's clock look like one."""


class Device(Protocol):
    """What files need of a session."""

    name: str
    boot_id: str
    run_id: str
    max_disk_bytes: int

    def script(self, text: str, *words: str, stdin: BinaryIO, timeout_s: float, max_output_bytes: int = ...) -> CommandResult:
        """Run a shell script in the work directory with these words as its arguments."""


_ENTER = r"""
refuse() {
  printf '%s\n' "$*" >&2
  exit 90
}
enter() { # the folder $1 of the work directory, whatever links lie there; $2 not empty: make it
  rest=$1/
  while [ -n "$rest" ]; do
    part=${rest%%/*} rest=${rest#*/}
    [ -z "$2" ] || [ -d "./$part" ] || mkdir "./$part" 2>/dev/null || [ -d "./$part" ] || refuse "EACCES: cannot make the folder $1"
    cd -P "./$part" 2>/dev/null || return 1
    case $PWD/ in "$root"/*) ;; *) refuse "a link on the way leads out: not inside the work directory $root" ;; esac
  done
}
allow() { # to execute the file $1 where $2 is +x, and not where it is -x
  case $2 in +x) [ -x "./$1" ] ;; *) [ ! -x "./$1" ] ;; esac || chmod "u$2" "./$1" || refuse "EPERM: its permissions cannot be set"
}
sha256() { # of the file $1 of $2 bytes: openssl takes the CPU's own instructions for it, others mostly not; small files are not worth its start
  sum=
  [ ${#2} -lt 7 ] || ! command -v openssl >/dev/null || sum=$(openssl dgst -sha256 -r <"$1" 2>/dev/null)
  [ ${#sum} -ge 64 ] || sum=$(sha256sum <"$1")
  printf %s "${sum%% *}"
}
note() { # that the file $1, which is at $4, has the sha256 $2 during the boot $3
  mkdir -p "$notes" 2>/dev/null || { rm -rf "$notes" && mkdir -p "$notes"; }
  printf '%s\n' "$3 $2 $(stat -c '%i %s %y' "$4")" >"$notes/$1" || refuse "ENOSPC or EIO: what was pushed cannot be noted in $notes"
}
cd -P .
root=$PWD notes=$PWD/.assay/pushed/$1
"""

_IS_THERE = (
    _ENTER
    + r"""
folder=$1 file=$2 sha256=$3 size=$4 boot=$5 need=$6 execute=$7
enter "$folder" make || refuse "ENOTDIR: cannot enter the folder $folder"
[ ! -d "./$file" ] || [ -L "./$file" ] || refuse "EISDIR: a folder has this name"
if [ -f "./$file" ] && [ ! -L "./$file" ]; then
  now=$(stat -c '%i %s %y' "./$file") noted=
  [ ! -f "$notes/$file" ] || IFS= read -r noted <"$notes/$file"
  if [ "$noted" = "$boot $sha256 $now" ]; then
    printf '%s\n' "$noted" >"$notes/$file" # its age says how recently it was used
    allow "$file" "$execute"
    echo same
    exit
  fi
  now=${now#* }
  if [ "${now%% *}" = "$size" ]; then
    [ "$(sha256 "./$file" "$size")" != "$sha256" ] || { note "$file" "$sha256" "$boot" "./$file"; allow "$file" "$execute"; echo same; exit; }
  fi
fi
set -f
free=
for word in $(df -Pk . | tail -n 1); do
  case $word in *%) break ;; esac
  free=$word
done
[ ${#free} -gt 9 ] || [ "$free" -ge "$need" ] || refuse "ENOSPC: $need KiB are needed and $free are free in $root; delete old files there or set work_dir"
echo send
"""
)
"""Arguments: folder, file, sha256, size in bytes, boot id, KiB needed, `+x` or `-x`. Prints `same` or `send`."""

_TAKE = (
    _ENTER
    + r"""
folder=$1 file=$2 sha256=$3 size=$4 boot=$5 incoming=$PWD/.assay/incoming/$6 execute=$7
enter "$folder" make || refuse "ENOTDIR: cannot enter the folder $folder"
trap 'rm -f "$incoming"' EXIT
cat >"$incoming" || refuse "EIO: the file could not be written"
[ "$(sha256 "$incoming" "$size")" = "$sha256" ] || refuse "what was written is not what was sent; check the disk, and send it again"
[ ! -L "./$file" ] || rm -f "./$file"
[ ! -d "./$file" ] || refuse "EISDIR: a folder has this name"
chmod "u$execute" "$incoming" || refuse "EPERM: its permissions cannot be set"
note "$file" "$sha256" "$boot" "$incoming" # before: what has no note is not ours to delete
mv -f "$incoming" "./$file" || refuse "EIO: the file could not be put in its place"
"""
)
"""Arguments: folder, file, sha256, size in bytes, boot id, temporary name, `+x` or `-x`; the content is its input."""

_GIVE = (
    _ENTER
    + r"""
enter "$1" && [ -e "./$2" ] || refuse "ENOENT: no such file"
[ ! -d "./$2" ] || refuse "EISDIR: a folder has this name"
[ -f "./$2" ] || refuse "not a regular file"
[ -r "./$2" ] || refuse "EACCES: it may not be read"
size=$(stat -L -c %s "./$2") # Android's shell counts to 2^31; what is a little too large is cut off and refused at the other end
[ ${#size} -le ${#3} ] || refuse "larger than the $3 bytes that were expected"
exec cat "./$2"
"""
)
"""Arguments: folder, file, most bytes."""

_REMOVE = (
    _ENTER
    + r"""
enter "$1" || exit 0
rm -rf "./$2" "$notes/$2" || refuse "it could not be removed"
"""
)
"""Arguments: folder, name."""


def push(device: Device, source: Path, destination: str) -> None:
    folder, file = _place(device, destination)
    try:
        with source.open("rb") as stream:
            status = os.fstat(stream.fileno())
            sha256 = _sha256(source, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            size = status.st_size
            if size > device.max_disk_bytes:
                raise CommandFailed(
                    f"target {device.name}: push of {destination!r}: {size} bytes, and `max_disk_bytes` is {device.max_disk_bytes}"
                )
            timeout_s = TIMEOUT_S + size / LEAST_BYTES_PER_S
            need_kib = str(int(SPARE * size) // 1024 + 1)
            execute = "+x" if status.st_mode & stat.S_IXUSR else "-x"
            told = f"push of {destination!r}"
            answer = _told(
                device, told, _IS_THERE, folder, file, sha256, str(size), device.boot_id, need_kib, execute, timeout_s=timeout_s
            )
            if answer != b"same\n":
                incoming = f"{device.run_id}.{secrets.token_hex(8)}"
                _told(
                    device,
                    told,
                    _TAKE,
                    folder,
                    file,
                    sha256,
                    str(size),
                    device.boot_id,
                    incoming,
                    execute,
                    timeout_s=timeout_s,
                    stdin=stream,
                )
    except OSError as error:
        raise CommandFailed(f"target {device.name}: push of {destination!r}: {_errno(error)}") from error


def pull(device: Device, source: str, max_bytes: int) -> bytes:
    folder, file = _place(device, source)
    timeout_s = TIMEOUT_S + max_bytes / LEAST_BYTES_PER_S
    return _told(
        device, f"pull of {source!r}", _GIVE, folder, file, str(max_bytes), timeout_s=timeout_s, max_output_bytes=max_bytes
    )


def remove(device: Device, path: str) -> None:
    _told(device, f"remove of {path!r}", _REMOVE, *_place(device, path), timeout_s=TIMEOUT_S)


def _place(device: Device, name: str) -> tuple[str, str]:
    """Folder (`.` for the work directory) and file of a name that stays inside the work directory; links are for the device to see."""
    pure = PurePosixPath(name)
    inside = bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts and "\0" not in name
    if not inside or pure.parts[0] == STATE_FOLDER:
        raise CommandFailed(f"target {device.name}: {name!r} is not the name of a file inside the work directory")
    return str(pure.parent), pure.name


def _told(
    device: Device,
    what: str,
    script: str,
    *words: str,
    timeout_s: float,
    stdin: BinaryIO | None = None,
    max_output_bytes: int = 1 << 16,
) -> bytes:
    """What the script says; what it refuses becomes CommandFailed."""
    result = device.script(
        script, *words, stdin=io.BytesIO() if stdin is None else stdin, timeout_s=timeout_s, max_output_bytes=max_output_bytes
    )
    said = " ".join(result.stderr.decode("utf-8", "replace").split())[-500:]
    if result.timed_out:
        raise CommandFailed(f"target {device.name}: {what}: not done after {timeout_s:.0f} s; the link or the disk is too slow")
    if result.exit_status != 0:
        raise CommandFailed(f"target {device.name}: {what}: {said or f'exit status {result.exit_status}'}")
    if len(result.stdout) == max_output_bytes and result.truncated:
        raise CommandFailed(f"target {device.name}: {what}: larger than the {max_output_bytes} bytes that were expected")
    return result.stdout


def _errno(error: OSError) -> str:
    return f"{errno.errorcode.get(error.errno or 0, 'error')}: {error.strerror or error} ({error.filename})"


def _sha256(path: Path, device: int, inode: int, size: int, mtime_ns: int) -> str:
    """Of the file; remembered while it looks the same, so that a large artifact is not read again for every push of it."""
    if time.time_ns() - mtime_ns < SETTLED_S * 1e9:
        return _hashed(path)
    return _remembered(path, device, inode, size, mtime_ns)


@functools.lru_cache(maxsize=1024)
def _remembered(path: Path, *_looks: int) -> str:
    return _hashed(path)


def _hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
