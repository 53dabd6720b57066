"""The contract's own promises; what transports make of it is in test_session_contract.py."""

from __future__ import annotations

import dataclasses
import importlib
import inspect

import pytest

from targets import transports
from targets.session import CommandFailed, CommandResult, Session, TargetError, Unreachable


def test_transient_and_stable_errors_are_told_apart() -> None:
    assert issubclass(Unreachable, TargetError) and issubclass(CommandFailed, TargetError)
    assert not issubclass(Unreachable, CommandFailed) and not issubclass(CommandFailed, Unreachable)


def test_a_result_is_frozen() -> None:
    result = CommandResult(("true",), 0, b"", b"", 0.1)
    assert not result.timed_out and not result.truncated
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.exit_status = 1  # type: ignore[misc]


@pytest.mark.parametrize("name", transports.names())
def test_every_transport_exports_connect(name: str) -> None:
    assert callable(importlib.import_module(f"targets.transports.{name}").connect)


def test_the_contract_is_five_methods() -> None:
    assert {name for name, member in vars(Session).items() if inspect.isfunction(member) and not name.startswith("_")} == {
        "run", "push", "pull", "remove", "behind",
    }  # fmt: skip
