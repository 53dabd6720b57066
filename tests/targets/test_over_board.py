"""The whole life of a board by the commands a user types: up, seen, used, killed, mended, down; and its instructions are counted alike."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from targets.inventory import load_inventory
from targets.transports import connect

pytestmark = [pytest.mark.peers, pytest.mark.toolchain]

COUNT = r"""
#include <stdint.h>

static struct { uint32_t type, size; uint64_t config, period, sample, format, flags, rest[2]; } asked; /* struct perf_event_attr */
enum { INSTRUCTIONS = 1, DISABLED = 1, EXCLUDE_KERNEL = 1 << 5, ENABLE = 0x2400, DISABLE = 0x2401 };

static long call(long number, long a, long b, long c, long d, long e) {
  register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c, x3 __asm__("x3") = d, x4 __asm__("x4") = e;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
  return x0;
}

void _start(void) {
  asked.size = sizeof asked;
  asked.config = INSTRUCTIONS;
  asked.flags = DISABLED | EXCLUDE_KERNEL;
  long counter = call(241, (long)&asked, 0, -1, -1, 0); /* perf_event_open */
  if (counter < 0) call(93, -counter, 0, 0, 0, 0);      /* exit */
  call(29, counter, ENABLE, 0, 0, 0);                   /* ioctl */
  for (long i = 0; i < 1000000; i++) __asm__ volatile("");
  call(29, counter, DISABLE, 0, 0, 0);
  uint64_t count = 0;
  call(63, counter, (long)&count, sizeof count, 0, 0); /* read */
  call(64, 1, (long)&count, sizeof count, 0, 0);       /* write */
  call(93, 0, 0, 0, 0, 0);
}
"""
"""Counts its own instructions round a loop of a million turns, and prints them as eight bytes. It needs no C library."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, zig_cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("count")
    (folder / "count.c").write_text(COUNT)
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-musl", "-O1", "-nostdlib", "-static"]
    caches = {"ZIG_GLOBAL_CACHE_DIR": str(zig_cache), "ZIG_LOCAL_CACHE_DIR": str(zig_cache)}
    subprocess.run([*compiler, "-o", "count", "count.c"], cwd=folder, env=os.environ | caches, check=True)
    return folder / "count"


def test_a_boards_life(board_image: Path, program: Path, tmp_path: Path) -> None:
    inventory, data = tmp_path / "devices.yaml", tmp_path / "data"
    environment = os.environ | {"ASSAY_CACHE": str(board_image), "XDG_DATA_HOME": str(data), "ASSAY_INVENTORY": str(inventory)}

    def assay(*arguments: str, status: int = 0) -> str:
        command = [sys.executable, "-m", "harness.cli", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr if status else done.stdout

    def listed() -> dict[str, Any]:
        (row,) = json.loads(assay("board", "ls", "--json"))
        return dict(row)

    def count() -> int:
        with connect(load_inventory(inventory)["demo-ssh"]) as session:
            session.push(program, "count")
            result = session.run(["sh", "-c", "chmod +x count && ./count"], timeout_s=60)
        assert result.exit_status == 0, "perf_event_open's errno"
        return int.from_bytes(result.stdout, "little")

    pid_file = data / "assay" / "boards" / "demo" / "qemu.pid"
    up = ("board", "up", "demo", "--deterministic", "--memory", "512", "--json")
    try:
        first = json.loads(assay(*up))
        assert (first["state"], first["mode"], first["memory_mib"]) == ("up", "deterministic", 512)
        assert oct((data / "assay" / "boards" / "demo").stat().st_mode)[-3:] == "700"
        pid = int(pid_file.read_text())
        assert json.loads(assay(*up))["ssh"] == first["ssh"] and int(pid_file.read_text()) == pid, "up again is the same board"
        assert "with cpu cortex-a72 and not cortex-a53" in assay(
            "board", "up", "demo", "--deterministic", "--cpu", "cortex-a53", status=2
        )
        targets = load_inventory(inventory)
        assert set(targets) == {"local", "demo-ssh", "demo-adb"} and targets["demo-ssh"].counts_instructions
        shown = {finding["what"] for finding in json.loads(assay("doctor", "demo-ssh", "--json", "--noise", "0"))}
        assert any("emulated by QEMU" in what for what in shown)

        counts = [count(), count()]
        os.kill(pid, signal.SIGKILL)
        assert listed()["state"] == "dead"
        again = json.loads(assay(*up))
        assert (again["ssh"], again["adb"]) == (first["ssh"], first["adb"]) and load_inventory(inventory) == targets
        counts.append(count())
        assert len(set(counts)) == 1 and counts[0] > 1_000_000, counts
    finally:
        assay("board", "down", "demo")
    assert json.loads(assay("board", "ls", "--json")) == [] and set(load_inventory(inventory)) == {"local"}
    assert [path for path in data.rglob("*") if path.is_file()] == []
    assert subprocess.run(["pgrep", "-f", str(data)], capture_output=True, check=False).stdout == b""
