"""One contract, every transport: commands, deadlines, bounded output, files, and nothing left behind."""

from __future__ import annotations

import hashlib
import inspect
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from targets.session import CommandFailed, Session
from targets.target import Target
from targets.transports import connect

NIGHTLY = bool(os.environ.get("ASSAY_NIGHTLY"))
NAMES = (
    "plain",
    "with space",
    "it's",
    'double"quote',
    "new\nline",
    "$HOME `id` ; *",
    "-n",
    "ünï·コード",
    "a" * 200,
    "sub/folder/x",
)


@pytest.fixture(
    params=[
        "local",
        pytest.param("qemu", marks=pytest.mark.toolchain),
        pytest.param("sshd", marks=pytest.mark.peers),
        pytest.param("busybox_sshd", marks=pytest.mark.peers),
        pytest.param("android", marks=pytest.mark.peers),
        pytest.param("old_adbd", marks=pytest.mark.peers),
        pytest.param("board", marks=pytest.mark.peers),
        pytest.param("board_adb", marks=[pytest.mark.peers, pytest.mark.nightly]),  # adb and the board are each here another way
        pytest.param("labgrid", marks=pytest.mark.peers),
    ]
)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    """`busybox_sshd`: a device that has a POSIX shell and busybox's tools; `android`: mksh and toybox; `old_adbd`: without shell protocol 2."""
    if request.param == "local":
        return Target("device", work_dir=str(tmp_path / "work dir"))
    if request.param in ("qemu", "board", "board_adb", "labgrid"):
        own: Target = request.getfixturevalue(f"{request.param}_target")
        return own
    way = "adb_target" if request.param in ("android", "old_adbd") else "ssh_target"
    behind: Target = request.getfixturevalue(way)(request.getfixturevalue(request.param))
    return behind


@pytest.fixture
def session(target: Target) -> Iterator[Session]:
    with connect(target) as session:
        yield session


METHODS = [name for name, member in vars(Session).items() if inspect.isfunction(member) and not name.startswith("_")]


def test_every_transport_takes_the_same_arguments(session: Session) -> None:
    """Callers use the Protocol: a transport with another default would behave differently under the same call."""
    for method in METHODS:
        ours = inspect.signature(getattr(type(session), method), eval_str=False)
        assert list(ours.parameters.values()) == list(inspect.signature(getattr(Session, method)).parameters.values()), method


def pushed(session: Session, folder: Path, content: bytes, name: str) -> None:
    (folder / "source").write_bytes(content)
    session.push(folder / "source", name)


def files(session: Session) -> list[bytes]:
    """All there are, but for what a transport keeps in mind."""
    return session.run(["find", ".", "-type", "f", "!", "-path", "./.assay/*"], timeout_s=10).stdout.split()


def is_running(session: Session, pid: int) -> bool:
    stat = session.run(["cat", f"/proc/{pid}/stat"], timeout_s=10)
    return stat.exit_status == 0 and stat.stdout.decode().rpartition(")")[2].split()[0] not in "ZX"


def wait_for(session: Session, name: str) -> int:
    """A number that a process on the device writes."""
    for _ in range(200):
        result = session.run(["cat", name], timeout_s=5)
        if result.stdout.endswith(b"\n"):
            return int(result.stdout)
        time.sleep(0.02)
    raise AssertionError(f"{name} was not written")


def test_exit_status_is_the_commands_own(session: Session) -> None:
    for status in (0, 1, 3, 126, 255):
        result = session.run(["sh", "-c", f"exit {status}"], timeout_s=10)
        assert (result.exit_status, result.timed_out, result.truncated) == (status, False, False)


def test_death_by_signal_is_its_negative_number(session: Session) -> None:
    for number in (6, 9, 11, 15):
        assert session.run(["sh", "-c", f"kill -{number} $$"], timeout_s=10).exit_status == -number


def test_a_program_that_is_not_there_is_127(session: Session) -> None:
    result = session.run(["no-such-program", "x"], timeout_s=10)
    assert result.exit_status == 127 and b"no-such-program" in result.stderr


def test_a_file_that_cannot_be_executed_is_126(session: Session, tmp_path: Path) -> None:
    pushed(session, tmp_path, b"text", "plain")
    assert session.run(["./plain"], timeout_s=10).exit_status == 126


def test_a_push_keeps_the_permission_to_execute(session: Session, tmp_path: Path) -> None:
    """Also where the content is there already, and when the permission is all that changed."""
    source = tmp_path / "source"
    source.write_bytes(b"#!/bin/sh\necho ran\n")
    for mode, status in ((0o700, 0), (0o600, 126), (0o755, 0), (0o755, 0)):
        source.chmod(mode)
        session.push(source, "folder/program")
        result = session.run(["folder/program"], timeout_s=10)
        assert (result.exit_status, result.stdout) == (status, b"" if status else b"ran\n")


