"""Leases on a real device over each transport: who gets it, who is refused, what is killed, and what hostile files can do."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from targets import lease as lease_module
from targets.lease import Busy, Held, Lease, LeaseLost, break_lease, leased, look
from targets.lease.scripts import TAKE
from targets.session import CommandFailed, Session
from targets.target import Target
from targets.transports import connect


@pytest.fixture
def session(target: Target) -> Iterator[Session]:
    with connect(target) as session:
        yield session


@pytest.fixture
def other(elsewhere: Target) -> Iterator[Session]:
    with connect(elsewhere) as session:
        yield session


@pytest.fixture
def hold(session: Session, target: Target) -> Iterator[Callable[[], Held]]:
    """Has the lease while the test runs, whatever becomes of it."""
    stack = []

    def enter() -> Held:
        context = leased(session, target, holder="the first")
        held = context.__enter__()
        stack.append(context)
        return held

    yield enter
    for context in stack:
        context.__exit__(None, None, None)


def take(session: Session, target: Target, **options: Any) -> Lease:
    """The lease once had, and given up again."""
    with leased(session, target, **{"wait_s": 20.0} | options) as held:
        held.check()
        return held.lease


def test_one_has_it_and_the_other_is_told_who(
    hold: Callable[[], Held], session: Session, other: Session, elsewhere: Target, place: Any
) -> None:
    held = hold()
    assert held.session.run(["sh", "-c", "echo $0; exit 3", "it's"], timeout_s=30).stdout == b"it's\n"
    told: list[str] = []
    with pytest.raises(Busy, match="in use by the first; wait for it, or see `assay lease list`"):
        take(other, elsewhere, wait_s=0.3, on_wait=told.append)
    assert told == ["the first"]
    assert look(other, elsewhere).is_free is False
    held.check()
    assert oct(place.folder.stat().st_mode & 0o7777) == "0o1777"


def test_harnesses_of_one_host_queue_before_the_device_is_asked(session: Session, target: Target) -> None:
    class Silent:
        """A device that must not be asked."""

        def __getattr__(self, name: str) -> None:
            raise AssertionError(name)

    entered = threading.Event()
    leave = threading.Event()

    def first() -> None:
        with leased(session, target):
            entered.set()
            leave.wait()

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait()
    try:
        with pytest.raises(Busy, match="another harness of yours on this machine"):
            take(Silent(), target, wait_s=0.2)  # type: ignore[arg-type]
    finally:
        leave.set()
        thread.join()


def test_it_is_given_up_at_the_end_and_nothing_is_left_but_the_count(session: Session, target: Target, place: Any) -> None:
    for _ in range(3):
        take(session, target)
    (file,) = place.folder.iterdir()
    assert file.name == "000000000003" and place.words()[5] == "free"
    with pytest.raises(KeyError), leased(session, target):
        raise KeyError
    assert place.words()[5] == "free"


def test_tokens_grow_through_a_clock_that_steps_back_and_a_folder_that_a_reboot_emptied(
    session: Session, target: Target, place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = [take(session, target).token]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 1e6)
    tokens.append(take(session, target).token)
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    tokens.append(take(session, target).token)
    monkeypatch.setattr(time, "time", lambda: now)
    shutil.rmtree(place.folder)
    asked: list[str] = []

    def above(device: str) -> int:
        asked.append(device)
        return tokens[-1]

    last = take(session, target, above=above)
    assert asked == [last.device] and last.device.startswith(f"{target.host}/")
    tokens.append(last.token)
    assert tokens == sorted(set(tokens))


def test_what_the_last_holder_runs_is_killed_before_another_comes_in(
    hold: Callable[[], Held],
    session: Session,
    other: Session,
    elsewhere: Target,
    place: Any,
    is_running: Callable[[int], bool],
) -> None:
    held = hold()
    program = (
        "(setsid sh -c 'echo $$ >escaped.part; mv escaped.part escaped; exec sleep 300' &) ; echo $$ >leader; exec sleep 300"
    )
    ended: list[Exception] = []

    def run() -> None:
        try:
            held.session.run(["sh", "-c", program], timeout_s=300)
        except LeaseLost as error:
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while session.run(["cat", "escaped", "leader"], timeout_s=30).exit_status != 0:
        time.sleep(0.02)
    pids = [int(line) for line in session.run(["cat", "escaped", "leader"], timeout_s=30).stdout.split()]
    place.rewrite(expires="0")
    assert all(map(is_running, pids))
    if elsewhere.transport == "local":
        # One process on one machine is one session: in truth another harness's is another.
        break_from_another_process(place)
    take(other, elsewhere)
    assert not any(map(is_running, pids))
    thread.join()
    assert len(ended) == 1
    with pytest.raises(LeaseLost):
        held.session.run(["touch", "stale"], timeout_s=30)
    assert session.run(["ls"], timeout_s=30).stdout.split() == [b"escaped", b"leader"]


def break_from_another_process(place: Any) -> None:
    program = (
        "from targets.target import Target\nfrom targets.transports import connect\nfrom targets.lease import break_lease\n"
        "with connect(Target('x', work_dir='/tmp')) as session:\n    break_lease(session, Target('x'))\n"
    )
    subprocess.run([shutil.which("python") or "python3", "-c", program], check=True, cwd=Path(__file__).parents[3])


ACTS: dict[str, Callable[[Held, Path], object]] = {
    "run": lambda held, source: held.session.run(["touch", "stale"], timeout_s=30),
    "push": lambda held, source: held.session.push(source, "stale"),
    "pull": lambda held, source: held.session.pull("mine", max_bytes=100),
    "remove": lambda held, source: held.session.remove("mine"),
    "behind": lambda held, source: held.session.behind(["env"]).run(["touch", "stale"], timeout_s=30),
    "check": lambda held, source: held.check(),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_the_fence_is_on_the_device_not_in_the_harness(
    hold: Callable[[], Held], session: Session, place: Any, tmp_path: Path, act: Callable[[Held, Path], object]
) -> None:
    """Nobody told this harness: what it tries next is its first sign that another came."""
    held = hold()
    (tmp_path / "source").write_bytes(b"content")
    held.session.push(tmp_path / "source", "mine")
    place.folder.joinpath("000000000002").write_text("")
    with pytest.raises(LeaseLost, match=r"target device: the lease \(token \d+\) is lost: another has taken it"):
        act(held, tmp_path / "source")
    assert session.run(["ls"], timeout_s=30).stdout == b"mine\n"


@pytest.mark.parametrize(
    "ending",
    [
        {"boot": "00000000-0000-0000-0000-000000000000"},
        {"expires": "0"},
        {"session": f"{Path('/proc/self/ns/pid').readlink().name.strip('pid:[]')}.{2**22 + 1}.5"},
        {"state": "free"},
    ],
    ids=["reboot", "time", "gone", "free"],
)
def test_a_lease_that_has_ended_is_taken_at_once(
    hold: Callable[[], Held], other: Session, elsewhere: Target, place: Any, ending: dict[str, str]
) -> None:
    held = hold()
    before = held.lease
    place.rewrite(**ending)
    if ending.keys() & {"boot", "state"}:
        with pytest.raises(LeaseLost):
            held.check()
    after = take(other, elsewhere)
    assert after.token > before.token and after.device.partition("/")[2] == before.device.partition("/")[2]
    with pytest.raises(LeaseLost):
        held.check()


def test_a_living_holder_renews_and_is_left_in_peace(session: Session, target: Target, other: Session, elsewhere: Target) -> None:
    with leased(session, target, expiry_s=3.0) as held:
        with pytest.raises(Busy):
            take(other, elsewhere, wait_s=7.0, expiry_s=3.0)
        held.check()


HOSTILE = {
    "empty": b"",
    "noise": bytes(range(256)) * 20,
    "another kind": b"assay2 x\n",
    "endless": b"assay1 " + b"a" * (1 << 18),
    "lines": b"\n" * 100 + b"assay1\n",
    "option": b"assay1 -e -n --help * $(touch hacked) `touch hacked` held 9 9 1.1.1 -f/etc/passwd x\n",
    "escapes": b"assay1 \x1b]0;x\x07 \x1b[31m\n",
}


@pytest.mark.parametrize("target", ["local"], indirect=True)  # what a shell makes of it: test_scripts.py
@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_no_assay_wrote_holds_no_longer_than_a_silent_holder(
    session: Session, target: Target, place: Any, content: bytes
) -> None:
    take(session, target)
    (place.folder / "000000000002").write_bytes(content)
    with pytest.raises(Busy, match="one who does not say who"):
        take(session, target, wait_s=0.2)
    token = take(session, target, expiry_s=0.0).token
    assert place.top.name == "000000000003" and token > 1
    assert session.run(["ls"], timeout_s=30).stdout == b""


def test_a_forged_lease_that_never_ends_is_taken_when_nobody_renews_it(session: Session, target: Target, place: Any) -> None:
    take(session, target)
    place.rewrite(
        state="held", expires="9999999999", holder="%1b%5b31mroot%0a%e2%80%ae", session=f"{place.words()[8].split('.')[0]}.1.1"
    )
    place.rewrite(session=f"{int(place.words()[8].split('.')[0]) + 1}.1.1")  # of a container: it may live
    ticket = look(session, target).ticket
    assert ticket is not None and ticket.holder == "?[31mroot??"
    with pytest.raises(Busy, match=r"in use by \?\[31mroot\?\?;"):
        take(session, target, wait_s=0.2)
    take(session, target, expiry_s=0.0)


@pytest.mark.parametrize("target", ["local"], indirect=True)  # what a shell makes of it: test_scripts.py
@pytest.mark.parametrize("kind", ["folder", "link to a file", "dangling link", "pipe"])
def test_what_is_no_plain_file_is_not_opened_nor_followed(
    session: Session, target: Target, place: Any, tmp_path: Path, kind: str
) -> None:
    take(session, target)
    top, victim = place.folder / "000000000002", tmp_path / "victim"
    if kind == "folder":
        top.mkdir()
    elif kind == "pipe":
        os.mkfifo(top)
    else:
        top.symlink_to(victim)
        if kind == "link to a file":
            victim.write_text((place.folder / "000000000001").read_text())
    before = victim.read_bytes() if victim.exists() else None
    take(session, target, expiry_s=0.0)
    assert place.words()[5] == "free" and place.top.name == "000000000003"
    assert (victim.read_bytes() if victim.exists() else None) == before


@pytest.mark.parametrize("target", ["local"], indirect=True)
def test_a_folder_that_is_a_link_is_refused(session: Session, target: Target, place: Any, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    place.folder.symlink_to(tmp_path / "theirs")
    with pytest.raises(CommandFailed, match="is not a folder; remove it"):
        take(session, target)
    assert list((tmp_path / "theirs").iterdir()) == []


@pytest.mark.parametrize("target", ["local"], indirect=True)
def test_a_folder_that_cannot_be_is_named(session: Session, target: Target, place: Any) -> None:
    place.folder.write_text("a file")
    with pytest.raises(CommandFailed, match=r"the lease cannot be taken: cannot make the folder"):
        take(session, target)


@pytest.mark.parametrize("target", ["local"], indirect=True)
def test_a_count_that_is_at_its_end_says_what_to_do(session: Session, target: Target, place: Any) -> None:
    take(session, target)
    place.top.rename(place.folder / "999999999999")
    with pytest.raises(CommandFailed, match=f"has no higher number; delete the folder {place.folder} there"):
        take(session, target)


def test_breaking_frees_the_device_and_ends_the_holder(
    hold: Callable[[], Held], other: Session, elsewhere: Target, place: Any
) -> None:
    held = hold()
    found = break_lease(other, elsewhere)
    assert found.ticket is not None and found.ticket.holder == "the first"
    assert look(other, elsewhere).is_free
    with pytest.raises(LeaseLost):
        held.check()
    assert take(other, elsewhere).token > held.lease.token + 1, "the break itself took a token"


def test_two_who_look_at_once_do_not_both_take(session: Session, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device changes between the look and the taking, at each point where it can."""
    sight = look(session, target)
    first = lease_module._take(session, target, sight, "first")
    assert isinstance(first, Held)
    assert lease_module._take(session, target, sight, "second") == lease_module.RACED
    first.check()
    first.give_up()


