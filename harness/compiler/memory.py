"""Places for values that live for a while, in as little memory as can be had cheaply: largest first, each at the lowest place where
nothing that lives at the same time is (greedy by size: Pisarchyk and Lee 2020, sec. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

ALIGNMENT = 64


class Buffer(NamedTuple):
    size_bytes: int
    first: int
    """The step that writes it."""
    last: int
    """The last step that reads it."""


class Plan(NamedTuple):
    offsets: tuple[int, ...]
    """Of each buffer."""
    arena_bytes: int
    live_bytes: int
    """The most that lives at one time: no plan can do with less."""
    naive_bytes: int
    """What a place of its own for each would take."""


def plan(buffers: Sequence[Buffer]) -> Plan:
    sizes = [-(-buffer.size_bytes // ALIGNMENT) * ALIGNMENT for buffer in buffers]
    offsets: dict[int, int] = {}
    for index in sorted(range(len(buffers)), key=lambda i: (-sizes[i], i)):
        meanwhile = sorted((offsets[i], sizes[i]) for i in offsets if _meet(buffers[i], buffers[index]))
        place = 0
        for offset, size in meanwhile:
            if offset - place >= sizes[index]:
                break
            place = max(place, offset + size)
        offsets[index] = place
    steps = {buffer.first for buffer in buffers}
    live = max((sum(s for b, s in zip(buffers, sizes, strict=True) if b.first <= step <= b.last) for step in steps), default=0)
    arena = max((offsets[i] + sizes[i] for i in offsets), default=0)
    return Plan(tuple(offsets[i] for i in range(len(buffers))), arena, live, sum(sizes))


def _meet(a: Buffer, b: Buffer) -> bool:
    return a.first <= b.last and b.first <= a.last
