"""The command line of `assay latency-table`; what it makes is in tests/harness/test_tabulate.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import UserError


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["resnet9"], "unknown model `resnet9`"),
        (["mlp", "--target", "loca"], "Did you mean `local`"),
        (["mlp", "--backend", "natve"], "Did you mean `native`"),
        (["mlp", "--sparsity", "1.5"], "--sparsity: a share of the weights"),
        (["mlp", "--method", "scheme_mp"], "Did you mean `scheme_map`"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(arguments: list[str], says: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["latency-table", *arguments, "-o", str(tmp_path / "table.json")])
    assert isinstance(result.exception, UserError) and says in str(result.exception)
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.torch
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--scheme", "1 x 16"], "unknown regularity `1 x 16`"),
        (["--method", "float32"], "unknown parameter `scheme`"),
    ],
)
def test_what_cannot_be_pruned_so_is_refused(arguments: list[str], says: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["latency-table", "mlp", *arguments, "-o", str(tmp_path / "table.json")])
    assert isinstance(result.exception, UserError) and says in str(result.exception)


def test_help_shows_how() -> None:
    result = CliRunner().invoke(app, ["latency-table", "--help"])
    assert result.exit_code == 0 and "assay latency-table resnet8" in result.output