@pytest.mark.parametrize("target", ["local"], indirect=True)
@pytest.mark.parametrize(("there", "seen"), [("000000000003", "000000000001"), ("000000000002", "000000000002")])
def test_what_comes_between_the_look_at_the_top_and_the_making_is_seen(
    session: Session, target: Target, place: Any, there: str, seen: str
) -> None:
    """As if others came, went and tidied up in that moment: ours is lower than the top, and goes. Or one made our very file: it stays."""
    for _ in range(int(there)):
        take(session, target)
    content = place.top.read_bytes()
    text = TAKE.replace('[ "$top" = "$seen" ] || { echo raced; exit; }', "")
    assert text != TAKE
    words = [str(place.folder), seen, "000000000002", "90", "assay1 0123456789abcdef", "a" * 16, "7", "7", "late"]
    assert session.run(["sh", "-c", text, "sh", *words], timeout_s=30).stdout == b"raced\n"
    assert [(path.name, path.read_bytes()) for path in place.folder.iterdir()] == [(there, content)]


@pytest.fixture(params=["android", "board", "board_adb"])
def ways(request: pytest.FixtureRequest) -> tuple[Target, Target]:
    """Two ways to a device: of Android's shell and tools; of an emulated board by SSH and by ADB, and the other way round."""
    if request.param == "android":
        target = request.getfixturevalue("adb_target")(request.getfixturevalue("android"))
        return target, replace(target, host="elsewhere")
    ssh, adb = (replace(request.getfixturevalue(name), host=name) for name in ("board_target", "board_adb_target"))
    return (ssh, adb) if request.param == "board" else (adb, ssh)


