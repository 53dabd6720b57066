"""Sessions of Assay: `nox -s smoke` runs the main job, `nox -s tests` passes the tests. Each sets up all it needs."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["smoke", "tests"]

ENVIRONMENT = Path(".nox/assay")
"""One virtual environment for every session: it holds PyTorch and two converters, gigabytes that nobody wants twice."""
PROJECT = nox.project.load_toml("pyproject.toml")
EXTRAS = ",".join(PROJECT["project"]["optional-dependencies"])
"""Every runtime that can share the environment: in it where tests are run, so that none of theirs is skipped."""
AT_ONCE = ("--numprocesses", "3")
"""On two cores: half of what the tests take is waiting for devices. tests/conftest.py says which tests stay together."""
ONCE_MORE = ("--reruns", "1", "--max-suite-reruns", "3", "--rerun-show-tracebacks")
"""A machine that stood still for seconds fails no test of the thousands that talk to live peers; it is printed, and what fails twice, or a fourth
test, fails. The nightly session allows none: races are found there."""
SYSTEM_PACKAGES = {
    "/usr/share/datasets/fashion-mnist": "dataset-fashion-mnist",
    "chromium": "chromium",
    "pdflatex": "texlive-latex-recommended",
    "/usr/share/texlive/texmf-dist/tex/latex/siunitx": "texlive-science",
    "pdftotext": "poppler-utils",
    "postgres": "postgresql",
    "c++": "g++",
    "make": "make",
    "/usr/sbin/sshd": "openssh-server",
    "busybox": "busybox-static",
    "ip": "iproute2",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-riscv64": "qemu-user",
    "toybox": "toybox",
    "mksh": "mksh",
}
"""What tests need (a program, or a folder), and Debian's package of it."""


@nox.session
def smoke(session: nox.Session) -> None:
    """Run suites/smoke.yaml to its report in out/smoke."""
    commands = install(session)
    session.run(commands / "assay", "run", "suites/smoke.yaml", "--out", "out/smoke", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Pass the tests; what they need of the system is installed where that is allowed, and named where it is not."""
    commands = install(session, "test")
    install_system_packages(session)
    session.run(commands / "pytest", *AT_ONCE, *ONCE_MORE, *session.posargs)


@nox.session(default=False)
def lint(session: nox.Session) -> None:
    """ruff and mypy --strict (the import rules are a test)."""
    commands = install(session, "test", "lint")
    session.run(commands / "ruff", "check", ".")
    session.run(commands / "ruff", "format", "--check", ".")
    session.run(commands / "mypy")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Print what the harness itself and surgery cost, and how fast compiled layers and networks are. Figures, never assertions."""
    commands = install(session, "test")
    session.run(
        commands / "pytest",
        "tests/harness/test_overhead.py",
        "tests/harness/compiler/speed",
        "tests/harness/compression/test_speed.py",
        "tests/targets/power/test_overhead.py",
        "-s",
        "--benchmark-only",
        "--benchmark-enable",
        "-q",
        *session.posargs,
    )


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Run every command that README.md and docs/ show."""
    commands = install(session, "test")
    session.run(commands / "pytest", "tests/test_docs.py", *session.posargs)


@nox.session(default=False)
def nightly(session: nox.Session) -> None:
    """Every test with its long loops in full."""
    commands = install(session, "test")
    install_system_packages(session)
    session.run(commands / "pytest", *AT_ONCE, *session.posargs, env={"ASSAY_NIGHTLY": "1"})


def install(session: nox.Session, *groups: str) -> Path:
    """Make the environment by virtualenv and pip, put its commands first on the session's path, and return where they are.

    PyTorch comes first and exactly, so that no other package chooses a build of it with gigabytes of CUDA.
    """
    python = ENVIRONMENT.resolve() / "bin" / "python"
    if not python.exists():
        session.run(sys.executable, "-m", "virtualenv", "--quiet", str(ENVIRONMENT))
    (torch,) = [d for d in PROJECT["project"]["dependencies"] if d.startswith("torch==")]
    pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    session.run(*pip, torch)
    project = f".[{EXTRAS}]" if groups else "."
    session.run(*pip, "--editable", project, *nox.project.dependency_groups(PROJECT, *groups))
    session.env["PATH"] = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    return python.parent


def install_system_packages(session: nox.Session) -> None:
    missing = sorted(package for program, package in SYSTEM_PACKAGES.items() if not found(program))
    if not missing:
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        session.run("apt-get", "update", "-qq")
        session.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing)
    else:
        session.warn(
            f"tests that need {', '.join(missing)} will be skipped; install with: sudo apt-get install {' '.join(missing)}"
        )


def found(program: str) -> bool:
    return bool(Path(program).is_dir() or shutil.which(program) or list(Path("/usr/lib/postgresql").glob(f"*/bin/{program}")))
