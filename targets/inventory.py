"""The devices a user has, from one YAML file; `local`, the machine itself, is always among them.

targets:
  kitchen:              # name of the target
    cpu: cortex_a72     # any field of `targets.target.Target`
    tags: [arm, quiet]
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from targets import transports
from targets.target import Target

MAX_BYTES = 1 << 20
MAX_DEPTH = 10
FIELDS = tuple(field.name for field in dataclasses.fields(Target) if field.name != "name")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Of a target: it becomes a folder name and a table's label."""


class InventoryError(Exception):
    """The inventory is at fault: file, line, what is wrong, what to write instead."""


def load_inventory(path: Path | None = None) -> dict[str, Target]:
    """The targets by name, `local` first. Without a path, the file that `$ASSAY_INVENTORY` names; without that, `local` alone."""
    named = os.environ.get("ASSAY_INVENTORY")
    if path is None and named:
        path = Path(named)
    targets = {"local": Target("local")}
    return targets if path is None else targets | _Reader(path).targets()


@dataclass(frozen=True)
class _Reader:
    path: Path

    def targets(self) -> dict[str, Target]:
        root = self._compose()
        if root is None:
            return {}
        top = self._mapping(root, "the inventory")
        for key, (key_node, _) in top.items():
            if key != "targets":
                raise self._error(key_node, f"unknown key `{key}`.{_nearest(key, ['targets'])}")
        if "targets" not in top:
            return {}
        found = self._mapping(top["targets"][1], "`targets`")
        return {name: self._target(name, key_node, node) for name, (key_node, node) in found.items()}

    def _target(self, name: str, key_node: yaml.Node, node: yaml.Node) -> Target:
        if not NAME.fullmatch(name):
            raise self._error(key_node, f"target name {name!r}: at most 64 letters, digits, dots, dashes and underscores")
        given = self._mapping(node, f"target `{name}`")
        for key, (where, _) in given.items():
            if key not in FIELDS:
                raise self._error(where, f"unknown key `{key}` of target `{name}`.{_nearest(key, FIELDS)}")
        document = {"name": name} | {key: self._plain(value) for key, (_, value) in given.items()}
        try:
            target = _TARGET.validate_json(json.dumps(document), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = str(first["loc"][0])
            raise self._error(given[key][1], f"`{key}` of target `{name}`: {first['msg']}, not {first['input']!r}") from None
        if target.transport not in transports.names():
            where = given["transport"][1]
            raise self._error(where, f"unknown transport `{target.transport}`.{_nearest(target.transport, transports.names())}")
        return target

    def _compose(self) -> yaml.Node | None:
        """The document's nodes, which know their lines; anchors are refused, since a few of them unfold to any size."""
        try:
            if self.path.stat().st_size > MAX_BYTES:
                raise InventoryError(f"{self.path}: an inventory has at most {MAX_BYTES} bytes")
            text = self.path.read_text(encoding="utf-8")
            depth = 0
            for event in yaml.parse(text, Loader=yaml.SafeLoader):
                if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                    raise self._error(event, "anchors and aliases (& and *) are not allowed; write the value out")
                depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
                if depth > MAX_DEPTH:
                    raise self._error(event, f"nested deeper than {MAX_DEPTH} levels")
            return yaml.compose(text, Loader=yaml.SafeLoader)
        except UnicodeDecodeError as error:
            raise InventoryError(f"{self.path}: not UTF-8 text: {error}") from None
        except OSError as error:
            raise InventoryError(f"{self.path}: cannot be read: {error.strerror}") from None
        except yaml.MarkedYAMLError as error:
            raise self._error(error, f"not valid YAML: {error.problem or error.context}") from None
        except yaml.YAMLError as error:
            raise InventoryError(f"{self.path}: not valid YAML: {error}") from None

    def _mapping(self, node: yaml.Node, what: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Key text -> (key node, value node); an empty value counts as an empty mapping."""
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
            return {}
        if not isinstance(node, yaml.MappingNode):
            raise self._error(node, f"{what} must be a mapping (`key: value` lines)")
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise self._error(key, f"a key of {what} must be text; put it in quotes")
            if key.value in found:
                raise self._error(key, f"key `{key.value}` of {what} appears twice")
            found[key.value] = (key, value)
        return found

    def _plain(self, node: yaml.Node) -> object:
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item) for item in node.value]
        if not isinstance(node, yaml.ScalarNode):
            raise self._error(node, "expected a value or a list of values")
        if node.tag not in _PLAIN_TAGS:
            raise self._error(node, f"`{node.value}` reads as {node.tag.rpartition(':')[2]}; put it in quotes")
        value: object = yaml.SafeLoader("").construct_object(node)
        return value

    def _error(self, where: yaml.Node | yaml.Event | yaml.MarkedYAMLError, message: str) -> InventoryError:
        mark = where.problem_mark or where.context_mark if isinstance(where, yaml.MarkedYAMLError) else where.start_mark
        return InventoryError(f"{self.path}:{mark.line + 1}: {message}" if mark else f"{self.path}: {message}")


_TARGET = TypeAdapter(Target)
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null")}


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean `{close[0]}`?" if close else f" Known: {', '.join(sorted(known))}."