@pytest.mark.peers
def test_other_transports_agree_on_who_has_the_device(ways: tuple[Target, Target]) -> None:
    first, second = ways
    with connect(first) as session, connect(second) as other:
        with pytest.raises(LeaseLost), leased(session, first, holder="the first") as held:
            assert held.session.run(["echo", "it's"], timeout_s=30).stdout == b"it's\n"
            with pytest.raises(Busy, match="in use by the first"):
                take(other, second, wait_s=0.1)
            killed: list[Exception] = []

            def run() -> None:
                try:
                    held.session.run(["sh", "-c", "echo $$ >leader; exec sleep 300"], timeout_s=300)
                except LeaseLost as error:
                    killed.append(error)

            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            while not (said := session.run(["cat", "leader"], timeout_s=30).stdout).endswith(b"\n"):
                time.sleep(0.02)
            broken = break_lease(other, second)
            assert broken.ticket is not None and broken.ticket.holder == "the first"
            gone = session.run(
                ["sh", "-c", f"[ ! -d /proc/{int(said)} ] || grep -q '^State:.[ZX]' /proc/{int(said)}/status"], timeout_s=30
            )
            assert gone.exit_status == 0
            thread.join()
            assert len(killed) == 1
            held.session.remove("leader")
        assert take(other, second).token > held.lease.token
        assert take(session, first).device.rpartition("/")[2] == held.lease.device.rpartition("/")[2]


