"""Sessions of Assay: `nox -s smoke` runs the main job, `nox -s tests` passes the tests. Each sets up all it needs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["smoke", "tests"]
nox.options.reuse_existing_virtualenvs = True

ENVIRONMENT = ".nox/assay"
"""One environment for every session: it holds PyTorch and two converters, several gigabytes that nobody wants twice."""
GROUPS = nox.project.load_toml("pyproject.toml")
SYSTEM_PACKAGES = {
    "/usr/share/dataset-fashion-mnist": "dataset-fashion-mnist",
    "chromium": "chromium",
    "pdflatex": "texlive-latex-recommended",
    "postgres": "postgresql",
    "c++": "g++",
}
"""What tests need (a program, or a folder), and Debian's package of it."""


@nox.session(venv_location=ENVIRONMENT)
def smoke(session: nox.Session) -> None:
    """Run suites/smoke.yaml to its report in out/smoke."""
    install(session)
    session.run("assay", "run", "suites/smoke.yaml", "--out", "out/smoke", *session.posargs)


@nox.session(venv_location=ENVIRONMENT)
def tests(session: nox.Session) -> None:
    """Pass the tests; what they need of the system is installed where that is allowed, and named where it is not."""
    install(session, "test")
    install_system_packages(session)
    session.run("pytest", *session.posargs)


@nox.session(venv_location=ENVIRONMENT, default=False)
def lint(session: nox.Session) -> None:
    """ruff and mypy --strict (the import rules are a test)."""
    install(session, "test", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session(venv_location=ENVIRONMENT, default=False)
def bench(session: nox.Session) -> None:
    """Print what the harness itself costs: a cell, a plan, the command's start. Figures, never assertions."""
    install(session, "test")
    session.run("pytest", "tests/harness/test_overhead.py", "-s", "--benchmark-only", "--benchmark-enable", "-q", *session.posargs)


@nox.session(venv_location=ENVIRONMENT, default=False)
def docs(session: nox.Session) -> None:
    """Run every command that README.md and docs/ show."""
    install(session, "test")
    session.run("pytest", "tests/test_docs.py", *session.posargs)


@nox.session(venv_location=ENVIRONMENT, default=False)
def nightly(session: nox.Session) -> None:
    """Every test with its long loops in full."""
    install(session, "test")
    install_system_packages(session)
    session.run("pytest", *session.posargs, env={"ASSAY_NIGHTLY": "1"})


def install(session: nox.Session, *groups: str) -> None:
    """PyTorch first and exactly, by pip, so that no other package chooses a build of it with gigabytes of CUDA."""
    (torch,) = [d for d in GROUPS["project"]["dependencies"] if d.startswith("torch==")]
    session.install(torch)
    session.install("-e", ".[postgresql]", *nox.project.dependency_groups(GROUPS, *groups))


def install_system_packages(session: nox.Session) -> None:
    missing = sorted(package for program, package in SYSTEM_PACKAGES.items() if not found(program))
    if not missing:
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        session.run("apt-get", "update", "-qq", external=True)
        session.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing, external=True)
    else:
        session.warn(f"tests that need {', '.join(missing)} will be skipped; install with: sudo apt-get install {' '.join(missing)}")


def found(program: str) -> bool:
    return bool(Path(program).is_dir() or shutil.which(program) or list(Path("/usr/lib/postgresql").glob(f"*/bin/{program}")))
