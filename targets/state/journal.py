"""What a device's settings were before a run changed them: kept on this host and on the device, on disk before the first change.

One journal a device, whichever of its targets wrote it: on the device in a folder of the account's own, and so found by whoever comes next
over any way; on the host under the target's name, should the device's copy be lost. The device's copy is the one that counts where there
are both: one that is done (no settings left) outdates every older copy elsewhere.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from targets.probe import printable_line
from targets.session import CommandFailed, Session
from targets.state.settings import Setting, is_known, survives_reboot
from targets.target import Target

SCHEMA = 1
TIMEOUT_S = 60.0
MAX_BYTES = 1 << 18
MAX_SETTINGS = 4096
_ID = re.compile(r"[0-9a-f]{32}")

_ENTER = r"""
for place in /data/local/tmp /var/tmp /tmp; do [ ! -d "$place" ] || [ ! -w "$place" ] || break; done
folder=$place/assay-state-$(id -u)
umask 077
"""
_LOAD = (
    _ENTER
    + r"""
cat /proc/sys/kernel/random/boot_id || echo
[ ! -O "$folder" ] || [ -L "$folder" ] || [ ! -f "$folder/$1" ] || cat "$folder/$1"
exit 0
"""
)
"""Argument: file. Prints the boot id on a line, then the journal, if there is one that is this account's own."""

_KEEP = (
    _ENTER
    + r"""
mkdir -p "$folder" && [ -O "$folder" ] && [ ! -L "$folder" ] || { echo "$folder is not this account's own" >&2; exit 1; }
trap 'rm -f "$folder/.$1.part"' EXIT
dd of="$folder/.$1.part" conv=fsync && mv -f "$folder/.$1.part" "$folder/$1" || exit 1
[ "$2" = "" ] || sync # the folder, too: only what outlives a reboot needs it
"""
)
"""Arguments: file, `sync` or nothing; the journal is its input. On disk whole when it returns, or not at all."""

_DROP = (
    _ENTER
    + r"""
rm -f "$folder/$1"
"""
)


