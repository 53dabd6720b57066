"""`assay targets release`: who is shut away is shown, let out with a reason, and free again."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from harness.cli import app
from results.quarantine import FAULTS
from results.store import open_store


def test_a_device_is_shown_in_quarantine_released_and_free(tmp_path: Path) -> None:
    url, invoke = str(tmp_path / "s.db"), CliRunner().invoke
    with open_store(url) as store:
        for _ in range(FAULTS):
            store.note_visit("local", "it would not answer\x1b[2J", "2026-01-01")

    def shown() -> str:
        listed = invoke(app, ["ls", "targets", "--store", url, "--json"])
        assert listed.exit_code == 0, listed.output
        return str(json.loads(listed.output)[0]["quarantine"])

    assert "since 2026-01-01" in shown() and "it would not answer" in shown()
    assert invoke(app, ["targets", "release", "local", "--store", url]).exit_code == 2, "a reason must be given"
    released = invoke(app, ["targets", "release", "local", "--reason", "new cable", "--store", url])
    assert released.exit_code == 0 and "may be used again" in released.output and "\x1b" not in released.output
    assert shown() == ""
