"""Fixtures that every test shares: fixed seeds, and a cache and a store of the test's own."""

from __future__ import annotations

import importlib
import os
import random
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest_plugins = [f"peers.{name}" for name in ("adb", "board", "labgrid", "power", "qemu", "ssh")]
"""Devices that tests reach, of `tests/fixtures/`: one is used by tests of several folders."""

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny networks only wait for each other's threads
# A shell starts a background job with SIGINT ignored, and that is inherited: programs under test would never see a Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", default=False, help="rewrite the golden files; review their diff")


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(scope="session", autouse=True)
def own_quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nobody waits until a test in another process has timed or built something, and a user's own run waits for no test (`targets/quiet.py`)."""
    tmp_path_factory.getbasetemp()  # which is not to lie in a folder that is removed
    folder = tempfile.TemporaryDirectory(prefix="assay-tests-", ignore_cleanup_errors=True)
    with folder as name, pytest.MonkeyPatch.context() as patch:
        Path(name).chmod(0o711)  # PostgreSQL's own user, too, has its folder there
        patch.setenv("TMPDIR", name)
        patch.setattr(tempfile, "tempdir", name)
        yield


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache."""
    cache = tmp_path / "assay-cache"
    monkeypatch.setenv("ASSAY_CACHE", str(cache))
    return cache


@pytest.fixture(scope="session")
def zig_cache() -> Path:
    """The compiler's own, which tests that call it by hand fill too: it builds a device's libc once, and that takes half a minute."""
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "zig")
    folder = Path(os.environ.get("ZIG_GLOBAL_CACHE_DIR") or own)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def compiler_cache(own_cache: Path, zig_cache: Path) -> None:
    """The cache's folder of the compiler is the one of all tests."""
    own_cache.mkdir(parents=True, exist_ok=True)
    (own_cache / "zig").symlink_to(zig_cache)


@pytest.fixture(autouse=True)
def own_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of plug-ins that a test names is forgotten after it."""
    for family in ("models", "data", "compression", "backends"):
        package = importlib.import_module(f"harness.{family}")
        monkeypatch.setattr(package, "__path__", list(package.__path__))


@pytest.fixture(autouse=True)
def own_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test waits for another's device: those of a test keep their leases in its own folder."""
    folder = tmp_path / "assay-leases"
    monkeypatch.setenv("ASSAY_LEASE_DIR", str(folder))
    return folder


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where several processes share the work, a file's tests stay together, for they share fixtures.

    So do all that reach this machine over SSH or ADB, for it has one user: a session sweeps away what a dead harness left there, also what a
    test in another process left on purpose. They are the most, and so they come first.
    """
    from xdist.scheduler import LoadScopeScheduling

    apart = tuple(f"tests/targets/{name}" for name in ("meters/", "power/", "transports/qemu/", "transports/test_qemu.py"))

    def scope(path: str) -> str:
        return "devices" if path.startswith("tests/targets/") and not path.startswith(apart) else path

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return scope(nodeid.partition("::")[0])

    return ByFile(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`nightly` is left to the nightly session, `hardware` never runs unasked; the rest goes cheapest lane first."""
    if not os.environ.get("ASSAY_NIGHTLY"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("nightly")])
        items[:] = [item for item in items if not item.get_closest_marker("nightly")]
    lanes = ("torch", "toolchain", "peers", "hardware")
    items.sort(key=lambda item: max((lanes.index(lane) + 1 for lane in lanes if item.get_closest_marker(lane)), default=0))
    for item in items:
        if item.get_closest_marker("hardware") and "ASSAY_HARDWARE" not in os.environ:
            item.add_marker(pytest.mark.skip(reason="hardware: set ASSAY_HARDWARE=1 to run on a real device"))


_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def _unexpected_skips() -> list[str]:
    """Where ASSAY_FORBID_SKIPS is set: tests that were skipped and are not listed, with a reason, in may_skip.txt."""
    if not os.environ.get("ASSAY_FORBID_SKIPS"):
        return []
    lines = (Path(__file__).parent / "may_skip.txt").read_text().splitlines()
    allowed = tuple(line.split()[0] for line in lines if line and not line.startswith("#"))
    return [nodeid for nodeid in _skipped if not nodeid.startswith(allowed)]


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _unexpected_skips():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for nodeid in _unexpected_skips():
        terminalreporter.write_line(f"skipped, and not listed in tests/may_skip.txt: {nodeid}", red=True)
