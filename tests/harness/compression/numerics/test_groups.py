from __future__ import annotations

from harness.compression.numerics.groups import Dependency, Edit, Group, Node, Slots

GROUP = Group(
    (
        Dependency(Node("conv", "out"), ((0,), (1,), (2,))),
        Dependency(Node("bn", "out"), ((0,), (1,), (2,))),
        Dependency(Node("linear", "in"), ((0, 1), (2, 3), (4, 5))),
    )
)


def test_edits_name_the_indices_on_every_node() -> None:
    assert GROUP.edits([2, 0, 2]) == (
        Edit(Node("conv", "out"), (0, 2)),
        Edit(Node("bn", "out"), (0, 2)),
        Edit(Node("linear", "in"), (0, 1, 4, 5)),
    )
    assert all(edit.indices == () for edit in GROUP.edits([]))


def test_a_group_prints_itself_as_its_edits() -> None:
    assert str(GROUP) == "conv: remove out 0, 1, 2\nbn: remove out 0, 1, 2\nlinear: remove in 0, 1, 2, 3, 4, 5"
    assert GROUP.channels == 3


def test_tied_slots_become_channels_of_one_group() -> None:
    slots = Slots()
    a, b = slots.new(2), slots.new(2)
    slots.own(Node("a", "out"), a)
    slots.own(Node("b", "out"), b)
    slots.own(Node("c", "in"), b)
    slots.tie(a[0], b[0])
    slots.tie(b[1], a[1])
    (group,) = slots.collect().groups
    assert [d.node for d in group.dependencies] == [Node("a", "out"), Node("b", "out"), Node("c", "in")]
    assert group.channels == 2


def test_a_fixed_slot_keeps_all_that_is_tied_to_it_and_says_why() -> None:
    slots = Slots()
    a, b = slots.new(2), slots.new(2)
    slots.own(Node("a", "out"), a)
    slots.own(Node("b", "out"), b)
    slots.fix(b, "output")
    slots.tie(a[0], b[0])
    found = slots.collect()
    assert [group.edits(range(group.channels)) for group in found.groups] == [(Edit(Node("a", "out"), (1,)),)]
    assert found.left_alone == {"b": "output"}


def test_owning_again_ties_the_calls() -> None:
    slots = Slots()
    one, two = slots.new(1), slots.new(1)
    slots.own(Node("shared", "in"), one)
    slots.own(Node("shared", "in"), two)
    assert slots.root(one[0]) == slots.root(two[0])


def test_channels_that_no_layer_makes_are_no_group() -> None:
    slots = Slots()
    slots.own(Node("a", "in"), slots.new(3))
    assert slots.collect().groups == ()
