"""The devices a user has, from one YAML file; `local`, the machine itself, is always among them.

targets:
  kitchen:              # name of the target
    cpu: cortex_a72     # any field of `targets.target.Target`
    tags: [arm, quiet]
"""

from __future__ import annotations

import dataclasses
import os
import re
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from targets import meters, transports
from targets.document import Reader, parse_document, read_document
from targets.errors import UserError, nearest
from targets.target import SETTLED, Target

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Of a target: it becomes a folder name and a table's label."""
NAMES = "at most 64 letters, digits, dots, dashes and underscores, a letter or digit first"
_BETWEEN = re.compile(r"\s*(#.*)?\s*")
"""A line that is of no entry."""
_KEY = re.compile(r"^targets:", re.MULTILINE)
_FIRST_ENTRY = re.compile(r"^targets:.*\n(?:[ \t]*(?:#.*)?\n)*( +)[^\s#]", re.MULTILINE)


def inventory_path(given: Path | None = None) -> Path | None:
    """The inventory in use: the file that is given, or the one that `$ASSAY_INVENTORY` names."""
    named = os.environ.get("ASSAY_INVENTORY")
    return given or (Path(named) if named else None)


def written_inventory(given: Path | None = None) -> Path:
    """The inventory that a command writes into; it may not exist yet. UserError where none is named."""
    path = inventory_path(given)
    if path is None:
        raise UserError("which inventory? name a file by --inventory, or by $ASSAY_INVENTORY; it may not exist yet")
    return path


def load_inventory(path: Path | None = None) -> dict[str, Target]:
    """The targets by name, `local` first; without a file, `local` alone. UserError with file and line for what is wrong in it."""
    found = inventory_path(path)
    return {"local": Target("local")} | ({} if found is None else _Reader(read_document(found)).targets())


def check_is_new(path: Path, name: str) -> None:
    """UserError where an inventory, which may not exist yet, can have no new target of that name."""
    if not NAME.fullmatch(name):
        raise UserError(f"target name {name!r}: {NAMES}")
    if name in (load_inventory(path) if path.exists() else ("local",)):
        raise UserError(f"{path}: there is a target `{name}` already; delete its entry, or choose another name")


def add_entry(path: Path, target: Target, entry: str) -> None:
    """Append a target's entry to an inventory file, which may not exist yet; all that stands there stays, comments too.

    The new text is read back before it takes the old one's place: it must say what was there and the new target, nothing else.
    """
    check_is_new(path, target.name)
    path = path.resolve()
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    there = _Reader(parse_document(before, path)).targets()
    head = before + ("" if before.endswith("\n") or not before else "\n") + ("" if _KEY.search(before) else "targets:\n")
    indent = match[1] if (match := _FIRST_ENTRY.search(head)) else "  "
    text = head + textwrap.indent(entry, indent)
    try:
        after = _Reader(parse_document(text, path)).targets()
    except UserError:
        after = {}
    if after != there | {target.name: target}:
        raise UserError(f"{path} is written in a way that cannot be added to; write this below `targets:` yourself:\n{entry}")
    _replace(path, text)


def remove_entry(path: Path, name: str) -> None:
    """Take a target's entry out of an inventory file; all else stays, comments too. Absent is fine."""
    if not path.exists():
        return
    path = path.resolve()
    text = path.read_text(encoding="utf-8")
    document = parse_document(text, path)
    there = _Reader(document).targets()
    if name not in there:
        return
    starts = sorted(int(document.where(("targets", other)).rpartition(":")[2]) for other in there)
    first = int(document.where(("targets", name)).rpartition(":")[2])
    lines = text.splitlines(keepends=True)
    last = next((start - 1 for start in starts if start > first), len(lines))
    while last > first and _BETWEEN.fullmatch(lines[last - 1]):
        last -= 1
    after = "".join(lines[: first - 1] + lines[last:])
    try:
        left = _Reader(parse_document(after, path)).targets()
    except UserError:
        left = {}
    if left != {other: target for other, target in there.items() if other != name}:
        raise UserError(f"{path} is written in a way that cannot be taken from; delete the entry `{name}` yourself")
    _replace(path, after)


def entry_text(target: Target, about: str) -> str:
    """The target as an entry of an inventory file, not indented: what differs from the defaults, and one line of what it is."""
    defaults = replace(Target(target.name), host=target.address)
    values = {
        field.name: (meters.documents(target) if field.name == "meters" else list(value)) if isinstance(value, tuple) else value
        for field in dataclasses.fields(target)
        if field.name != "name" and (value := getattr(target, field.name)) != getattr(defaults, field.name)
    }
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None, width=10_000)
    return "\n".join([f"{target.name}:  # {about}", *(f"  {line}" for line in text.splitlines())]) + "\n"


def _replace(path: Path, text: str) -> None:
    """The whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        if path.exists():
            temporary.chmod(path.stat().st_mode & 0o7777)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


class _Reader(Reader):
    def targets(self) -> dict[str, Target]:
        top = self._mapping((), self.document.value)
        self.keys(top, (), ("targets",))
        return {name: self._target(name, given) for name, given in self._mapping(("targets",), top.get("targets")).items()}

    def _target(self, name: str, given: Any) -> Target:
        place = ("targets", name)
        if not NAME.fullmatch(name):
            raise self.error(place, f"target name {name!r}: {NAMES}")
        values = self._mapping(place, given)
        if "name" in values:
            raise self.error((*place, "name"), f"the name of target `{name}` is its key; delete this line")
        if "meters" in values:
            values = values | {"meters": self._meters((*place, "meters"), values["meters"])}
        target: Target = self.settings(place, Target, {"name": name} | values)
        if target.transport not in transports.names():
            hint = nearest(target.transport, transports.names())
            raise self.error((*place, "transport"), f"unknown transport `{target.transport}`.{hint}")
        for field, value in SETTLED.get(target.transport, {}).items():
            if values.get(field, value) != value:
                raise self.error(
                    (*place, field), f"with the transport `{target.transport}`, `{field}` is `{value}`; delete this line"
                )
        if target.transport != "local" and not target.isa:
            raise self.error(place, f"target `{name}`: say its `isa` (x86_64, aarch64, armv7l, riscv64); `uname -m` there tells")
        return target

    def _meters(self, place: tuple[str, ...], given: Any) -> list[str]:
        """Names, each alone or with a mapping of its parameters: `[rapl, {serial_line: {port: /dev/ttyUSB0}}]`."""
        if not isinstance(given, list):
            raise self.error(place, f"expected a list of meters, not {given!r}")
        found = []
        for index, item in enumerate(given):
            name, parameters = next(iter(item.items())) if isinstance(item, dict) and len(item) == 1 else (item, {})
            if not isinstance(name, str) or not isinstance(parameters, dict):
                raise self.error((*place, index), f"expected `name` or `{{name: {{parameter: value}}}}`, not {item!r}")
            try:
                found.append(meters.spelled(name, parameters))
            except UserError as error:
                raise self.error((*place, index), str(error)) from None
        return found

    def _mapping(self, place: tuple[str, ...], given: Any) -> dict[str, Any]:
        """An empty value counts as an empty mapping."""
        if given is None:
            return {}
        if not isinstance(given, dict):
            raise self.error(place, f"{'.'.join(place) or 'the inventory'} must be a mapping (`key: value` lines)")
        return given
