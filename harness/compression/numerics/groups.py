"""The nouns of channel pruning: nodes that can shrink, groups of channels that leave together, the edits this takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Node(NamedTuple):
    """One axis of one layer that can shrink. Batch-norm and depthwise convolutions have `out` alone."""

    layer: str
    axis: Literal["out", "in"]


@dataclass(frozen=True, slots=True)
class Dependency:
    """How a group's channels lie on one node."""

    node: Node
    indices: tuple[tuple[int, ...], ...]
    """[channels of the group] the indices of the node's axis that leave with each channel; several after a flattening."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Indices to remove from one node."""

    node: Node
    indices: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.node.layer}: remove {self.node.axis} {', '.join(map(str, self.indices))}"


@dataclass(frozen=True, slots=True)
class Group:
    """Channels that are alike (they lie on the same nodes), each of which leaves all its nodes or none."""

    dependencies: tuple[Dependency, ...]

    @property
    def channels(self) -> int:
        return len(self.dependencies[0].indices)

    def edits(self, channels: Iterable[int]) -> tuple[Edit, ...]:
        """What it takes to remove these channels (0 .. self.channels-1)."""
        chosen = sorted(set(channels))
        return tuple(Edit(d.node, tuple(sorted(i for c in chosen for i in d.indices[c]))) for d in self.dependencies)

    def __str__(self) -> str:
        """The edits that would remove all of it, a line each."""
        return "\n".join(map(str, self.edits(range(self.channels))))


@dataclass(frozen=True, slots=True)
class Dependencies:
    groups: tuple[Group, ...]
    left_alone: dict[str, str]
    """Layers none of whose output channels can leave, and why."""


class Slots:
    """Union-find over channel slots, with what each class owns and why it must stay."""

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.owned: dict[tuple[Node, int], int] = {}
        self.fixed: dict[int, str] = {}

    def new(self, count: int) -> list[int]:
        first = len(self.parent)
        self.parent.extend(range(first, first + count))
        return list(range(first, first + count))

    def root(self, slot: int) -> int:
        while self.parent[slot] != slot:
            self.parent[slot] = self.parent[self.parent[slot]]
            slot = self.parent[slot]
        return slot

    def tie(self, one: int, other: int) -> None:
        one, other = sorted((self.root(one), self.root(other)))
        self.parent[other] = one

    def own(self, node: Node, slots: Sequence[int]) -> None:
        """Index i of the node goes with slots[i]. A layer that is called again ties its calls."""
        for index, slot in enumerate(slots):
            self.tie(self.owned.setdefault((node, index), slot), slot)

    def fix(self, slots: Iterable[int], reason: str) -> None:
        for slot in slots:
            self.fixed.setdefault(slot, reason)

    def collect(self) -> Dependencies:
        reasons: dict[int, str] = {}
        for slot, reason in self.fixed.items():
            reasons.setdefault(self.root(slot), reason)
        classes: dict[int, dict[Node, list[int]]] = defaultdict(lambda: defaultdict(list))
        for (node, index), slot in self.owned.items():
            classes[self.root(slot)][node].append(index)
        alike: dict[frozenset[Node], list[dict[Node, list[int]]]] = defaultdict(list)
        for root in sorted(classes):
            if root not in reasons:
                alike[frozenset(classes[root])].append(classes[root])
        groups = (
            Group(tuple(Dependency(node, tuple(tuple(sorted(channel[node])) for channel in channels)) for node in channels[0]))
            for channels in alike.values()
        )
        free = {node.layer for nodes in alike for node in nodes if node.axis == "out"}
        left = {
            node.layer: reasons[self.root(slot)]
            for (node, _), slot in self.owned.items()
            if node.axis == "out" and node.layer not in free
        }
        return Dependencies(tuple(group for group in groups if any(d.node.axis == "out" for d in group.dependencies)), left)
