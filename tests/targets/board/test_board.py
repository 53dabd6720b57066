"""What a board may be, and that a note of it reads back as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from targets.board.board import CPUS, Board, boards, boards_folder, check, save
from targets.errors import UserError

BOARD = Board("demo", "devices.yaml")


@pytest.mark.parametrize("cpu", CPUS)
def test_every_cpu_may_be_asked_for(cpu: str) -> None:
    check(replace(BOARD, cpu=cpu))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": "a b"}, "board name"),
        ({"name": ""}, "board name"),
        ({"name": "../x"}, "board name"),
        ({"name": "x" * 61}, "board name"),
        ({"cpu": "cortex-a55"}, "Did you mean `cortex-a5"),
        ({"cpus": 0}, "1 to 8"),
        ({"cpus": 9}, "1 to 8"),
        ({"memory_mib": 255}, "256 MiB"),
        ({"cpus": 2, "deterministic": True}, "one CPU"),
    ],
)
def test_a_board_that_cannot_be_is_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        check(replace(BOARD, **wrong))  # type: ignore[arg-type]


def test_a_note_reads_back_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert boards() == {}
    board = Board("demo", "/x/devices.yaml", "max", 1, 512, True, 2222, 5555)
    board.folder.mkdir(parents=True)
    (boards_folder() / "half-made").mkdir()
    save(board)
    assert boards() == {"demo": board}
