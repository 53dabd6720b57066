"""The command line of `assay compile`; what it makes is in tests/harness/test_compile.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import UserError


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["m.onnx", "--target", "aarch63"], "Did you mean `aarch64`"),
        (["m.onnx", "--dim", "size"], "expected NAME=SIZE"),
        (["m.onnx"], "there is no such file"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(arguments: list[str], says: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["compile", *arguments, "-o", str(tmp_path / "out")])
    assert isinstance(result.exception, UserError) and says in str(result.exception)
    assert not list(tmp_path.glob("out/*"))


def test_help_shows_how() -> None:
    result = CliRunner().invoke(app, ["compile", "--help"])
    assert result.exit_code == 0 and "assay compile model.onnx -o model" in result.output
