"""Folders and small files of a device, many by one command."""

from __future__ import annotations

from pathlib import Path

import pytest
from device_tree import absent, tree

from targets.device_files import children, command, entries, fields, first, kib, lines_of, or_reason, real, whole
from targets.session import Session


def test_entries_come_in_natural_order_and_none_from_a_folder_that_is_not_there(session: Session, tmp_path: Path) -> None:
    root = tree(tmp_path, {f"sys/policy{n}/governor": "ondemand" for n in (10, 2, 0)})
    assert children(session, root + "sys") == [f"{root}sys/policy{n}" for n in (0, 2, 10)]
    assert children(session, root + "sys/") == children(session, root + "sys")
    assert entries(session, [root + "nothing", root + "sys/policy2"]) == [[], [root + "sys/policy2/governor"]]


def test_lines_are_by_file_and_a_file_that_cannot_be_read_is_left_out(session: Session, tmp_path: Path) -> None:
    root = tree(tmp_path, {"a": "one\ntwo: 2\n", "b:c": "three\n", "empty": ""})
    paths = [root + name for name in ("a", "b:c", "empty", "nothing")]
    lines = lines_of(session, paths)
    assert lines == {root + "a": ["one", "two: 2"], root + "b:c": ["three"]}
    assert first(lines, root + "a") == "one" and first(lines, root + "nothing") is None


def test_a_command_that_fails_or_is_silent_says_nothing(session: Session) -> None:
    assert command(session, ["printf", r"said\0\n"]) == "said"
    assert [command(session, argv) for argv in (["false"], ["true"], ["no-such-program"])] == [None] * 3


def test_fields_keep_every_value_of_a_key() -> None:
    lines = ["core\t: 1", "core : 2", "no separator", "MemTotal:  8 kB"]
    assert fields(lines) == {"core": ["1", "2"], "MemTotal": ["8 kB"]}
    assert kib(lines, "MemTotal") == 8192 and kib(lines, "MemFree") is None


@pytest.mark.parametrize("text", ["", "1e5", "0x10", "12 ", "9" * 19, "nan", "inf", "<unknown>"])
def test_what_is_no_plain_number_is_none(text: str) -> None:
    assert whole(text) is None and real(text) is None


def test_plain_numbers_are_read() -> None:
    assert (whole("-431000"), whole(None), real("0.52"), real("7")) == (-431_000, None, 0.52, 7.0)


def test_nothing_is_null_with_its_reason() -> None:
    assert or_reason(4, "why") == 4
    nothings: list[object] = [None, 0, [], ""]
    assert all(absent(or_reason(nothing, "why")) for nothing in nothings)
