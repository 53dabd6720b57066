"""Where a backend's runtime is installed: with Assay itself, or in an environment of its own that `assay setup` makes.

An environment's folder is named by its requirements and the Python version, so a changed requirement is another environment.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from harness import plugins
from harness.cache import appearing, cache_root, locked
from harness.errors import BuildError, Unsupported, UserError
from results.record import canonical_sha256
from targets.process import run_group
from targets.target import Target

CALL = Path(__file__).parent / "runners" / "call.py"
CALL_TIMEOUT_S = 1800.0
"""For one compilation; the largest networks at hand take a minute."""
_TAIL_LINES = 6


def requirements(name: str) -> tuple[str, ...]:
    """What pip is told to install into the backend's own environment; empty: it shares Assay's."""
    found: tuple[str, ...] = getattr(plugins.load("backends", name), "environment", ())
    return found


def interpreter(name: str, target: Target) -> str | None:
    """The Python that runs this backend on a target, where that is not the target's own."""
    if not requirements(name) or not _is_ours(target):
        return None
    return str(_python(_folder(name)))


def missing(name: str, target: Target) -> str | None:
    """What this machine lacks to build for, or to run on, a target; and how to get it. None where nothing is missing."""
    backend = plugins.load("backends", name)
    wanted = set(_builds_with(name)) | (set(backend.requires) if _is_ours(target) else set())
    absent = sorted(
        distribution for distribution, version in versions(name).items() if version is None and distribution in wanted
    )
    return f"{', '.join(absent)} not installed: {how_to_get(name)}" if absent else None


def how_to_get(name: str) -> str:
    if requirements(name):
        return f"assay setup {name}"
    extra = name.replace("_", "-")
    if extra in (metadata.metadata("assay").get_all("Provides-Extra") or ()):
        return f"pip install 'assay[{extra}]'"
    found = versions(name)
    return f"pip install {' '.join([distribution for distribution in found if found[distribution] is None] or found)}"


def is_optional(name: str) -> bool:
    """Whether Assay is whole without it: it needs something that is not installed with Assay."""
    own = {line.split()[0] for line in map(_words, metadata.requires("assay") or ()) if "extra ==" not in line}
    return bool(requirements(name)) or not own.issuperset(map(_words, versions(name)))


@functools.cache
def versions(name: str) -> dict[str, str | None]:
    """Installed versions of all that a backend runs and builds with, in the environment it has; None for what is not installed."""
    wanted = dict.fromkeys((*plugins.load("backends", name).requires, *_builds_with(name)))
    path = [*map(str, _folder(name).glob("lib*/python*/site-packages"))] if requirements(name) else sys.path
    return {distribution: _version(distribution, path) for distribution in wanted}


def setup(name: str) -> Path:
    """Make a backend's environment with venv and pip, unless it is there; its folder."""
    if not requirements(name):
        raise UserError(f"backend `{name}` shares Assay's own environment; get it with: {how_to_get(name)}")
    folder = _folder(name)
    with locked(folder.name):
        if not folder.is_dir():
            with appearing(folder) as partial:
                _told([sys.executable, "-m", "venv", str(partial)])
                pip = [str(_python(partial)), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
                _told([*pip, *requirements(name)])
    versions.cache_clear()
    return folder


def call(name: str, function: str, *arguments: Any) -> Any:
    """The answer of a function of the backend's file, called in the backend's environment by a process of its own.

    Arguments and answer are JSON values. A compiler that crashes takes nothing with it, and what it needs may be installed elsewhere.
    NotImplementedError there is Unsupported here; anything else is BuildError with the last lines it printed.
    """
    python = str(_python(_folder(name))) if requirements(name) else sys.executable
    with tempfile.TemporaryDirectory(prefix="assay-call-") as folder:
        answer = Path(folder) / "answer.json"
        # -P: a backend's file is named like the runtime it drives.
        command = [python, "-P", str(CALL), str(plugins.path("backends", name)), function, json.dumps(arguments), str(answer)]
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        ended = run_group(command, folder=Path(folder), environment={**os.environ, **threads}, timeout_s=CALL_TIMEOUT_S)
        if ended.exit_status == 0:
            document = json.loads(answer.read_text())
            if "unsupported" in document:
                raise Unsupported(document["unsupported"])
            return document["answer"]
    how = f"was stopped after {CALL_TIMEOUT_S:g} s" if ended.timed_out else f"failed: {ending(ended.exit_status)}"
    lines = [line.strip() for line in ended.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    raise BuildError(f"{name}, {function}: {how}; it last said: {' | '.join(lines[-_TAIL_LINES:])[-2000:]}")


def _is_ours(target: Target) -> bool:
    """Whether Assay chooses the Python on this target: on this machine, unless the inventory names one."""
    return target.transport == "local" and not target.python


def _builds_with(name: str) -> tuple[str, ...]:
    found: tuple[str, ...] = getattr(plugins.load("backends", name), "builds_with", ())
    return found


def _folder(name: str) -> Path:
    root = os.environ.get("ASSAY_ENVIRONMENTS")
    tag = canonical_sha256([requirements(name), platform.python_version()])[:16]
    return (Path(root).absolute() if root else cache_root() / "environments") / f"{name}-{tag}"


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _version(distribution: str, path: list[str]) -> str | None:
    found = next(iter(metadata.distributions(name=distribution, path=path)), None)
    return None if found is None else found.version


def _words(requirement: str) -> str:
    """A requirement with its name spelled one way and apart from the rest: `ai-edge-litert <2.4,>=2.3`."""
    return re.sub(r"^[\w.-]+", lambda name: f"{name[0].lower().replace('_', '-')} ", requirement).strip()


def _told(command: list[str]) -> None:
    """Run with the user watching."""
    ended = subprocess.run(command, check=False)
    if ended.returncode:
        raise BuildError(f"`{' '.join(command)}` ended with {ending(ended.returncode)}; see what it said above")


def ending(status: int) -> str:
    """How a process ended, in words."""
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