@dataclass(frozen=True, slots=True)
class Journal:
    """The settings that one run changes, of one boot of the device."""

    id: str
    boot_id: str
    """Empty where the device tells none."""
    settings: tuple[Setting, ...]
    """Empty: all is as it was."""

    def to_json(self) -> str:
        return json.dumps({"schema": SCHEMA, **dataclasses.asdict(self)}, sort_keys=True) + "\n"


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a device when it is connected."""

    boot_id: str
    journal: Journal | None
    """Of what is still to be put back; None where nothing is."""
    remarks: tuple[str, ...] = ()


def load(session: Session, target: Target, folder: Path) -> Found:
    """The journal that counts, of the two there may be; what does not read as one of ours is said, and not believed."""
    result = session.run(["sh", "-c", _LOAD, "sh", file_there(target)], timeout_s=TIMEOUT_S, max_output_bytes=MAX_BYTES)
    boot_id, _, text = result.stdout.decode("utf-8", "replace").partition("\n")
    boot_id = boot_id.strip()[:64]
    file = _file(target, folder)
    there, here = _parsed(text), _parsed(_host_text(file))
    remarks = tuple(
        f"the restore journal of target {target.name} {where} is none that Assay wrote; it is not believed"
        for where, journal, given in (("on the device", there, text), (f"at {file}", here, _host_text(file)))
        if journal is None and given.strip()
    )
    counts = there if there is not None else here
    if counts is None or not counts.settings:
        return Found(boot_id, None, remarks)
    if boot_id and counts.boot_id and counts.boot_id != boot_id:
        counts = dataclasses.replace(counts, settings=tuple(s for s in counts.settings if survives_reboot(s.name)))
    return Found(boot_id, counts if counts.settings else None, remarks)


def begin(session: Session, target: Target, folder: Path, settings: tuple[Setting, ...]) -> Journal:
    """A new journal, kept at both ends before it is returned."""
    journal = Journal(secrets.token_hex(16), load(session, target, folder).boot_id, settings)
    keep(session, target, folder, journal)
    return journal


def keep(session: Session, target: Target, folder: Path, journal: Journal) -> None:
    """On disk at both ends when this returns; CommandFailed where it cannot be kept, for nothing may be changed then."""
    file = _file(target, folder)
    try:
        _write(file, journal.to_json())
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, "error")
        raise _refused(target, f"at {file}: {code}: {error.strerror}") from error
    if complaint := _keep_there(session, target, journal):
        file.unlink()
        raise _refused(target, f"on the device: {complaint}")


def clear(session: Session, target: Target, folder: Path, journal: Journal) -> None:
    """All is as it was: the device's copy says so first, the host's goes."""
    if _keep_there(session, target, dataclasses.replace(journal, settings=())):  # no room even for that
        session.run(["sh", "-c", _DROP, "sh", file_there(target)], timeout_s=TIMEOUT_S)
    _file(target, folder).unlink(missing_ok=True)


def places(target: Target, folder: Path) -> str:
    """Where a person finds the two, for messages."""
    return f"{_file(target, folder)} and /var/tmp/assay-state-*/{file_there(target)} on the device"


def _keep_there(session: Session, target: Target, journal: Journal) -> str:
    """What the device says against it; empty where it is kept."""
    durable = "sync" if any(survives_reboot(setting.name) for setting in journal.settings) else ""
    result = session.run(
        ["sh", "-c", _KEEP, "sh", file_there(target), durable], timeout_s=TIMEOUT_S, stdin=journal.to_json().encode()
    )
    said = printable_line(" ".join(result.stderr.decode("utf-8", "replace").split()))
    return "" if result.exit_status == 0 else said or f"exit status {result.exit_status}"


def _refused(target: Target, why: str) -> CommandFailed:
    return CommandFailed(
        f"target {target.name}: no restore journal can be kept {why}; no setting of the device is changed without one: free some space there"
    )


def _write(file: Path, text: str) -> None:
    """Whole and on disk, or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = file.with_name(
        f".{file.name}.part"
    )  # one name: who holds the device is alone, and a killed one's leavings are written over
    try:
        with temporary.open("w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
        descriptor = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    finally:
        temporary.unlink(missing_ok=True)


def _host_text(file: Path) -> str:
    if not file.is_file():
        return ""
    with file.open("rb") as stream:
        return stream.read(MAX_BYTES).decode("utf-8", "replace")


def _parsed(text: str) -> Journal | None:
    """A journal in which every name and value is one that may be written; None for anything else."""
    try:
        fields: Any = json.loads(text)
        settings = tuple(Setting(**setting) for setting in fields["settings"])
        journal = Journal(fields["id"], fields["boot_id"], settings)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    texts = [journal.id, journal.boot_id, *(text for s in settings for text in (s.name, s.before, s.wanted))]
    if fields.get("schema") != SCHEMA or len(settings) > MAX_SETTINGS or not all(isinstance(text, str) for text in texts):
        return None
    is_ours = _ID.fullmatch(journal.id) and all(
        is_known(s.name, s.before) and is_known(s.name, s.wanted) and (s.after is None or isinstance(s.after, str))
        for s in settings
    )
    return journal if is_ours else None


def _file(target: Target, folder: Path) -> Path:
    """By the target and how it is reached: an entry that now means another device has another journal."""
    way = json.dumps([target.transport, target.address, target.port, target.sysfs])
    return folder / f"{target.name}-{hashlib.sha256(way.encode()).hexdigest()[:12]}.json"


def file_there(target: Target) -> str:
    """On the device: one a tree of settings, whatever the target is called here."""
    return f"settings-{hashlib.sha256(target.sysfs.encode()).hexdigest()[:12]}.json"
