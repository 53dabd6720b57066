"""The scripts under each shell that a device may have, one by one: what they print, and what they leave."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from targets.lease.scripts import FENCE, LOOK, REFUSED, TAKE, WRITE
from targets.lease.sight import parse_sight

RUN = f"{Path('/proc/self/ns/pid').readlink().name.strip('pid:[]')}.1.{Path('/proc/1/stat').read_text().rpartition(')')[2].split()[19]}.000001"
HEAD, WHO = "assay1 0123456789abcdef", "aaaaaaaaaaaaaaaa 7"


@pytest.fixture(params=["dash", "bash", "busybox", "mksh"])
def shell(request: pytest.FixtureRequest) -> list[str]:
    program = shutil.which(request.param)
    if program is None:
        pytest.skip(f"needs {request.param}")
    return [program, "sh"] if request.param == "busybox" else [program]


@pytest.fixture
def script(shell: list[str], tmp_path: Path) -> object:
    def run(text: str, *words: str) -> tuple[int, str]:
        environment = {"PATH": os.environ["PATH"], "ASSAY_RUN": RUN}
        done = subprocess.run([*shell, "-c", text, "sh", *words], env=environment, cwd=tmp_path, capture_output=True, check=False)
        return done.returncode, (done.stdout + done.stderr).decode("utf-8", "backslashreplace")

    return run


def test_a_lease_is_looked_at_taken_kept_and_given_up(script: object, tmp_path: Path) -> None:
    assert callable(script)
    place = str(tmp_path / "deep" / "place")
    status, said = script(LOOK, place)
    nothing = parse_sight("x", said.encode())
    assert status == 0 and (nothing.place, nothing.top, nothing.is_free) == (place, "", True)
    assert not Path(place).exists(), "a look changes nothing"
    taking = (place, "", "000000000001", "90", HEAD, "a" * 16, "7", "1795256148", "ann@desk")
    assert script(TAKE, *taking) == (0, "held\n")
    assert script(TAKE, *taking) == (0, "raced\n")
    _, said = script(LOOK, place)
    seen = parse_sight("x", said.encode())
    assert seen.ticket is not None and (seen.top, seen.life, seen.ticket.token, seen.is_free) == (
        "000000000001",
        "alive",
        7,
        False,
    )
    mine = (place, "000000000001", HEAD, WHO)
    assert script(FENCE, *mine, "sh", "-c", 'echo "$1"; exit 5', "sh", "it's here") == (5, "it's here\n")
    for other in (
        (place, "000000000002", HEAD, WHO),
        (place, "000000000001", "assay1 0123456789abcdee", WHO),
        (place, "000000000001", HEAD, "aaaaaaaaaaaaaaaa 8"),
        (str(tmp_path), "000000000001", HEAD, WHO),
    ):
        assert script(FENCE, *other, "echo", "ran") == (REFUSED, "")
        assert script(WRITE, *other, "free", "1") == (REFUSED, "")
    assert script(WRITE, *mine, "held", "5000") == (0, "")
    _, said = script(LOOK, place)
    renewed = parse_sight("x", said.encode()).ticket
    assert renewed is not None and renewed.expires > seen.ticket.expires + 4000 and renewed.holder == "ann@desk"
    assert script(WRITE, *mine, "free", "0") == (0, "")
    assert script(FENCE, *mine, "echo", "ran") == (REFUSED, "")
    (Path(place) / ".0123456789abcdef").write_text("half")
    assert script(TAKE, place, "000000000001", "000000000002", *taking[3:]) == (0, "held\n")
    assert [path.name for path in Path(place).iterdir()] == ["000000000002"]


def test_a_disk_without_space_leaves_no_file(script: object, tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk."""
    assert callable(script)
    place = tmp_path / "place"
    taking = (str(place), "", "000000000001", "90", HEAD, "a" * 16, "7", "7", "ann")
    limited = "trap '' XFSZ\nulimit -f 0\n" + TAKE
    status, said = script(limited, *taking)
    assert (status, "ENOSPC" in said) == (90, True) and list(place.iterdir()) == []


def test_the_fence_leaves_no_variable_behind_but_bashs_own(script: object, tmp_path: Path) -> None:
    assert callable(script)
    place = str(tmp_path / "place")
    script(TAKE, place, "", "000000000001", "90", HEAD, "a" * 16, "7", "7", "ann")
    _, said = script(FENCE, place, "000000000001", HEAD, WHO, "env")
    assert {line.partition("=")[0] for line in said.splitlines()} - {"_", "SHLVL"} == {"PATH", "ASSAY_RUN"}


def test_a_run_that_was_left_is_killed_by_its_name_and_no_other(script: object, tmp_path: Path) -> None:
    assert callable(script)
    place = tmp_path / "place"
    script(TAKE, str(place), "", "000000000001", "90", HEAD, "a" * 16, "7", "7", "ann")
    # Of another pid namespace, as it seems, so that no session on this machine that begins meanwhile sweeps them away.
    left, other = (
        subprocess.Popen(["sleep", "300"], env={"ASSAY_RUN": f"1.77.{start}.000004"}, start_new_session=True)
        for start in (55, 555)
    )
    ticket = place / "000000000001"
    ticket.write_text(ticket.read_text().replace(RUN.rpartition(".")[0], "1.77.55"))
    assert script(TAKE, str(place), "000000000001", "000000000002", "90", HEAD, "a" * 16, "8", "7", "bob") == (0, "held\n")
    assert left.wait(30) == -9 and other.poll() is None
    other.kill()
    other.wait()


HOSTILE = {
    "nothing": b"",
    "noise": bytes(range(256)) * 20,
    "endless": b"assay1 " + b"a" * (1 << 16),
    "words": b"assay1 -e -n --help * $(touch hacked) `touch hacked` held 9 9 -f/etc/passwd x\n",
    "session": b"assay1 0 BOOT a 7 held 9 9 ../../../etc.1.1 -f/etc/passwd x\n",
    "account": b"assay1 0 BOOT a 7 held 9 9 1.77.5 -f/etc/passwd x\n",
    "escapes": b"assay1 \x1b]0;x\x07 \x1b[31m \\n %s %n\n",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_no_assay_wrote_is_shown_within_bounds_and_passed_over(script: object, tmp_path: Path, content: bytes) -> None:
    assert callable(script)
    place = tmp_path / "place"
    place.mkdir()
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    (place / "000000000001").write_bytes(content.replace(b"BOOT", boot))
    status, said = script(LOOK, str(place))
    assert status == 0 and len(said) < 2000
    assert parse_sight("x", said.encode()).ticket is None
    taking = (str(place), "000000000001", "000000000002", "90", HEAD, "a" * 16, "7", "7", "ann")
    assert script(TAKE, *taking) == (0, "held\n")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["000000000002", "place"]
