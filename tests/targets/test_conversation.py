"""A command's output from its mark on; what a login shell prints before it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.conversation import MAX_NOISE_BYTES, MarkedStream
from targets.process import Kept
from targets.session import CommandFailed


@given(st.binary(max_size=40), st.binary(max_size=40), st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_what_comes_before_the_mark_is_noise_however_it_is_cut(noise: bytes, content: bytes, cuts: list[int]) -> None:
    stream = MarkedStream("ASSAY0123", Kept(1000))
    whole = noise + b"ASSAY0123 42\n" + content
    while whole:
        cut = cuts[len(whole) % len(cuts)]
        stream.add(whole[:cut])
        whole = whole[cut:]
    assert (stream.pid, bytes(stream.kept.data)) == (42, content)


def test_noise_without_end_is_refused() -> None:
    stream = MarkedStream("ASSAY0123", Kept(1000))
    with pytest.raises(CommandFailed, match="start-up files"):
        for _ in range(100):
            stream.add(b"x" * (MAX_NOISE_BYTES // 50))
