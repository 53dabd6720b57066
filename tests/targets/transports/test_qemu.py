"""Programs of another instruction set, built here, really run emulated; what their kernel is told of them is what a device's would be."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from targets.facts import ITSELF, machine_facts, machine_key
from targets.now import state
from targets.session import CommandFailed, Session
from targets.target import Target
from targets.transports import connect
from targets.transports.qemu import GUESTS, elf_machine, emulated_cpu, offered_cpus

TRIPLES = {"aarch64": "aarch64-linux", "armv7l": "arm-linux", "riscv64": "riscv64-linux", "x86_64": "x86_64-linux"}
FOREIGN = [isa for isa in GUESTS if isa != platform.machine()]
EXIT = {
    "aarch64": 'register long n asm("x0") = %s; asm volatile("mov x8, #93\\n svc #0" :: "r"(n));',
    "armv7l": 'register long n asm("r0") = %s; asm volatile("mov r7, #1\\n svc #0" :: "r"(n));',
    "riscv64": 'register long n asm("a0") = %s; asm volatile("li a7, 93\\n ecall" :: "r"(n));',
    "x86_64": 'register long n asm("rdi") = %s; asm volatile("mov $60, %%rax\\n syscall" :: "r"(n));',
}
"""Instruction set -> C that ends a program with a status."""
DEVICE = r"""
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
  static char block[65536];
  const char *what = argv[1];
  if (!strcmp(what, "machine")) {
    struct utsname name;
    uname(&name);
    printf("%s %lx\n", name.machine, getauxval(AT_HWCAP));
  } else if (!strcmp(what, "words")) {
    for (int i = 0; i < argc; i++) fwrite(argv[i], 1, strlen(argv[i]) + 1, stdout);
  } else if (!strcmp(what, "exit")) {
    return atoi(argv[2]);
  } else if (!strcmp(what, "raise")) {
    raise(atoi(argv[2]));
  } else if (!strcmp(what, "cat")) {
    for (size_t n; (n = fread(block, 1, sizeof block, stdin)) > 0;) fwrite(block, 1, n, stdout);
  } else if (!strcmp(what, "variable")) {
    puts(getenv(argv[2]));
  } else if (!strcmp(what, "hang")) {
    signal(SIGTERM, SIG_IGN);
    int is_child = fork() == 0;
    if (is_child) setsid();
    FILE *file = fopen(is_child ? "child" : "parent", "w");
    fprintf(file, "%d\n", (int)getpid());
    fclose(file);
    for (;;) pause();
  }
  return 0;
}
"""


@pytest.fixture(scope="session")
def device_program(compile_c: Callable[..., Path]) -> Path:
    return compile_c(DEVICE, "-target", "aarch64-linux-musl")


def bare(isa: str, status: str, before: str = "") -> str:
    """A program without a C library: it computes a status and ends with it."""
    return f"void _start(void) {{ {before} {EXIT[isa] % status} __builtin_unreachable(); }}\n"


@pytest.fixture
def session(qemu_target: Target, device_program: Path) -> Iterator[Session]:
    with connect(qemu_target) as session:
        session.push(device_program, "bin dir/device=1")
        yield session


PROGRAM = "bin dir/device=1"
toolchain = pytest.mark.toolchain


@toolchain
def test_a_program_sees_the_emulated_machine(session: Session) -> None:
    machine, hwcap = session.run([PROGRAM, "machine"], timeout_s=30).stdout.split()
    assert machine == b"aarch64"
    assert int(hwcap, 16) & 1 << 1 and not int(hwcap, 16) & 1 << 20, "a Cortex-A72 has ASIMD (bit 1) and no dot product (bit 20)"


@toolchain
def test_words_variables_and_streams_reach_it_as_they_are(session: Session) -> None:
    words = [PROGRAM, "words", "", "a  b", "new\nline", "-cpu", "ünï", "$HOME"]
    result = session.run(words, timeout_s=30)
    assert result.stdout == b"".join(word.encode() + b"\0" for word in words) and result.argv == tuple(words)
    assert session.run([PROGRAM, "variable", "ASKED"], timeout_s=30, environment={"ASKED": "a b"}).stdout == b"a b\n"
    data = os.urandom(5 << 20)
    found = session.run([PROGRAM, "cat"], timeout_s=60, stdin=data)
    assert hashlib.sha256(found.stdout).digest() == hashlib.sha256(data).digest()
    cut = session.run([PROGRAM, "cat"], timeout_s=60, stdin=data, max_output_bytes=1000)
    assert (cut.stdout, cut.truncated) == (data[:1000], True)


@toolchain
@pytest.mark.parametrize("status", [0, 1, 126, 255])
def test_its_exit_status_is_its_own(session: Session, status: int) -> None:
    assert session.run([PROGRAM, "exit", str(status)], timeout_s=30).exit_status == status


@toolchain
@pytest.mark.parametrize("number", [4, 6, 9, 11, 15])
def test_its_death_by_signal_is_its_own(session: Session, number: int) -> None:
    assert session.run([PROGRAM, "raise", str(number)], timeout_s=30).exit_status == -number


def running(folder: Path, name: str) -> list[int]:
    """The process of that name's file, if it runs."""
    pid = int((folder / name).read_text())
    stat = Path(f"/proc/{pid}/stat")
    return [pid] if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX" else []


