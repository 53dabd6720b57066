"""Framing: what every shell makes of our scripts, streams cut anywhere, packets that no adbd sends. No adb is needed here."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from targets.session import CommandFailed, Unreachable
from targets.shell import command_line
from targets.transports.adb.channel import EXIT, HEADER, STDERR, STDOUT, AdbChannel, _Ending, script, service

END = "ASSAY0123456789abcdef"
SHELLS = {"sh": ["sh"], "bash": ["bash"], "busybox": ["busybox", "sh"], "mksh": ["mksh"]}


@given(st.binary(max_size=60), st.integers(0, 255), st.binary(max_size=20), st.lists(st.integers(1, 9), min_size=1, max_size=30))
@example(END.encode()[:-1] + END.encode(), 7, b"x", [1])
@example(END.encode() + b" 12", 7, b"", [3])
def test_the_end_is_found_however_it_is_cut(before: bytes, status: int, after: bytes, cuts: list[int]) -> None:
    ending, found = _Ending(END.encode()), [b"", b""]
    whole = before + b"%b %d\n" % (END.encode(), status) + after
    while whole:
        cut = cuts[len(whole) % len(cuts)]
        for index, part in enumerate(ending.split(whole[:cut])):
            found[index] += part
        whole = whole[cut:]
    assert (found, ending.status) == ([before, after], status)


@given(st.binary(max_size=60))
def test_nothing_is_held_back_but_a_possible_end(data: bytes) -> None:
    said = _Ending(END.encode()).split(data)[0]
    assert data.startswith(said) and END.encode().startswith(data[len(said) :])


@contextmanager
def talking(shell: list[str], channel_of: Callable[[socket.socket], AdbChannel], command: str) -> Iterator[AdbChannel]:
    """A shell of this machine in place of adbd's, without shell protocol: one stream that is input and output at once."""
    ours, theirs = socket.socketpair()
    with theirs:
        end = theirs.fileno()
        process = subprocess.Popen([*shell, "-c", command], stdin=end, stdout=end, stderr=end)
    channel = channel_of(ours)
    try:
        yield channel
    finally:
        channel.close()
        assert process.wait(30) is not None


def heard(channel: AdbChannel) -> tuple[bytes, bytes, int | None]:
    out = err = b""
    while not channel.is_silent:
        more = channel.receive(30)
        out, err = out + more.out, err + more.err
    return out, err, channel.exit_status


@pytest.fixture(params=sorted(SHELLS))
def shell(request: pytest.FixtureRequest) -> list[str]:
    if shutil.which(SHELLS[request.param][0]) is None:
        pytest.skip(f"needs {request.param}")
    return SHELLS[request.param]


def run(shell: list[str], words: list[str], stdin: bytes = b"", most: int = 1000) -> tuple[bytes, bytes, int | None]:
    text = script(command_line(words), END, len(stdin), most, is_v2=False)
    with talking(
        shell, lambda s: AdbChannel(s, text, END, is_v2=False), service(END, is_v2=False).removeprefix("exec:")
    ) as channel:

        def send() -> None:
            with suppress(BrokenPipeError):  # the command may end before it is given its input
                channel.send(stdin)

        sender = threading.Thread(target=send)
        sender.start()
        found = heard(channel)
        sender.join()
    return found


@pytest.mark.peers
def test_without_shell_protocol_both_streams_and_the_status_come_back(shell: list[str]) -> None:
    data = bytes(range(256)) * 1000
    assert run(shell, ["sh", "-c", "cat; echo oh no >&2; exit 42"], data) == (data, b"oh no\n", 42)
    assert run(shell, ["sh", "-c", "exec 2>&-; echo out"]) == (b"out\n", b"", 0), "closed early, it still comes after the end"
    assert run(shell, ["sh", "-c", "kill -9 $$"])[2] == -9
    assert run(shell, ["cat"])[2] == 0, "input that is empty ends"


@pytest.mark.peers
def test_without_shell_protocol_the_error_stream_is_bounded_and_stays_behind_the_output(shell: list[str]) -> None:
    flood = "head -c 300000 /dev/zero >&2; echo after"
    assert run(shell, ["sh", "-c", flood], most=100) == (b"after\n", bytes(100), 0)


@pytest.mark.peers
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=5))
@example(["a\nb'", "\\", "$(id)", END, f"\n{END}x\n", "ünï", "-n"])
def test_no_word_is_read_by_a_shell_on_its_way(words: list[str]) -> None:
    out, _, status = run(["sh"], ["printf", "%s|", *words])
    assert (out, status) == (b"".join(word.encode() + b"|" for word in words), 0)


@pytest.mark.peers
def test_a_script_that_was_cut_off_is_not_begun(shell: list[str]) -> None:
    whole = script(command_line(["touch", "/nonexistent"]), END, None, 0, is_v2=False)
    command = service(END, is_v2=False).removeprefix("exec:")
    for length in (1, len(whole) // 2, len(whole) - 2):
        done = subprocess.run([*shell, "-c", command], input=whole[:length], capture_output=True, check=False)
        assert (done.stdout, done.stderr) == (b"", b"")


def packet(kind: int, content: bytes) -> bytes:
    return HEADER.pack(kind, len(content)) + content


@pytest.fixture
def pair() -> Iterator[tuple[AdbChannel, socket.socket]]:
    ours, theirs = socket.socketpair()
    with theirs:
        channel = AdbChannel(ours, b"", END, is_v2=True)
        theirs.recv(HEADER.size)
        yield channel, theirs
        channel.close()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_packets_are_put_together_however_they_are_cut(cuts: list[int]) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        channel = AdbChannel(ours, b"", END, is_v2=True)
        whole = (
            packet(STDOUT, b"hel") + packet(STDERR, b"oh") + packet(99, b"?") + packet(STDOUT, b"") + packet(STDOUT, b"lo" + END.encode())
            + packet(STDOUT, b" 3\n") + packet(STDERR, b" no") + packet(EXIT, b"\0")
        )  # fmt: skip
        out = err = b""
        while whole:
            cut = cuts[len(whole) % len(cuts)]
            theirs.sendall(whole[:cut])
            whole = whole[cut:]
            more = channel.receive(0)
            out, err = out + more.out, err + more.err
        assert (out, err, channel.exit_status, channel.is_silent) == (b"hello", b"oh no", 3, True)
        channel.close()


def test_a_link_that_ends_before_the_command_does_is_unreachable(pair: tuple[AdbChannel, socket.socket]) -> None:
    channel, theirs = pair
    theirs.sendall(packet(STDOUT, b"half of the out"))
    assert channel.receive(1).out == b"half of the out" and channel.exit_status is None
    theirs.shutdown(socket.SHUT_RDWR)
    assert channel.receive(1) == (b"", b"")
    with pytest.raises(Unreachable, match="the connection was lost"):
        channel.exit_status  # noqa: B018 - it raises


def test_a_packet_that_no_adbd_sends_is_refused(pair: tuple[AdbChannel, socket.socket]) -> None:
    channel, theirs = pair
    theirs.sendall(HEADER.pack(STDOUT, 1 << 31))
    with pytest.raises(CommandFailed, match="a packet of 2147483648 bytes"):
        channel.receive(1)
