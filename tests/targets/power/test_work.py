"""Counts of one inference are plain data."""

from __future__ import annotations

import dataclasses

from targets.power.work import Work


def test_it_is_plain_data() -> None:
    work = Work(10.0, 4.0, 100.0, "int8")
    assert Work(**dataclasses.asdict(work)) == work and len({work, Work(10.0, 4.0, 100.0, "float32")}) == 2
