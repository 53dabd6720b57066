"""Keys are the user's alone, the board's own is known before it boots, and no two boards share one."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from targets.board import keys
from targets.board.board import Board
from targets.errors import UserError


@pytest.mark.peers
def test_the_host_key_is_known_and_the_login_key_is_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    boards = [Board(name, "devices.yaml", ssh_port=2200) for name in ("one", "two")]
    for board in boards:
        board.folder.mkdir(parents=True)
        keys.make(board)
        for private in (keys.host_key(board), keys.login_key(board)):
            assert stat.S_IMODE(private.stat().st_mode) == 0o600
        where, kind, key, _ = keys.known_hosts(board).read_text().split()
        assert (where, kind) == ("[127.0.0.1]:2200", "ssh-ed25519")
        assert key in keys.host_key(board).with_suffix(".pub").read_text()
        files = {entry.path: entry for entry in keys.entries(board)}
        assert files["root/.ssh/authorized_keys"].content == keys.login_key(board).with_suffix(".pub").read_bytes()
        assert files["etc/dropbear/openssh_key"].content == keys.host_key(board).read_bytes()
        assert all(stat.S_IMODE(files[path].mode) == 0o700 for path in ("root", "root/.ssh"))
    assert keys.known_hosts(boards[0]).read_text() != keys.known_hosts(boards[1]).read_text()
    machine_ids = {entry.content for board in boards for entry in keys.entries(board) if entry.path == "etc/machine-id"}
    assert len(machine_ids) == 2 and all(re.fullmatch(rb"[0-9a-f]{32}\n", identity) for identity in machine_ids)


def test_a_missing_ssh_keygen_is_told_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="openssh-client"):
        keys.check_keygen()
