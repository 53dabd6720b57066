"""A device that keeps its bytes, computes, has room and whose clock goes forward is healthy; one that lies in any of it is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from targets.health import check_health
from targets.session import CommandFailed, CommandResult, Invalid, Session
from targets.target import Target
from targets.transports import connect


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with connect(Target("local", work_dir=str(tmp_path / "work"))) as opened:
        yield opened


class Lying:
    """A device that answers one kind of question wrongly."""

    def __init__(self, session: Session, about: str, lie: Any) -> None:
        self._session, self._about, self._lie = session, about, lie

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, argv: Sequence[str], **options: Any) -> CommandResult:
        result = self._session.run(argv, **options)
        return replace(result, **self._lie) if self._about in argv else result

    def push(self, source: Path, destination: str) -> None:
        if self._about == "push":
            raise CommandFailed(self._lie)
        self._session.push(source, destination)

    def pull(self, source: str, *, max_bytes: int) -> bytes:
        content = self._session.pull(source, max_bytes=max_bytes)
        return bytes([content[0] ^ 1]) + content[1:] if self._about == "pull" else content


def test_a_healthy_device_passes_and_nothing_is_left_there(session: Session, tmp_path: Path) -> None:
    check_health(session, "board")
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize(
    ("about", "lie", "says"),
    [
        ("sha256sum", {"stdout": b"0" * 64 + b"  file\n"}, "came out wrong there"),
        ("sha256sum", {"exit_status": 127, "stderr": b"not found"}, "ended with status 127: not found"),
        ("sha256sum", {"timed_out": True}, "took more than"),
        ("pull", None, "came back as others"),
        ("push", "ENOSPC: no room", "ENOSPC: no room"),
        ("df", {"stdout": b"Filesystem 1024-blocks Used Available Capacity\n/dev/a 99% 9 9 1000  90% /\n"}, "0 MiB are free"),
        ("/proc/uptime", {"stdout": b"12.34 5.6\n"}, "clock does not go forward: up for 12.34 s, and later for 12.34 s"),
    ],
)
def test_a_device_that_errs_is_invalid_and_told_why(session: Session, about: str, lie: Any, says: str) -> None:
    with pytest.raises(Invalid, match="target board fails its health check") as caught:
        check_health(Lying(session, about, lie), "board")
    assert says in str(caught.value)


def test_what_a_device_cannot_tell_is_not_held_against_it(session: Session) -> None:
    check_health(Lying(session, "/proc/uptime", {"stdout": b"", "exit_status": 1}), "board")
    check_health(Lying(session, "df", {"stdout": b"what?\n"}), "board")
