from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest

from harness.errors import BuildError, Unsupported, UserError
from harness.forms.conversion import conversion, versions


def test_conversion_keeps_what_is_said_on_every_way_out(capfd: pytest.CaptureFixture[str]) -> None:
    with conversion("test") as chatter:
        print("from Python")
        os.write(1, b"from C, stdout\n")
        os.write(2, b"from C, stderr\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    print("after")
    assert capfd.readouterr() == ("after\n", "")
    assert {"from Python", "from C, stdout", "from C, stderr", "from a child"} <= set(chatter.text.splitlines())
    assert chatter.warnings == 0


def test_conversion_counts_warnings_of_python_and_of_printed_lines() -> None:
    with conversion("test") as chatter:
        warnings.warn("old", FutureWarning, stacklevel=1)
        warnings.warn("old", FutureWarning, stacklevel=1)
        os.write(
            2,
            b"W1121 04:07:23.354000 10394 a.py:1] from glog\nWARNING:root:from logging\na.py:3: UserWarning: printed\nno warning\n",
        )
    assert chatter.warnings == 5


def test_conversion_turns_any_fault_into_a_build_error_that_quotes_the_last_words() -> None:
    class OddError(Exception):
        pass

    with pytest.raises(BuildError, match=r"step x failed: OddError: node 7 is odd \(it last said: one \| two\)") as caught:  # noqa: SIM117
        with conversion("step x"):
            os.write(2, b"one\n\ntwo\n")
            raise OddError("node 7\n  is odd")
    assert isinstance(caught.value.__cause__, OddError)


def test_conversion_bounds_a_long_message() -> None:
    with pytest.raises(BuildError) as caught, conversion("step"):
        raise ValueError("x" * 100_000)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("error", [BuildError("b"), Unsupported("u"), UserError("e")])
def test_conversion_leaves_our_own_errors_alone(error: Exception) -> None:
    with pytest.raises(type(error), match=f"^{error}$"), conversion("step"):
        raise error


def test_conversion_lets_an_interrupt_through_and_restores_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), conversion("step"):
        raise KeyboardInterrupt
    os.write(1, b"visible\n")
    assert capfd.readouterr().out == "visible\n"


def test_conversion_leaves_no_descriptor_open() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(20):
        with conversion("step"):
            pass
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_versions_are_those_installed() -> None:
    import numpy as np

    assert versions("numpy") == {"numpy": np.__version__}