def test_a_command_that_cannot_be_is_refused(session: Session) -> None:
    for argv in ([], ["echo", "a\0b"]):
        with pytest.raises(CommandFailed, match="cannot run"):
            session.run(argv, timeout_s=10)


def test_words_reach_the_command_as_they_are(session: Session) -> None:
    words = [*NAMES, "", "a  b", "\\", "$(touch hacked)"]
    result = session.run(["sh", "-c", 'printf "%s\\0" "$@"', "sh", *words], timeout_s=20)
    assert result.stdout == b"".join(word.encode() + b"\0" for word in words)
    assert session.run(["test", "-e", "hacked"], timeout_s=10).exit_status == 1


def test_commands_behind_words_are_started_by_them_and_may_be_refused(session: Session) -> None:
    behind = session.behind(["env", "FIRST=a b"]).behind(["sh", "-c", 'echo "$FIRST $#"; exec "$@"', "sh"])
    assert behind.run(["echo", "it's", "x y"], timeout_s=20).stdout == b"a b 3\nit's x y\n"
    assert session.run(["sh", "-c", 'echo "$FIRST"'], timeout_s=20).stdout == b"\n", "the session itself is as it was"
    assert session.behind(["false"]).run(["echo"], timeout_s=20).exit_status == 1
    assert behind.python == session.python


def test_streams_are_binary_and_apart(session: Session) -> None:
    data = bytes(range(256)) * 4
    result = session.run(["sh", "-c", "cat >copy; cat copy; tail -c 300 copy >&2"], timeout_s=20, stdin=data)
    assert (result.stdout, result.stderr) == (data, data[-300:])


def test_more_input_than_a_pipe_holds_arrives(session: Session) -> None:
    data = os.urandom(3 << 20)
    result = session.run(["sha256sum"], timeout_s=20, stdin=data)
    assert result.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_input_that_is_not_wanted_is_no_error(session: Session) -> None:
    assert session.run(["true"], timeout_s=10, stdin=b"x" * (1 << 20)).exit_status == 0


def test_environment_is_clean_plus_what_is_asked(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("LD_PRELOAD_NOT", "x")
    found = session.run(["env", "-0"], timeout_s=10, environment={"ASKED": "a b\n'c'"}).stdout.split(b"\0")
    names = {entry.partition(b"=")[0] for entry in found if entry}
    assert b"ASKED=a b\n'c'" in found
    assert (
        {b"PATH", b"HOME", b"LANG"}
        <= names
        <= {b"PATH", b"HOME", b"LANG", b"TMPDIR", b"ASKED", b"PWD", b"SHLVL", b"_", b"ASSAY_RUN", b"ANDROID_DATA"}
    )


def test_output_is_bounded_and_the_command_goes_on(session: Session, tmp_path: Path) -> None:
    script = "head -c 12582912 /dev/zero | tr '\\0' e >&2 & head -c 12582912 /dev/zero | tr '\\0' o; wait; echo 1 >ended"
    result = session.run(["sh", "-c", script], timeout_s=60, max_output_bytes=1000)
    assert (result.stdout, result.stderr, result.truncated) == (b"o" * 1000, b"e" * 1000, True)
    assert result.exit_status == 0 and session.pull("ended", max_bytes=10) == b"1\n"


def test_output_of_exactly_the_limit_is_whole(session: Session) -> None:
    result = session.run(["printf", "12345"], timeout_s=10, max_output_bytes=5)
    assert (result.stdout, result.truncated) == (b"12345", False)


def test_endless_output_ends_at_the_deadline(session: Session) -> None:
    # "yes" through a busy machine's ADB may bring less than 64 KiB a second: the deadline leaves it time for 4 KiB.
    result = session.run(["yes"], timeout_s=2, max_output_bytes=1 << 12)
    assert result.timed_out and result.truncated and len(result.stdout) == 1 << 12


def test_deadline_kills_the_whole_group_though_it_ignores_sigterm(session: Session) -> None:
    script = "trap '' TERM; (trap '' TERM; sh -c 'echo $$ >child; exec sleep 300') & echo $$ >parent; wait; sleep 300"
    result = session.run(["sh", "-c", script], timeout_s=0.5)
    assert result.timed_out and result.exit_status == -9
    assert not is_running(session, wait_for(session, "child")) and not is_running(session, wait_for(session, "parent"))


def test_deadline_lets_a_command_end_by_itself_first(session: Session) -> None:
    result = session.run(["sh", "-c", "trap 'echo bye; exit 7' TERM; while :; do sleep 0.05; done"], timeout_s=0.5)
    assert (result.timed_out, result.exit_status, result.stdout) == (True, 7, b"bye\n")


def test_what_a_command_leaves_running_is_killed_with_it(session: Session) -> None:
    result = session.run(
        ["sh", "-c", "sh -c 'echo $$ >child; exec sleep 300' & while ! test -s child; do :; done; echo done"], timeout_s=20
    )
    assert (result.exit_status, result.stdout, result.timed_out) == (0, b"done\n", False)
    assert not is_running(session, wait_for(session, "child"))


@pytest.mark.parametrize("how", ["ends", "runs on"])
def test_what_left_the_group_is_killed_too(session: Session, how: str) -> None:
    """A session of its own, SIGTERM ignored, the pipes held open, a grandchild: none of it saves it, nor holds the answer back."""
    child = "trap '' TERM; (trap '' TERM; sh -c 'echo $$ >child; exec sleep 300') & wait"
    after = "echo done" if how == "ends" else "sleep 300"
    script = f'setsid sh -c "$1" & while ! test -s child; do sleep 0.01; done; {after}'
    result = session.run(["sh", "-c", script, "sh", child], timeout_s=30 if how == "ends" else 2)
    assert (result.stdout, result.timed_out) == ((b"done\n", False) if how == "ends" else (b"", True))
    assert not is_running(session, wait_for(session, "child"))


def test_10_mb_of_output_arrive_whole(session: Session) -> None:
    printed = session.run(["sh", "-c", "head -c 10485760 /dev/urandom | tee copy"], timeout_s=60).stdout
    there = session.run(["sha256sum", "copy"], timeout_s=60).stdout.split()[0]
    assert len(printed) == 10 << 20 and hashlib.sha256(printed).hexdigest().encode() == there


def test_commands_in_parallel_on_one_session_do_not_meet(session: Session) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: session.run(["sh", "-c", f"sleep 0.1; echo {i}; exit {i}"], timeout_s=60), range(8)))
    assert [(result.stdout, result.exit_status) for result in found] == [(b"%d\n" % i, i) for i in range(8)]