@toolchain
def test_it_is_killed_with_its_children_at_the_deadline(session: Session, qemu_target: Target) -> None:
    """Parent and child ignore SIGTERM, the child leads a session of its own."""
    result = session.run([PROGRAM, "hang"], timeout_s=5)
    assert result.timed_out and result.exit_status == -9
    assert running(Path(qemu_target.work_dir), "parent") == running(Path(qemu_target.work_dir), "child") == []


@toolchain
def test_what_a_killed_harness_left_running_is_killed_by_the_next_session(
    session: Session, qemu_target: Target, tmp_path: Path
) -> None:
    folder = Path(qemu_target.work_dir)
    program = (
        "import sys\nfrom targets.target import Target\nfrom targets.transports import connect\n"
        "with connect(Target('arm', transport='qemu', isa='aarch64', work_dir=sys.argv[1])) as s: s.run(sys.argv[2:], timeout_s=300)"
    )
    harness = subprocess.Popen([sys.executable, "-c", program, str(folder), PROGRAM, "hang"])
    deadline = time.monotonic() + 60
    while not all((folder / name).exists() and (folder / name).read_text() for name in ("parent", "child")):
        assert time.monotonic() < deadline and harness.poll() is None
        time.sleep(0.05)
    assert running(folder, "child")
    harness.kill()
    harness.wait()
    with connect(qemu_target):
        assert running(folder, "parent") == running(folder, "child") == []


@toolchain
def test_programs_in_parallel_do_not_meet(session: Session) -> None:
    results: dict[int, int] = {}
    threads = [
        threading.Thread(
            target=lambda n=n: results.__setitem__(n, session.run([PROGRAM, "exit", str(n)], timeout_s=60).exit_status)
        )
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: n for n in range(8)}


@toolchain
@pytest.mark.parametrize("isa", FOREIGN)
def test_every_instruction_set_is_emulated(qemu: None, compile_c: Callable[..., Path], tmp_path: Path, isa: str) -> None:
    options = ("-target", f"{TRIPLES[isa]}-none" if isa != "armv7l" else "arm-linux-musleabihf", "-nostdlib", "-ffreestanding")
    program = compile_c(bare(isa, "40 + sizeof(void *)"), *options)
    assert elf_machine(program) == GUESTS[isa].machine
    with connect(Target("device", transport="qemu", isa=isa, work_dir=str(tmp_path / "work"))) as session:
        session.push(program, "program")
        result = session.run(["./program"], timeout_s=30)
        assert (result.exit_status, result.stderr) == (44 if isa == "armv7l" else 48, b"")


