"""A function of a backend's file, called by a process that has nothing but the standard library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.environment import CALL

BACKEND = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass(frozen=True)
class Backend:
    pass

def doubled(number, word):
    print("a library's chatter")
    return {"number": 2 * number, "word": word}

def unsupported():
    raise NotImplementedError("node `a` is odd")

def broken():
    raise KeyError("gone")
"""


@pytest.fixture
def called(tmp_path: Path) -> object:
    (tmp_path / "backend.py").write_text(BACKEND)

    def call(function: str, *arguments: object) -> tuple[int, object, str]:
        answer = tmp_path / "answer.json"
        answer.unlink(missing_ok=True)
        command = [
            sys.executable,
            "-I",
            "-S",
            str(CALL),
            str(tmp_path / "backend.py"),
            function,
            json.dumps(arguments),
            str(answer),
        ]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        return ended.returncode, json.loads(answer.read_text()) if answer.exists() else None, ended.stderr

    return call


def test_it_answers_in_a_file_so_that_chatter_does_no_harm(called: object) -> None:
    assert callable(called)
    assert called("doubled", 21, "ä")[:2] == (0, {"answer": {"number": 42, "word": "ä"}})


def test_not_implemented_is_an_answer_and_any_other_error_is_not(called: object) -> None:
    assert callable(called)
    assert called("unsupported")[:2] == (0, {"unsupported": "node `a` is odd"})
    status, answer, said = called("broken")
    assert (status, answer) == (1, None) and "KeyError: 'gone'" in said
    status, _, said = called("absent")
    assert status == 1 and "absent" in said


def test_it_is_python_3_8() -> None:
    import ast

    ast.parse(CALL.read_text(), feature_version=(3, 8))
