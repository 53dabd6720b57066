"""Small text files and folders of a Linux device, many at once by one command: to ask a device is what takes the time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from targets.session import Session

TIMEOUT_S = 30.0
MAX_BYTES = 4 << 20


def children(session: Session, folder: str) -> list[str]:
    """Paths of a folder's entries in natural order (policy2 before policy10); none for a folder that is not there."""
    return entries(session, [folder])[0]


def entries(session: Session, folders: Sequence[str]) -> list[list[str]]:
    """`children` of each of these folders, by one command: to ask a device is what takes the time."""
    result = session.run(["find", *folders, "-mindepth", "1", "-maxdepth", "1"], timeout_s=TIMEOUT_S, max_output_bytes=MAX_BYTES)
    inside: dict[str, list[str]] = {folder.rstrip("/"): [] for folder in folders}
    for path in sorted(
        _text(result.stdout).splitlines(), key=lambda path: re.sub(r"\d+", lambda digits: digits[0].zfill(20), path)
    ):
        inside.get(path.rpartition("/")[0].rstrip("/"), []).append(path)
    return [inside[folder.rstrip("/")] for folder in folders]


def lines_of(session: Session, paths: list[str]) -> dict[str, list[str]]:
    """The lines of many small text files in one command; a file that cannot be read is left out."""
    result = session.run(["grep", "-H", "-s", "", *paths], timeout_s=TIMEOUT_S, max_output_bytes=MAX_BYTES)
    found: dict[str, list[str]] = {}
    wanted = sorted(set(paths), key=len)
    for line in _text(result.stdout).splitlines():
        path = next((path for path in wanted if line.startswith(f"{path}:")), None)  # a path may hold colons itself
        if path is not None:
            found.setdefault(path, []).append(line[len(path) + 1 :])
    return found


def command(session: Session, argv: list[str]) -> str | None:
    """What it prints; None where it is not there, fails or prints nothing."""
    result = session.run(argv, timeout_s=TIMEOUT_S, max_output_bytes=MAX_BYTES)
    return _text(result.stdout).strip("\0\n ") or None if result.exit_status == 0 else None


def fields(lines: list[str], separator: str = ":") -> dict[str, list[str]]:
    """`key : value` lines: every value of each key, in order."""
    found: dict[str, list[str]] = {}
    for line in lines:
        key, mark, value = line.partition(separator)
        if mark:
            found.setdefault(key.strip(), []).append(value.strip())
    return found


def kib(lines: list[str], key: str) -> int | None:
    """Bytes of a `/proc/meminfo` line, which counts in units of 1024."""
    value = whole((fields(lines).get(key) or [""])[0].removesuffix(" kB"))
    return None if value is None else 1024 * value


def first(lines: Mapping[str, list[str]], path: str) -> str | None:
    """The first line of a file; None for one that could not be read."""
    return lines[path][0].strip() if lines.get(path) else None


def whole(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"-?[0-9]{1,18}", text) else None


def real(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", text) else None


def or_reason(value: Any, reason: str) -> Any:
    """The value, or where there is none (None, nothing in it, 0 of what is counted) the mapping that says why."""
    return value if value else {"value": None, "reason": reason}


def base(path: str) -> str:
    return path.rpartition("/")[2]


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace")
