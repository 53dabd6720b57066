from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import UserError

BENCHMARKS = """
import pytest

@pytest.mark.parametrize("count", [10, 1000])
def test_sum(benchmark, count):
    assert benchmark(sum, range(count)) == count * (count - 1) // 2
"""


def test_what_pytest_benchmark_writes_becomes_a_run_and_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_STORE", str(tmp_path / "store.db"))
    (tmp_path / "test_sums.py").write_text(BENCHMARKS)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # within which pytest-benchmark would time nothing
    files = [str(tmp_path / f"{launch}.json") for launch in range(2)]
    for file in files:
        fast = ["--benchmark-max-time=0.01", "--benchmark-min-rounds=5", "-q", "-p", "no:cacheprovider"]
        subprocess.run(
            [sys.executable, "-m", "pytest", "test_sums.py", "--benchmark-json", file, *fast], cwd=tmp_path, check=True
        )
    result = CliRunner().invoke(app, ["import-benchmarks", *files, "--suite", "sums", "--baseline", "10"])
    assert result.exit_code == 0 and "2 records of sums: assay report --run" in result.output, result.output
    result = CliRunner().invoke(app, ["import-benchmarks", *files, "--suite", "sums", "--baseline", "10"])
    assert "2 of them there already" in result.output
    result = CliRunner().invoke(app, ["report", "--suite", "sums", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "out" / "index.html").read_text()
    assert "test_sum" in page and "No time has an interval" not in page


@pytest.mark.parametrize(
    ("content", "says"), [(None, "cannot read"), ("{", "is no JSON"), ("[]", "the document is list"), ("\udcff", "is no JSON")]
)
def test_what_is_no_such_file_is_refused(content: str | None, says: str, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    if content is not None:
        file.write_bytes(content.encode(errors="surrogateescape"))
    result = CliRunner().invoke(app, ["import-benchmarks", str(file), "--store", str(tmp_path / "store.db")])
    assert isinstance(result.exception, UserError) and says in str(result.exception)
    assert not (tmp_path / "store.db").exists()
