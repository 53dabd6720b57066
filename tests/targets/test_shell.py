"""Quoting, by the shells themselves; the scripts are run by test_session_contract.py on every transport."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from targets.session import CommandFailed
from targets.shell import MAX_COMMAND_BYTES, PROBE, START, WATCH, command_line, quote

WORDS = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=5)
SHELLS = {"sh": ["sh"], "bash": ["bash"], "busybox": ["busybox", "sh"]}


@pytest.fixture(params=sorted(SHELLS))
def shell(request: pytest.FixtureRequest) -> list[str]:
    if shutil.which(SHELLS[request.param][0]) is None:
        pytest.skip(f"needs {request.param}")
    return SHELLS[request.param]


@pytest.mark.peers
def test_a_shell_reads_the_very_words(shell: list[str]) -> None:
    @given(WORDS)
    @example([PROBE, "", "-n", "$(id)", "a\nb'", "\\", "!!", "~", "*", "\x7f\x1b[31m", "ünï"])
    def holds(words: list[str]) -> None:
        line = quote(["printf", "%s\\0", *words]).encode()
        told = subprocess.run([*shell, "-c", line], stdout=subprocess.PIPE, check=True).stdout
        assert told == b"".join(word.encode() + b"\0" for word in words)

    holds()


@pytest.mark.peers
@pytest.mark.parametrize("script", [START, WATCH])
def test_every_shell_can_read_the_scripts(shell: list[str], script: str) -> None:
    subprocess.run([*shell, "-n"], input=script.encode(), check=True)


def test_a_command_that_does_not_fit_is_refused() -> None:
    assert command_line(["x"]) == b"exec 'x'"
    with pytest.raises(CommandFailed, match="pass what is long by standard input"):
        command_line(["x" * MAX_COMMAND_BYTES])


def test_bytes_that_are_no_text_stay_as_they_are() -> None:
    assert command_line([b"\xff".decode("utf-8", "surrogateescape")]) == b"exec '\xff'"