def test_another_accounts_runs_must_be_gone_before_its_lease_is_taken(place: Any, tmp_path: Path) -> None:
    """Run as an ordinary account, which can neither see nor kill what another's lease has left running."""
    target = Target("device", work_dir=str(tmp_path / "work dir"))
    with connect(target) as session:
        take(session, target)
    place.folder.chmod(0o1777)
    for folder in place.folder.parents:
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    me = 65534 if os.geteuid() == 0 else None
    own = f"{Path('/proc/self/ns/pid').readlink().name.strip('pid:[]')}.1.1"

    def answer(uid: int) -> str:
        place.rewrite(state="held", expires="0", uid=str(uid))
        top = place.top.name
        words = [str(place.folder), top, f"{int(top) + 1:012d}", "90", "assay1 0123456789abcdef", "a" * 16, "7", "7", "ordinary"]
        done = subprocess.run(
            ["sh", "-c", TAKE, "sh", *words], env={"PATH": os.environ["PATH"], "ASSAY_RUN": f"{own}.1"}, capture_output=True,
            user=me, cwd="/", check=True,
        )  # fmt: skip
        return done.stdout.decode().strip()

    place.rewrite(session=f"{int(own.split('.')[0])}.{2**22 + 1}.1")
    assert answer(0) == "theirs 0"
    assert place.top.name == "000000000001"
    assert answer(54321) == "held"
