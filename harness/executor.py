"""Executor: does Steps in worker processes of this machine, what is needed first, and says how each one ended.

A worker that dies (a converter that crashes) takes no other step with it: the pool is renewed and what was under way is done again, alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path

from harness.cache import cache_root
from harness.errors import BuildError, Unsupported, UserError, is_disk_full
from harness.steps import Step

_LOG_TAIL_BYTES = 4000
DISK_FULL = "DiskFull"
"""The class of a failure for want of room on this machine, whichever library found it out."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step has no result."""

    step: str
    """The title of the step at fault, which may be one that the asked-for step needs."""
    error_class: str
    message: str
    log_tail: str = ""
    """The end of what the step and the tools it called printed."""

    @property
    def is_unsupported(self) -> bool:
        return self.error_class == Unsupported.__name__

    @property
    def is_passing(self) -> bool:
        """The next run may do better, though nothing was changed."""
        return self.error_class == DISK_FULL


OnStep = Callable[[Step, str], None]
"""Called with a step and `started`, `done` or `failed`."""


def wait_for_one(futures: Collection[Future[Failure | None]]) -> None:
    wait(futures, return_when=FIRST_COMPLETED)


class Executor:
    """Worker processes on this machine, one a core that may be used; a `with` block, since they end with it."""

    def __init__(self, workers: int, on_step: OnStep = lambda _step, _event: None) -> None:
        self.workers = workers
        self._on_step = on_step
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()  # what is done is on disk; a worker that may end in its own time unloads its libraries for a second and more

    def run(
        self, steps: Sequence[Step], wait_for_any: Callable[[Collection[Future[Failure | None]]], None] = wait_for_one
    ) -> dict[str, Failure | None]:
        """Do the steps and all they need; the answer has every one of them by key, None where the result is in the cache.

        `wait_for_any` returns when one of the futures is done: who has other work meanwhile does it there.
        """
        order = list(dict.fromkeys(_with_needs(steps)))
        ended: dict[str, Failure | None] = {step.key: None for step in order if step.is_done()}
        waiting = [step for step in order if step.key not in ended]
        running: dict[Future[Failure | None], Step] = {}
        suspects: list[Step] = []  # were under way when the pool broke: done again one at a time
        on_trial: Step | None = None
        while waiting or running or suspects:
            for step in [s for s in waiting if all(need.key in ended for need in s.needs)]:
                failure = next((failure for need in step.needs if (failure := ended[need.key])), None)
                if failure is not None:
                    waiting.remove(step)
                    ended[step.key] = failure
                elif self._has_room(step, running) and not suspects and not on_trial:
                    waiting.remove(step)
                    running[self._submit(step)] = step
            if suspects and not running:
                on_trial = suspects.pop(0)
                running[self._submit(on_trial)] = on_trial
            if not running:
                continue
            wait_for_any(running)
            finished = [future for future in running if future.done()]
            broken = [running[future] for future in finished if isinstance(future.exception(), BrokenProcessPool)]
            if broken:
                self.stop()
                under_way = list(running.values())
                running.clear()
                on_trial = None
                if len(under_way) > 1:
                    suspects += under_way
                else:
                    (step,) = under_way
                    ended[step.key] = Failure(
                        step.title, "WorkerDied", f"{step.title}: the process that did it died", _log_tail(step)
                    )
                    self._on_step(step, "failed")
                continue
            for future in finished:
                step = running.pop(future)
                on_trial = None
                ended[step.key] = future.result()
                self._on_step(step, "failed" if ended[step.key] else "done")
        return ended

    def _has_room(self, step: Step, running: Mapping[Future[Failure | None], Step]) -> bool:
        return not running or step.cores + sum(other.cores for other in running.values()) <= self.workers

    def _submit(self, step: Step) -> Future[Failure | None]:
        if self._pool is None:
            _track_quietly()
            context = multiprocessing.get_context("spawn")  # torch and BLAS threads do not survive a fork
            self._pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_start_worker, initargs=(os.getpid(),))
        self._on_step(step, "started")
        with _interrupt_afterwards():
            return self._pool.submit(_do, step)

    def stop(self) -> None:
        """Kill the workers at once; unfinished steps leave their journals."""
        if self._pool is None:
            return
        workers = list((self._pool._processes or {}).values())
        for worker in workers:
            worker.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None