@toolchain
@pytest.mark.parametrize(
    ("isa", "cpu", "built_for", "code", "status"),
    [
        ("aarch64", "cortex_a72", "cortex_a76", 'asm volatile("udot v0.4s, v1.16b, v2.16b" ::: "v0");', -4),
        ("aarch64", "cortex_a76", "cortex_a76", 'asm volatile("udot v0.4s, v1.16b, v2.16b" ::: "v0");', 7),
        ("riscv64", "baseline_rv64", "baseline_rv64+v", 'long v; asm volatile("csrr %0, vlenb" : "=r"(v));', -4),
        ("riscv64", "baseline_rv64+v", "baseline_rv64+v", 'long v; asm volatile("csrr %0, vlenb" : "=r"(v));', 16),
        ("riscv64", "baseline_rv64+v+zvl256b", "baseline_rv64+v", 'long v; asm volatile("csrr %0, vlenb" : "=r"(v));', 32),
    ],
)
def test_a_cpu_has_its_own_instructions_and_no_others(
    qemu: None, compile_c: Callable[..., Path], tmp_path: Path, isa: str, cpu: str, built_for: str, code: str, status: int
) -> None:
    if isa not in FOREIGN:
        pytest.skip(f"this machine is {isa} itself")
    source = bare(isa, "v" if isa == "riscv64" else "7", code)
    program = compile_c(source, "-target", f"{isa}-linux-none", f"-mcpu={built_for}", "-nostdlib", "-ffreestanding")
    with connect(Target("device", transport="qemu", isa=isa, cpu=cpu, work_dir=str(tmp_path / "work"))) as session:
        session.push(program, "program")
        assert session.run(["./program"], timeout_s=30).exit_status == status


@toolchain
def test_a_program_of_a_third_machine_cannot_be_executed(qemu_target: Target) -> None:
    with connect(qemu_target) as session:
        head = (
            b"\x7fELF\x02\x01\x01" + bytes(9) + (2).to_bytes(2, "little") + (21).to_bytes(2, "little") + bytes(100)
        )  # PowerPC 64
        Path(qemu_target.work_dir, "foreign").write_bytes(head)
        assert session.run(["./foreign"], timeout_s=10).exit_status == 126, "it may not be executed by anyone"
        session.run(["chmod", "+x", "foreign"], timeout_s=10)
        result = session.run(["./foreign"], timeout_s=10)
        assert (result.exit_status, result.stderr) == (126, b"./foreign: Exec format error\n")


@toolchain
def test_a_program_that_may_not_be_executed_is_126(session: Session) -> None:
    session.run(["chmod", "-x", PROGRAM], timeout_s=10)
    assert session.run([PROGRAM, "exit", "0"], timeout_s=10).exit_status == 126


@toolchain
def test_facts_are_those_of_the_emulated_device(qemu_target: Target, tmp_path: Path) -> None:
    with connect(qemu_target) as session, connect(Target("local", work_dir=str(tmp_path / "host"))) as host:
        facts, now, here = machine_facts(session), state(session), machine_facts(host)
    assert (facts["isa"], facts["cpu_model"], facts["emulation_host"]) == (qemu_target.isa, "cortex-a72", here["cpu_model"])
    assert facts["virtualization"].startswith("qemu-user ") and facts["boot_id"] == here["boot_id"]
    for name in ("isa_flags", "cpus", "cores", "sockets", "cpu_max_hz", "board"):
        assert facts[name] == {"value": None, "reason": "emulated"}
    assert now["temperatures"] == now["cpufreq"] == {"value": None, "reason": "emulated"}
    assert machine_key(facts) != machine_key(here) and "emulation_host" not in here


@toolchain
def test_another_emulated_cpu_is_another_machine(qemu_target: Target, tmp_path: Path) -> None:
    keys = set()
    for cpu in ("cortex_a72", "cortex_a76"):
        with connect(Target("device", transport="qemu", isa="aarch64", cpu=cpu, work_dir=str(tmp_path / "work"))) as session:
            keys.add(machine_key(machine_facts(session)))
    assert len(keys) == 2