def test_a_program_whose_name_holds_an_equals_sign_runs(session: Session, tmp_path: Path) -> None:
    pushed(session, tmp_path, b'#!/bin/sh\necho "$1"\n', "a=b")
    session.run(["chmod", "+x", "a=b"], timeout_s=10)
    assert session.run(["./a=b", "x=y"], timeout_s=10).stdout == b"x=y\n"


def test_a_variable_that_cannot_be_is_refused(session: Session) -> None:
    for name in ("A=B", "", "A\0"):
        with pytest.raises(CommandFailed, match="variable"):
            session.run(["true"], timeout_s=10, environment={name: "x"})


@settings(
    deadline=None,
    max_examples=100 if NIGHTLY else 10,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(words=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=6))
def test_no_word_is_read_by_a_shell(session: Session, words: list[str]) -> None:
    result = session.run(["printf", "%s|", *words], timeout_s=30)
    assert result.stdout == b"".join(word.encode() + b"|" for word in words or [""])


def test_files_arrive_whole_under_any_name(session: Session, tmp_path: Path) -> None:
    for name in NAMES:
        content = bytes(range(256)) + name.encode()
        pushed(session, tmp_path, content, name)
        assert session.pull(name, max_bytes=len(content)) == content
        session.remove(name)
        with pytest.raises(CommandFailed, match="ENOENT"):
            session.pull(name, max_bytes=10)


def test_an_empty_file_is_a_file(session: Session, tmp_path: Path) -> None:
    pushed(session, tmp_path, b"", "empty")
    assert session.pull("empty", max_bytes=0) == b""


def test_a_large_file_arrives_whole(session: Session, target: Target, tmp_path: Path) -> None:
    size = (10 if target.origin == "emulated" else 100 if NIGHTLY else 30) << 20  # an emulated board takes 10 s for 100 MB
    with (tmp_path / "big").open("wb") as file:
        for offset in range(0, size, 10 << 20):
            file.seek(offset)
            file.write(os.urandom(4096))
        file.truncate(size)
    session.push(tmp_path / "big", "big")
    with (tmp_path / "big").open("rb") as file:
        expected = hashlib.file_digest(file, "sha256").hexdigest()
    assert session.run(["sha256sum", "big"], timeout_s=60).stdout.split()[0].decode() == expected
    with pytest.raises(CommandFailed, match="larger"):
        session.pull("big", max_bytes=1 << 20)
    session.remove("big")


