from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.profile import MAX_OPERATORS, Operator, Profile, Roofline, parse_profile

NUMBERS = st.none() | st.floats(0, 1e15)
TEXTS = st.none() | st.text(max_size=5)
OPERATORS = st.builds(
    Operator,
    st.text(),
    op=TEXTS,
    layer=TEXTS,
    time_s=NUMBERS,
    macs=NUMBERS,
    bytes=NUMBERS,
    format=TEXTS,
    sparsity=st.none() | st.floats(0, 1),
)
ROOFLINES = st.none() | st.builds(Roofline, st.none() | st.floats(1e-3, 1e15), st.none() | st.floats(1e-3, 1e15))


@given(st.builds(Profile, st.lists(OPERATORS, max_size=4).map(tuple), ROOFLINES, TEXTS))
def test_a_profile_survives_json(profile: Profile) -> None:
    assert parse_profile(json.loads(json.dumps(profile.to_json()))) == profile


def test_what_is_left_out_is_null() -> None:
    assert parse_profile({"operators": [{"name": "conv1"}]}) == Profile((Operator("conv1"),), None)


def test_the_floor_is_the_slower_of_arithmetic_and_memory() -> None:
    machine = Roofline(peak_flops=1e9, bandwidth_bytes_per_s=1e6)
    assert machine.floor_s(5e8, 10.0) == 1.0
    assert machine.floor_s(5e3, 2e6) == 2.0


def test_the_floor_takes_what_is_known() -> None:
    assert Roofline(1e9, None).floor_s(5e8, 1e12) == 1.0
    assert Roofline(1e9, 1e6).floor_s(None, 1e6) == 1.0
    assert Roofline(1e9, None).floor_s(None, 1e6) is None
    assert Roofline().floor_s(1.0, 1.0) is None


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        (None, "a mapping with a list of `operators`"),
        ([], "a mapping with a list of `operators`"),
        ({"operators": "conv"}, "a mapping with a list of `operators`"),
        ({"operators": ["conv"]}, "operator 0 is 'conv', no mapping"),
        ({"operators": [{}]}, "operator 0: name is None, no text"),
        ({"operators": [{"name": "a"}, {"name": 3}]}, "operator 1: name is 3, no text"),
        ({"operators": [{"name": "a", "op": 3}]}, "operator 0: op is 3, no text"),
        ({"operators": [{"name": "a", "seconds": 1}]}, "operator 0 has the unknown key `seconds`"),
        ({"operators": [{"name": "a", "time_s": -1.0}]}, "operator `a`: time_s is -1.0"),
        ({"operators": [{"name": "a", "time_s": math.nan}]}, "operator `a`: time_s is nan"),
        ({"operators": [{"name": "a", "macs": "12"}]}, "operator `a`: macs is '12'"),
        ({"operators": [{"name": "a", "bytes": True}]}, "operator `a`: bytes is True"),
        ({"operators": [{"name": "a", "sparsity": 50}]}, "operator `a`: sparsity is 50, a share"),
        ({"operators": [], "roofline": {"peak_flops": 0}}, "roofline: peak_flops is 0"),
        ({"operators": [], "roofline": {"bandwidth": 1}}, "roofline has the unknown key `bandwidth`"),
        ({"operators": [], "remark": 7}, "remark is 7, no text"),
        ({"operators": [], "roofline": 7}, "roofline is 7, no mapping"),
        ({"operators": [{"name": "a"}] * (MAX_OPERATORS + 1)}, "20,001 operators; at most 20,000"),
    ],
)
def test_what_is_wrong_is_named(document: Any, complaint: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_profile(document)
    assert complaint in str(caught.value)
