"""The health cell: a question with a known answer, put to a device before it is trusted with others."""

from __future__ import annotations

import hashlib
import re
import secrets
import tempfile
import time
from pathlib import Path

from targets.session import CommandFailed, CommandResult, Invalid, Session

SIZE_BYTES = 1 << 16
LEAST_FREE_BYTES = 4 << 20
"""In the work directory: an artifact, its inputs and its answers find no place in less."""
TIMEOUT_S = 30.0
BETWEEN_S = 0.05
"""Between two looks at the device's clock, which goes in steps of 10 ms."""
FOLDER = "health"


def check_health(session: Session, name: str) -> None:
    """Raises Invalid, saying what is wrong, unless the device keeps bytes, computes on them, has room, and its clock goes forward.

    The bytes are made up each time: what a device remembers, or replays, is no answer.
    """
    content = secrets.token_bytes(SIZE_BYTES)
    file = f"{FOLDER}/{secrets.token_hex(8)}"
    before = _uptime_s(session)
    time.sleep(BETWEEN_S)
    try:
        with tempfile.NamedTemporaryFile(prefix="assay-") as source:
            source.write(content)
            source.flush()
            session.push(Path(source.name), file)
        computed = _answer(session, name, ["sha256sum", file]).partition(" ")[0]
        if computed != hashlib.sha256(content).hexdigest():
            raise _sick(
                name, f"the sha256 of {SIZE_BYTES} bytes came out wrong there, as {computed[:64]!r}: its memory or its disk errs"
            )
        if session.pull(file, max_bytes=SIZE_BYTES) != content:
            raise _sick(name, f"{SIZE_BYTES} bytes that were pushed came back as others: its memory or its disk errs")
        session.remove(FOLDER)
    except CommandFailed as error:
        raise _sick(name, str(error)) from error
    free = _free_bytes(_answer(session, name, ["df", "-Pk", "."]))
    if free is not None and free < LEAST_FREE_BYTES:
        raise _sick(
            name, f"{free >> 20} MiB are free in its work directory, {LEAST_FREE_BYTES >> 20} are needed; delete old files there"
        )
    after = _uptime_s(session)
    if before is not None and after is not None and after <= before:
        raise _sick(name, f"its clock does not go forward: up for {before} s, and later for {after} s")


def _answer(session: Session, name: str, argv: list[str]) -> str:
    result = session.run(argv, timeout_s=TIMEOUT_S, max_output_bytes=1 << 12)
    if result.timed_out or result.exit_status != 0:
        raise _sick(name, f"`{' '.join(argv)}` {_ending(result)}")
    return result.stdout.decode("utf-8", "replace")


def _ending(result: CommandResult) -> str:
    said = " ".join(result.stderr.decode("utf-8", "replace").split())[-200:]
    return f"took more than {TIMEOUT_S:g} s" if result.timed_out else f"ended with status {result.exit_status}: {said}"


def _uptime_s(session: Session) -> float | None:
    """None where the system does not tell."""
    result = session.run(["cat", "/proc/uptime"], timeout_s=TIMEOUT_S, max_output_bytes=1 << 12)
    match = re.match(rb"\d{1,12}\.\d{1,9}\b", result.stdout)
    return float(match[0]) if match else None


def _free_bytes(table: str) -> int | None:
    """Of `df -Pk`: the number before the one with a percent sign, whatever the device's own name holds."""
    match = re.search(r"\s(\d{1,18})\s+\d+%\s", table)
    return None if match is None else 1024 * int(match[1])


def _sick(name: str, what: str) -> Invalid:
    return Invalid(f"target {name} fails its health check: {what}")
