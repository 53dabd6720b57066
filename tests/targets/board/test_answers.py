"""Whether a board is up is asked of the board itself, and what does not answer is told with its last words."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from targets.board import answers, machine
from targets.board.board import Board
from targets.session import Unreachable


@pytest.fixture
def listener() -> Iterator[Callable[[bytes], int]]:
    """Listens on a port that it returns, and says this to whoever comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk(words: bytes) -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(31)
                connection.sendall(words)

        def listen(words: bytes) -> int:
            threading.Thread(target=talk, args=(words,), daemon=True).start()
            return int(server.getsockname()[1])

        yield listen


def test_adbd_is_known_by_its_greeting(listener: Callable[[bytes], int]) -> None:
    answers._greet_adb(listener(b"CNXN" + bytes(20)))


@pytest.mark.parametrize("words", [b"", b"CN", b"SSH-2.0-x\r\n"])
def test_what_is_not_adbd_is_told(listener: Callable[[bytes], int], words: bytes) -> None:
    with pytest.raises(Unreachable, match="not adbd"):
        answers._greet_adb(listener(words))


def test_a_port_on_which_nothing_listens_is_told() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="adbd does not answer"):
            answers._greet_adb(free.getsockname()[1])


def test_a_machine_that_ends_while_it_boots_is_told_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    board = Board("demo", "devices.yaml")
    board.folder.mkdir(parents=True)
    machine.console(board).write_text("Kernel panic - not syncing\n")
    with pytest.raises(Unreachable, match=r"ended by itself(.|\n)*Kernel panic"):
        answers.wait(board, 60)


def test_the_guest_says_what_is_waited_for() -> None:
    init = Path(answers.__file__).with_name("guest") / "init"
    assert f'echo "{answers.NETWORK_IS_UP}"' in init.read_text()
