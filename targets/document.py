"""Strict YAML: plain values and where each stands; no tags, no anchors, no duplicate keys, bounded size and depth."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from targets.errors import UserError, nearest

Place = tuple[str | int, ...]
"""Where a value stands in the document: ('methods', 1, 'magnitude_prune', 'sparsity')."""

MAX_BYTES = 1 << 20
MAX_DEPTH = 20


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file and where each of its values stands."""

    path: Path
    value: Any
    places: dict[Place, str]
    """`suite.yaml:12` of each key and value."""

    def where(self, place: Place) -> str:
        """`suite.yaml:12`, for the nearest place above that has a line."""
        for end in range(len(place), -1, -1):
            if place[:end] in self.places:
                return self.places[place[:end]]
        return str(self.path)


class Reader:
    """Reads typed values out of a document; every complaint carries the line."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def settings(self, place: Place, kind: type[Any], given: Any) -> Any:
        """A settings dataclass from a mapping, strictly typed."""
        from pydantic import TypeAdapter, ValidationError

        self.keys(given, place, tuple(field.name for field in dataclasses.fields(kind)))
        try:
            return TypeAdapter(kind).validate_json(json.dumps(given), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise self.error((*place, *first["loc"]), f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None

    def keys(self, given: Any, place: Place, known: Sequence[str]) -> None:
        if not isinstance(given, dict):
            raise self.error(place, f"expected a mapping with the keys {', '.join(known)}, not {given!r}")
        for key in given:
            if key not in known:
                raise self.error((*place, key), f"unknown key `{key}`.{nearest(key, known)}")

    def error(self, place: Place, message: str) -> UserError:
        return UserError(f"{self.document.where(place)}: {message}")


def read_document(path: Path) -> Document:
    """Parse one YAML file; UserError with file and line for everything that is not plain data."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(f"{path}: {size:,} bytes; at most {MAX_BYTES:,} are read")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_document(text, path)


def parse_document(text: str, path: Path) -> Document:
    try:
        _refuse_indirection(text, path)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(f"{where}: not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    places: dict[Place, str] = {}
    return Document(path, None if node is None else _value(node, (), path, places), places)


def _refuse_indirection(text: str, path: Path) -> None:
    """Anchors could unfold without end and tags could name objects: neither has a use here."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        where = _where(path, event)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise UserError(f"{where}: anchors and aliases (& and *) are not allowed; write the value out")
        if tag := getattr(event, "tag", None):
            raise UserError(f"{where}: tag `{tag}` is not allowed; write plain values")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise UserError(f"{where}: nested deeper than {MAX_DEPTH} levels")


def _value(node: yaml.Node, place: Place, path: Path, places: dict[Place, str]) -> Any:
    places.setdefault(place, _where(path, node))
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            where = _where(path, key_node)
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
                raise UserError(f"{where}: a key must be text, not {key!r}")
            if key in mapping:
                raise UserError(f"{where}: key `{key}` appears twice; first at {places[(*place, key)]}")
            places[(*place, key)] = where
            mapping[key] = _value(value_node, (*place, key), path, places)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*place, index), path, places) for index, item in enumerate(node.value)]
    assert isinstance(node, yaml.ScalarNode)
    constructor = yaml.SafeLoader("")
    value = constructor.construct_object(node)
    if not isinstance(value, (str, int, float, bool, type(None))):
        raise UserError(f"{_where(path, node)}: `{node.value}` reads as {type(value).__name__}; put it in quotes")
    return value


def _where(path: Path, part: yaml.Node | yaml.Event) -> str:
    return f"{path}:{part.start_mark.line + 1}" if part.start_mark else str(path)
