"""Which inputs of a cell differ between two of its records: sources, data, versions, sampling, machine, by what their provenance says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from reports.tree import listed, section
from results.printable import printable
from results.record import Record

_UNRECORDED = "the input hash differs by something that provenance does not hold: the harness's measuring sources, or the target's description"
_PASSING = frozenset({"boot_id", "ram_bytes"})
"""Machine facts that the machine key leaves out: a reboot is no other machine."""
_SHOWN = 60
"""Characters of a value."""


class Changed(NamedTuple):
    """One input that is not what it was; `before` or `after` is empty where there was none."""

    part: str
    """`commit`, `versions`, `runtime`, `sources`, `data`, `sampling`, `seeds`, `artifact`, `machine`, or `unrecorded`."""
    name: str
    before: str
    after: str

    def __str__(self) -> str:
        """`versions packages.onnxruntime: 1.30.0 → 1.31.1`."""
        ends = f": {self.before or '(none)'} → {self.after or '(none)'}" if self.before or self.after else ""
        return printable(f"{self.part} {self.name}{ends}")


def changed_inputs(before: Record, after: Record) -> tuple[Changed, ...]:
    """What differs between the inputs of two records of one cell, and what follows from them (the artifact)."""
    found = tuple(_differences(_parts(before), _parts(after)))
    if not found and before.input_hash != after.input_hash:
        return (Changed("unrecorded", _UNRECORDED, "", ""),)
    return found


def changed_machine(before: Record, after: Record) -> tuple[Changed, ...]:
    """What differs between the machines of two records."""
    return tuple(_differences({"machine": _machine(before)}, {"machine": _machine(after)}))


def _parts(record: Record) -> dict[str, Mapping[str, Any]]:
    at = record.provenance
    who, answer, artifact = (section(at, *path) for path in (("who",), ("runtime", "answer"), ("artifact",)))
    git = section(who, "git")
    return {
        "commit": {"commit": git.get("commit"), "edited since the commit": git.get("dirty")},
        "versions": {"python": who.get("python"), "packages": who.get("packages")},
        "runtime": {**section(answer, "versions"), **section(answer, "facts")},
        "sources": _steps(at),
        "data": section(at, "data"),
        "sampling": section(at, "sampling"),
        "seeds": section(at, "seeds"),
        "artifact": {"sha256": artifact.get("sha256"), "facts": artifact.get("facts")},
    }


def _steps(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs of each step that made the artifact; a step's key repeats those of all steps before it, so it is left out."""
    found: dict[str, Any] = {}
    for step in listed(section(provenance, "model").get("steps")):
        kind = str(section(step).get("kind"))
        found[kind if kind not in found else f"{kind} {len(found)}"] = section(step, "inputs")
    return found


def _machine(record: Record) -> dict[str, Any]:
    facts = section(record.provenance, "device", "facts")
    return {name: value for name, value in facts.items() if name not in _PASSING}


def _differences(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> Iterator[Changed]:
    """Leaf by leaf. A version that two parts state alike is told once."""
    told = set()
    for part in before:
        one, other = dict(_leaves(before[part])), dict(_leaves(after[part]))
        for path in dict.fromkeys((*one, *other)):
            old, new = one.get(path), other.get(path)
            told_as = (path[-1], str(old), str(new))
            if old != new and told_as not in told:
                told.add(told_as)
                yield Changed(part, ".".join(path), *_shown(old, new))


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, (*path, str(name)))
    elif path:
        yield path, value


def _shown(old: Any, new: Any) -> tuple[str, str]:
    """Of two lists only what the other lacks; of hashes the beginning."""
    if isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)) and (set(map(str, old)) != set(map(str, new))):
        old, new = [x for x in old if x not in new], [x for x in new if x not in old]
    return _text(old), _text(new)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        value = ", ".join(map(str, value))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if len(text) in (40, 64) and all(c in "0123456789abcdef" for c in text):
        return text[:12]
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
