"""Families of methods: one plug-in whose one number is swept, like `prune(sparsity=0.5)` and `prune(sparsity=0.9)`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_PARAMETER = re.compile(r"(\w+)=(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)(?=[,)])")


class Strength(NamedTuple):
    """Where a method stands in its family. A method that nothing is swept of is a family of its own, without a parameter."""

    family: str
    parameter: str = ""
    value: float | None = None

    @property
    def label(self) -> str:
        return "" if self.value is None else f"{self.value:g}"


def strengths(labels: Iterable[str], defaults: Mapping[str, Mapping[str, Any]]) -> dict[str, Strength]:
    """Method label -> its family. `defaults`: plug-in -> parameters that its labels leave out, as stored with the run.

    The swept parameter of a plug-in is the number that takes most values; what else differs makes families apart.
    """
    plugins: dict[str, list[str]] = {}
    for label in labels:
        plugins.setdefault(label.partition("(")[0], []).append(label)
    found: dict[str, Strength] = {}
    for plugin, members in plugins.items():
        numbers = {label: _numbers(label, defaults.get(plugin, {})) for label in members}
        values: dict[str, set[float]] = {}
        for given in numbers.values():
            for name, value in given.items():
                values.setdefault(name, set()).add(value)
        swept = max(values, key=lambda name: len(values[name]), default="")
        if not swept or len(values[swept]) < 2:
            found.update((label, Strength(label)) for label in members)
            continue
        for label in members:
            value_or_none = numbers[label].get(swept)
            found[label] = Strength(label) if value_or_none is None else Strength(_without(label, swept), swept, value_or_none)
    return found


def short_names(known: Mapping[str, Strength]) -> dict[str, str]:
    """Family -> its plug-in's name, where no other family has the same."""
    families = dict.fromkeys(strength.family for strength in known.values())
    plugins = [family.partition("(")[0] for family in families]
    return {family: plugin if plugins.count(plugin) == 1 else family for family, plugin in zip(families, plugins, strict=True)}


def _numbers(label: str, defaults: Mapping[str, Any]) -> dict[str, float]:
    numbers = {name: float(v) for name, v in defaults.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    return numbers | {name: float(value) for name, value in _PARAMETER.findall(label)}


def _without(label: str, parameter: str) -> str:
    rest = re.sub(rf"(?<=[(,\s]){parameter}=[^,)]*(, )?", "", label).replace(", )", ")")
    return rest.removesuffix("()")