def test_an_unchanged_file_is_not_sent_again_and_a_changed_one_is(session: Session, tmp_path: Path) -> None:
    def inode() -> bytes:
        return session.run(["ls", "-i", "file"], timeout_s=10).stdout

    pushed(session, tmp_path, b"one", "file")
    first = inode()
    pushed(session, tmp_path, b"one", "file")
    assert inode() == first
    pushed(session, tmp_path, b"two", "file")  # the same size, another content
    assert session.pull("file", max_bytes=3) == b"two"
    session.run(["sh", "-c", "printf tw >file"], timeout_s=10)  # cut off behind our back
    pushed(session, tmp_path, b"two", "file")
    assert session.pull("file", max_bytes=3) == b"two"


def test_a_push_replaces_a_file_that_is_being_read_in_one_step(session: Session, tmp_path: Path) -> None:
    pushed(session, tmp_path, b"old" * 1000, "file")
    script = "exec 3<file; echo 1 >opened; while ! test -e replaced; do sleep 0.02; done; cat <&3"
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(session.run, ["sh", "-c", script], timeout_s=30)
        wait_for(session, "opened")
        pushed(session, tmp_path, b"new", "file")
        pushed(session, tmp_path, b"", "replaced")
        assert reading.result().stdout == b"old" * 1000
    assert session.pull("file", max_bytes=3) == b"new"


def test_names_that_lead_out_are_refused(session: Session, tmp_path: Path) -> None:
    for name in ("", ".", "/etc/passwd", "../up", "a/../../up", "..", "nul\0byte"):
        with pytest.raises(CommandFailed, match="inside the work directory"):
            pushed(session, tmp_path, b"x", name)
        with pytest.raises(CommandFailed, match="inside the work directory"):
            session.pull(name, max_bytes=1 << 20)
        with pytest.raises(CommandFailed, match="inside the work directory"):
            session.remove(name)


def test_a_link_out_of_the_work_directory_is_not_followed(session: Session, tmp_path: Path) -> None:
    outside = str(tmp_path / "outside")
    session.run(["sh", "-c", 'mkdir -p "$1" && echo x >"$1/precious" && ln -s "$1" link', "sh", outside], timeout_s=10)
    with pytest.raises(CommandFailed, match="inside the work directory"):
        pushed(session, tmp_path, b"bad", "link/precious")
    session.remove("link")
    assert session.run(["cat", f"{outside}/precious"], timeout_s=10).stdout == b"x\n"


def test_remove_takes_whole_folders_and_absent_is_fine(session: Session, tmp_path: Path) -> None:
    for name in ("folder/a", "folder/sub/b", "kept"):
        pushed(session, tmp_path, b"x", name)
    session.remove("folder")
    session.remove("folder")
    session.remove("never/was/there")
    assert files(session) == [b"./kept"]


def test_what_is_not_a_file_is_refused(session: Session, tmp_path: Path) -> None:
    pushed(session, tmp_path, b"x", "folder/file")
    session.run(["mkfifo", "pipe"], timeout_s=10)
    for name in ("folder", "pipe"):
        with pytest.raises(CommandFailed):
            session.pull(name, max_bytes=10)
    with pytest.raises(CommandFailed):
        pushed(session, tmp_path, b"x", "folder")
    with pytest.raises(CommandFailed, match="ENOENT"):
        session.push(tmp_path / "absent", "x")


def test_a_refused_push_leaves_nothing_behind(session: Session, tmp_path: Path) -> None:
    session.run(["mkdir", "folder"], timeout_s=10)
    with pytest.raises(CommandFailed):
        pushed(session, tmp_path, b"x", "folder")
    assert files(session) == []


def test_sessions_in_parallel_do_not_meet(target: Target, tmp_path: Path) -> None:
    def work(index: int) -> bytes:
        source = tmp_path / f"source{index}"
        source.write_bytes(bytes([index]) * 100_000)
        with connect(target) as session:
            for _ in range(2 if target.origin == "emulated" else 5):
                session.push(source, f"own{index}")
                session.push(source, "shared")
                shared = session.pull("shared", max_bytes=100_000)
                assert len(shared) == 100_000 and len(set(shared)) == 1
            return session.run(["cat", f"own{index}"], timeout_s=30).stdout

    with ThreadPoolExecutor(4) as pool:
        for index, content in enumerate(pool.map(work, range(4))):
            assert content == bytes([index]) * 100_000
    with connect(target) as session:
        assert sorted(files(session)) == [b"./own0", b"./own1", b"./own2", b"./own3", b"./shared"]


def test_the_interpreter_runs(session: Session) -> None:
    """Where there is one."""
    result = session.run([session.python, "-c", "print(6 * 7)"], timeout_s=20)
    assert (result.exit_status, result.stdout) == ((127, b"") if session.python == "none" else (0, b"42\n"))


def test_work_directory_outlives_the_session(target: Target, tmp_path: Path) -> None:
    with connect(target) as session:
        pushed(session, tmp_path, b"kept", "file")
    with connect(target) as session:
        assert session.pull("file", max_bytes=4) == b"kept"
