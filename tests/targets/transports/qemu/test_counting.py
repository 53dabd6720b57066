"""Instructions as an emulator counts them, in front of its real self: exactly, of all threads, the same in every run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from targets.session import CommandFailed
from targets.target import Target
from targets.transports import connect
from targets.transports.qemu import counting

pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("compiler_cache")]

COUNTED = r"""
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
static long turns;
static void *work(void *nothing) {
  long left = turns;
  __asm__ volatile("1: subs %0, %0, #1\n b.ne 1b" : "+r"(left) : : "cc"); /* two instructions a turn */
  return nothing;
}
static __attribute__((noinline)) uint64_t now(const volatile uint64_t *count) { return *count; }
static __attribute__((noinline)) uint64_t counted(const volatile uint64_t *count, long more, int threads) {
  pthread_t thread[8];
  turns = more;
  uint64_t before = now(count);
  if (!threads) work(NULL);
  for (int i = 0; i < threads; i++) pthread_create(&thread[i], NULL, work, NULL);
  for (int i = 0; i < threads; i++) pthread_join(thread[i], NULL);
  return now(count) - before;
}
int main(void) {
  const volatile uint64_t *count = mmap(NULL, 8, PROT_READ, MAP_SHARED, open(getenv("ASSAY_INSTRUCTIONS"), O_RDONLY), 0);
  for (long more = 1000; more <= 3000000; more *= 3000)
    for (int threads = 0; threads <= 4; threads += 4) printf("%lu ", (unsigned long)counted(count, more, threads));
}
"""
"""Prints what a thousand turns, and three million, count in this thread, and in four others together."""


def test_every_instruction_is_counted_once_in_every_thread_and_run(
    qemu_target: Target, compile_c: Callable[..., Path], own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = compile_c(COUNTED, "-target", "aarch64-linux-musl")
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "a=b,c"))
    (tmp_path / "a=b,c").symlink_to(own_cache)
    with connect(replace(qemu_target, counts_instructions=True)) as session:
        session.push(program, "program")
        runs = [[int(word) for word in session.run(["./program"], timeout_s=60).stdout.split()] for _ in range(3)]
    for few, few_by_four, many, many_by_four in runs:
        assert many - few == 2 * (3_000_000 - 1000)
        others = 4 * 2 * (3_000_000 - 1000)
        assert 0.999 * others < many_by_four - few_by_four < 1.001 * others, "but for who waits for whom"
    assert len({(few, many) for few, _, many, _ in runs}) == 1
    with connect(qemu_target) as session:
        assert session.run(["./program"], timeout_s=60).exit_status != 0, "nothing is counted that nobody asked for"


def test_an_emulator_that_takes_no_plugins_is_told(qemu_target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = shutil.which("qemu-aarch64") or pytest.skip("needs qemu-aarch64 (qemu-user)")
    plain = tmp_path / "bin" / "qemu-aarch64"
    plain.parent.mkdir()
    plain.write_text(f'#!/bin/sh\n{whole} "$@" | grep -v plugin\n')
    plain.chmod(0o755)
    monkeypatch.setenv("PATH", f"{plain.parent}:/usr/bin:/bin")
    with (
        pytest.raises(CommandFailed, match=r"target device: .* takes no plugins.* install qemu-user"),
        connect(replace(qemu_target, counts_instructions=True)),
    ):
        pass


def test_a_plugin_that_cannot_be_compiled_is_told(qemu_target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "count.c").write_text("no C\n")
    monkeypatch.setattr(counting, "SOURCE", tmp_path / "count.c")
    with pytest.raises(CommandFailed, match="cannot be compiled"), connect(replace(qemu_target, counts_instructions=True)):
        pass


def test_a_compiler_that_does_not_end_is_told(qemu_target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "TIMEOUT_S", 0.0)
    with pytest.raises(CommandFailed, match="timed out"), connect(replace(qemu_target, counts_instructions=True)):
        pass
