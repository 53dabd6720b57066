"""The house's import rules (docs/architecture.md): who may import whom, no circles, no plug-in by name."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("harness", "targets", "results", "reports")
FILES = sorted(path for package in OURS for path in (ROOT / package).rglob("*.py"))
MAY_IMPORT = {
    "results": {"results"},
    "targets": {"targets"},
    "reports": {"reports", "results"},
    "harness": {"harness", "results", "targets"},
}
THIRD_PARTY = {
    "results": {"sqlalchemy", "alembic", "pandas", "numpy", "scipy", "pyarrow"},
    "targets": {"pydantic", "pydantic_core", "yaml", "numpy", "annotated_types"},
    "reports": {"jinja2", "altair", "vl_convert", "pandas", "numpy", "markupsafe"},
}
ANY_SDK = ("targets/transports/", "targets/meters/")
"""Each transport's and meter's own file may import its SDK."""
TORCH = (
    "harness/models/", "harness/data/", "harness/compression/", "harness/backends/", "harness/train.py", "harness/checkpoint.py", "harness/head.py",
    "harness/context.py", "harness/export.py", "harness/forms/", "harness/perform.py",
)  # fmt: skip
STANDARD = __import__("sys").stdlib_module_names


def imports(path: Path, *, at_run_time: bool = False) -> Iterator[str]:
    """Every module a file imports, those inside functions too; `at_run_time` leaves out what only the type checker reads."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    if at_run_time:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                skipped |= {inner for statement in node.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if is_module(name) else node.module for name in names)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_imports_follow_the_table(path: Path) -> None:
    package = relative(path).split("/")[0]
    for name in imports(path):
        top = name.split(".")[0]
        if top in OURS:
            is_cli = relative(path) == "harness/cli.py" and top == "reports"
            assert top in MAY_IMPORT[package] or is_cli, f"{relative(path)} imports {name}"
        elif top not in STANDARD:
            allowed = THIRD_PARTY.get(package)
            assert allowed is None or top in allowed or relative(path).startswith(ANY_SDK), f"{relative(path)} imports {name}"
        if top in ("torch", "litert_torch"):
            assert relative(path).startswith(TORCH), f"{relative(path)} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_no_plugin_is_imported_by_name(path: Path) -> None:
    folders = {
        "harness/models",
        "harness/data",
        "harness/compression",
        "harness/backends",
        "targets/transports",
        "targets/meters",
    }
    plugins = {module_name(p) for p in FILES if relative(p).rpartition("/")[0] in folders and p.stem != "__init__"}
    named = sorted(set(imports(path)) & plugins)
    assert not named, f"{relative(path)} imports the plug-in {named}"


def test_there_is_no_circle() -> None:
    """A module's package is imported before it, unless the importer lies in that package itself."""
    modules = {module_name(path) for path in FILES}

    def needed(name: str, path: Path) -> set[str]:
        named = {n for n in imports(path, at_run_time=True) if n in modules}
        packages = {".".join(n.split(".")[:depth]) for n in named for depth in range(1, n.count(".") + 1)}
        return (named | {p for p in packages & modules if not name.startswith(f"{p}.")}) - {name}

    tuple(graphlib.TopologicalSorter({module_name(path): needed(module_name(path), path) for path in FILES}).static_order())


def test_every_source_file_has_its_mirrored_test() -> None:
    exempt = {"harness/cli.py": "tests/harness/test_cli.py"}
    missing = []
    for path in FILES:
        name = relative(path)
        if path.stem == "__init__" or "/migrations/" in name:
            continue
        mirrored = ROOT / "tests" / path.relative_to(ROOT).parent / f"test_{path.stem}.py"
        if not mirrored.exists() and not (ROOT / exempt.get(name, "absent")).exists():
            missing.append(name)
    assert not missing
