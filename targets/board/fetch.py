"""Debian packages of another architecture, fetched and verified by apt with lists and settings of its own: this machine's stay as they are."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from targets.errors import UserError
from targets.session import CommandFailed

RELEASE = "bookworm"
BACKPORTS = f"{RELEASE}-backports"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR_VARIABLE = "ASSAY_DEBIAN_MIRROR"
TIMEOUT_S = 900.0

_SETTINGS = """\
#clear APT::Update;  // no hooks of this machine
#clear APT::Architectures;
APT::Architecture "{architecture}";
APT::Architectures "{architecture}";
APT::Get::AllowUnauthenticated "false";
APT::Sandbox::User "";  // the folder is the caller's alone
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State "{folder}/state";
Dir::State::lists "{folder}/state/lists";
Dir::State::status "{folder}/state/status";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
"""


def download(packages: Sequence[str], architecture: str, folder: Path) -> tuple[Path, ...]:
    """The packages' files, in a folder that is made; `name/bookworm-backports` is from there.

    A package `name*` stands for the one that the package `name` depends on: the kernel behind its name that never changes.
    """
    check_packager()
    (folder / "state" / "lists" / "partial").mkdir(parents=True)
    (folder / "cache" / "archives" / "partial").mkdir(parents=True)
    (folder / "state" / "status").touch()
    (folder / "packages").mkdir()
    mirror = _mirror()
    lines = (f"deb [signed-by={KEYRING}] {mirror} {suite} main\n" for suite in (RELEASE, BACKPORTS))
    (folder / "sources.list").write_text("".join(lines))
    settings = folder / "apt.conf"
    settings.write_text(_SETTINGS.format(architecture=architecture, folder=folder))
    _apt("apt-get", "-c", str(settings), "--quiet", "update", "--error-on=any", where=folder)
    names = [_behind(name.rstrip("*"), settings) if name.endswith("*") else name for name in packages]
    _apt("apt-get", "-c", str(settings), "--quiet", "download", *names, where=folder / "packages")
    return tuple(sorted((folder / "packages").glob("*.deb")))


def check_packager() -> None:
    """UserError where the programs or the keys that fetching needs are not there."""
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise UserError(f"the board is made of Debian's packages, and there is no `{program}` here; use Debian or Ubuntu")
    if not KEYRING.exists():
        raise UserError(f"{KEYRING} is missing, by which Debian's packages are verified; install debian-archive-keyring")


def _mirror() -> str:
    """Debian's mirror that this machine uses, or the one that is named."""
    if named := os.environ.get(MIRROR_VARIABLE):
        return named
    listed = _apt("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", where=Path("/"))
    for uri in listed.split():
        if uri.rstrip("/").endswith("/debian"):
            return uri
    raise UserError(f"apt has no Debian mirror among its sources here; name one by ${MIRROR_VARIABLE}")


def _behind(name: str, settings: Path) -> str:
    said = _apt("apt-cache", "-c", str(settings), "depends", "--important", name, where=Path("/"))
    for line in said.splitlines():
        kind, _, package = line.strip().partition(" ")
        if kind == "Depends:":
            return package
    raise CommandFailed(f"Debian's package {name} names no package behind it: {said.strip()[-300:]}")


def _apt(*command: str, where: Path) -> str:
    """What it prints. A mirror that does not answer is the usual failure."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            cwd=where,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{command[0]} was not done after {TIMEOUT_S:g} s; is the mirror slow? Try again") from error
    if done.returncode != 0:
        raise CommandFailed(
            f"the board's packages could not be fetched; is there a network? ${MIRROR_VARIABLE} names another mirror. "
            f"{command[0]} said: {' '.join(done.stderr.split())[-700:]}"
        )
    return done.stdout