def test_a_real_device_tells_nothing_of_itself(tmp_path: Path) -> None:
    with connect(Target("local", work_dir=str(tmp_path))) as session:
        assert session.run([ITSELF], timeout_s=10).exit_status == 127


def test_times_are_emulated_and_there_is_no_python_whatever_is_asked() -> None:
    target = Target("arm", transport="qemu", isa="aarch64", origin="measured", python="/usr/bin/python3")
    assert (target.origin, target.python) == ("emulated", "none")


@pytest.mark.parametrize(
    ("isa", "message"),
    [("vax", "nothing here emulates `vax`; `isa` is one of aarch64"), (platform.machine(), "use the transport `local`")],
)
def test_what_cannot_be_emulated_is_refused(tmp_path: Path, isa: str, message: str) -> None:
    with (
        pytest.raises(CommandFailed, match=message),
        connect(Target("d", transport="qemu", isa=isa, work_dir=str(tmp_path / "w"))),
    ):
        pass
    assert not (tmp_path / "w").exists()


def test_a_missing_emulator_is_told_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(CommandFailed, match=r"no qemu-.* install it \(Debian: apt-get install qemu-user\)"),
        connect(Target("d", transport="qemu", isa=FOREIGN[0], work_dir=str(tmp_path / "w"))),
    ):
        pass


@toolchain
def test_a_cpu_that_is_not_emulated_is_told_with_those_that_are(qemu: None, tmp_path: Path) -> None:
    target = Target("d", transport="qemu", isa=FOREIGN[0], cpu="cortex_a999", work_dir=str(tmp_path / "w"))
    with pytest.raises(CommandFailed, match=r"has no CPU `cortex_a999`; its own are .*max"), connect(target):
        pass


HELP = {
    "aarch64": "Available CPUs:\n  a64fx\n  cortex-a72\n  max\n",
    "riscv64": "any\nrv64\nsifive-u54\n",
    "x86_64": "Available CPUs:\nx86 486                   (alias configured by machine type)\nx86 Haswell-v1            Intel Core\n\n"
    "Recognized CPUID flags:\n  3dnow 3dnowext\n",
}
"""As versions 7 and later print them."""


def test_the_list_of_cpus_is_read_in_every_dialect() -> None:
    assert {isa: offered_cpus(text) for isa, text in HELP.items()} == {
        "aarch64": ("a64fx", "cortex-a72", "max"), "riscv64": ("any", "rv64", "sifive-u54"), "x86_64": ("486", "Haswell-v1"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("isa", "cpu", "expected"),
    [
        ("aarch64", "cortex_a72", "cortex-a72"), ("aarch64", "", "max"), ("aarch64", "generic", "max"), ("x86_64", "haswell_v1", "Haswell-v1"),
        ("riscv64", "", "rv64"), ("riscv64", "baseline_rv64", "rv64"), ("riscv64", "sifive_u54", "sifive-u54"),
        ("riscv64", "generic_rv64+v+zvl256b-c", "rv64,v=true,vlen=256,c=false"),
    ],
)  # fmt: skip
def test_a_compilers_name_becomes_qemus(isa: str, cpu: str, expected: str) -> None:
    target = Target("d", transport="qemu", isa=isa, cpu=cpu)
    assert emulated_cpu(target, GUESTS[isa], offered_cpus(HELP[isa])) == expected


def test_features_that_qemu_cannot_add_are_refused() -> None:
    with pytest.raises(CommandFailed, match=r"adds no features to a CPU: `cortex_a72\+dotprod`"):
        emulated_cpu(Target("d", transport="qemu", isa="aarch64", cpu="cortex_a72+dotprod"), GUESTS["aarch64"], ["cortex-a72"])


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x02\x02" + bytes(30)])
def test_what_is_no_program_has_no_machine(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert elf_machine(tmp_path / "file") is None
    assert elf_machine(tmp_path) is None and elf_machine(tmp_path / "absent") is None