def _track_quietly() -> None:
    """Start the process that clears away semaphores of killed workers (tqdm makes some) so that it does not warn the user of each."""
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (before, "ignore:resource_tracker")))
    resource_tracker.ensure_running()
    if before is None:
        del os.environ["PYTHONWARNINGS"]
    else:
        os.environ["PYTHONWARNINGS"] = before


@contextlib.contextmanager
def _interrupt_afterwards() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends: a worker whose start is cut off half-way is killed by nobody and dies with a traceback.

    A process that the block starts has it blocked from its first moment on, for a terminal sends it to the whole group.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: held.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)  # one that came meanwhile is held by the handler above
        signal.signal(signal.SIGINT, before)
    if held:
        raise KeyboardInterrupt


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, so that a killed harness leaves nothing running (Linux; elsewhere no-op)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def log_path(step: Step) -> Path:
    return cache_root() / "logs" / f"{step.key}.log"


def _with_needs(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        yield from _with_needs(step.needs)
        yield step


def _start_worker(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the coordinator ends its workers itself
    die_with_parent(parent)
    _keep_memory()


def _keep_memory() -> None:
    """Have glibc keep what is freed: a step of training frees its activations and asks for as many again, and pages that were given back come
    zeroed, which took a sixth of the time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # another libc has its own ways
        m_trim_threshold, m_mmap_threshold = -1, -3
        mallopt(m_mmap_threshold, 1 << 25)
        mallopt(m_trim_threshold, (1 << 31) - 1)


def _do(step: Step) -> Failure | None:
    """In a worker: do the step with everything it prints kept in its log; an error of any type is this step's failure alone."""
    from harness.perform import perform

    try:
        with _output_to(log_path(step)):
            try:
                perform(step, _progress_to_log())
            except Exception as error:  # noqa: BLE001 - the one border behind which a plug-in may raise anything; the record keeps it
                traceback.print_exc()
                return _failure(step, error)
    except OSError as error:  # of the log itself
        return _failure(step, error)
    return None


def _failure(step: Step, error: Exception) -> Failure:
    own = isinstance(error, (BuildError, Unsupported, UserError))
    message = str(error) if own else f"{step.title}: {type(error).__name__}: {error}"
    if not is_disk_full(error):
        return Failure(step.title, type(error).__name__, message, _log_tail(step))
    advice = f"the disk of {cache_root()} is full: free some space there, or set ASSAY_CACHE, and run again"
    return Failure(step.title, DISK_FULL, f"{message}; {advice}", _log_tail(step))


def _progress_to_log() -> Callable[[str, float], None]:
    last = 0.0

    def report(what: str, share: float) -> None:
        nonlocal last
        if time.monotonic() - last > 1 or share >= 1:
            last = time.monotonic()
            print(f"{what}: {share:.0%}", flush=True)

    return report


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Send file descriptors 1 and 2 to a file: converters print from C++ too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = (os.dup(1), os.dup(2))
    with path.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            except OSError:  # a full disk: the end of the log is lost, and must not come out on the terminal
                with Path(os.devnull).open("wb") as nowhere:
                    os.dup2(nowhere.fileno(), 1)
                    os.dup2(nowhere.fileno(), 2)
                    sys.stdout.flush()
                    sys.stderr.flush()
            for number, copy in enumerate(kept, start=1):
                os.dup2(copy, number)
                os.close(copy)


def _log_tail(step: Step) -> str:
    path = log_path(step)
    if not path.exists():
        return ""
    with path.open("rb") as log:  # no more of it than is kept: it may be large
        log.seek(max(0, path.stat().st_size - _LOG_TAIL_BYTES))
        return log.read(_LOG_TAIL_BYTES).decode("utf-8", "replace")
