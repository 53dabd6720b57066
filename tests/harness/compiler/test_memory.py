from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.compiler.memory import ALIGNMENT, Buffer, plan

BUFFERS = st.lists(
    st.builds(lambda n, a, b: Buffer(n, min(a, b), max(a, b)), st.integers(1, 5000), st.integers(0, 12), st.integers(0, 12))
)


@settings(max_examples=200, deadline=None)
@given(BUFFERS)
def test_what_lives_together_lies_apart_between_the_bounds(buffers: list[Buffer]) -> None:
    found = plan(buffers)
    assert found.live_bytes <= found.arena_bytes <= found.naive_bytes
    for i, (a, at) in enumerate(zip(buffers, found.offsets, strict=True)):
        assert at % ALIGNMENT == 0 and at + a.size_bytes <= found.arena_bytes
        for b, other in list(zip(buffers, found.offsets, strict=True))[:i]:
            if a.first <= b.last and b.first <= a.last:
                assert at + a.size_bytes <= other or other + b.size_bytes <= at


def test_a_chain_takes_two_places() -> None:
    found = plan([Buffer(640, step, step + 1) for step in range(10)])
    assert (found.arena_bytes, found.live_bytes, found.naive_bytes) == (1280, 1280, 6400)


def test_nothing_takes_nothing() -> None:
    assert plan([]) == ((), 0, 0, 0)
