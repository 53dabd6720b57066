"""Every file that README.md and docs/ show is written out, and every command they show is run, as pasted, in a folder of its own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    language: str
    options: dict[str, str]
    text: str


def blocks(page: Path) -> list[Block]:
    return [
        Block(language, dict(option.split("=", 1) for option in options.split()), text)
        for language, options, text in FENCE.findall(page.read_text(encoding="utf-8"))
    ]


def commands(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language == "console" and block.options.get("run") != "no"]


@pytest.fixture(scope="module")
def one_cache(tmp_path_factory: pytest.TempPathFactory, zig_cache: Path) -> Path:
    """What one page trained and built is not trained and built again for the next, as for a user who reads them all."""
    cache = tmp_path_factory.mktemp("docs") / "cache"
    cache.mkdir()
    (cache / "zig").symlink_to(zig_cache)
    return cache


@pytest.mark.torch
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_every_command_of_a_page_runs_as_pasted(page: Path, tmp_path: Path, one_cache: Path) -> None:
    for block in blocks(page):
        if name := block.options.get("file"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(block.text)
    bin_folder = str(Path(sys.executable).parent)
    for block in commands(page):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environment = inherited | {
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "XDG_DATA_HOME": str(tmp_path / "data"),
            "ASSAY_CACHE": str(one_cache),
        }
        environment |= dict([block.options["env"].split("=", 1)]) if "env" in block.options else {}
        for line in block.text.splitlines():
            assert line.startswith("$ "), f"{page.name}: a console block holds commands alone: {line!r}"
            done = subprocess.run(
                shlex.split(line[2:]),
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",  # a command may print raw numbers
                timeout=600,
                stdin=subprocess.DEVNULL,
            )
            assert done.returncode == 0, f"{page.name}: {line}\n{done.stdout}\n{done.stderr}"


def test_every_relative_link_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_names_sessions_that_exist() -> None:
    noxfile = (ROOT / "noxfile.py").read_text()
    named = set(re.findall(r"nox -s (\w+)", (ROOT / "README.md").read_text()))
    assert {"smoke", "tests"} <= named
    for session in named:
        assert f"def {session}(session" in noxfile
