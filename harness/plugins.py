"""Plug-ins: a file is one, its name is its file's name. Lists them, loads them, and validates the parameters a suite gives them.

They are found in our own folders, in `$ASSAY_PLUGINS/<folder>/`, and through the entry-point groups `assay.<family>` of installed packages.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import json
import os
import pkgutil
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal

from harness.errors import UserError, nearest


@dataclass(frozen=True, slots=True)
class Choice:
    """A plug-in's name plus the parameters that differ from its defaults, in the order of its fields."""

    name: str
    params: tuple[tuple[str, Any], ...] = ()

    @property
    def label(self) -> str:
        """`magnitude_prune(sparsity=0.9)`: stable, what tables print and cell keys hash."""
        if not self.params:
            return self.name
        return f"{self.name}({', '.join(f'{key}={_text(value)}' for key, value in self.params)})"

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True, slots=True)
class Family:
    noun: str
    package: str
    export: str


FAMILIES = {
    "models": Family("model", "harness.models", "MODEL"),
    "data": Family("data set", "harness.data", "DATA"),
    "methods": Family("method", "harness.compression", "METHOD"),
    "backends": Family("backend", "harness.backends", "BACKEND"),
}


def names(family: str) -> tuple[str, ...]:
    """The plug-ins of a family, sorted; nothing is imported."""
    found = {module.name for module in pkgutil.iter_modules(_package(family).__path__) if not module.ispkg}
    return tuple(sorted(found | set(_entry_points(family))))


@functools.cache
def load(family: str, name: str) -> type[Any]:
    """The class that a plug-in exports; UserError with the nearest name when there is none or it cannot be imported."""
    member = FAMILIES[family]
    known = names(family)
    if name not in known:
        raise UserError(f"unknown {member.noun} `{name}`.{nearest(name, known)}")
    module_name = _entry_points(family).get(name, f"{member.package}.{name}")
    try:
        exported = getattr(importlib.import_module(module_name), member.export)
    except AttributeError:
        raise UserError(
            f"{member.noun} `{name}`: {path(family, name)} exports no `{member.export}`; add `{member.export} = YourClass`"
        ) from None
    except (ImportError, SyntaxError) as error:
        raise UserError(f"{member.noun} `{name}`: {path(family, name)} cannot be imported: {error}") from error
    if not (isinstance(exported, type) and dataclasses.is_dataclass(exported)):
        raise UserError(
            f"{member.noun} `{name}`: `{member.export}` in {path(family, name)} must be a frozen dataclass (the class, not an instance)"
        )
    return exported


@functools.cache
def path(family: str, name: str) -> Path:
    """The plug-in's source file."""
    module_name = _entry_points(family).get(name, f"{FAMILIES[family].package}.{name}")
    _package(family)
    spec = importlib.util.find_spec(module_name)
    if spec is None or spec.origin is None:
        raise UserError(f"{FAMILIES[family].noun} `{name}` has no source file")
    return Path(spec.origin)


@functools.cache
def source_sha256(family: str, name: str) -> str:
    return hashlib.sha256(path(family, name).read_bytes()).hexdigest()


def summary(family: str, name: str) -> str:
    """First line of the plug-in's docstring, read without importing it."""
    text = ast.get_docstring(ast.parse(path(family, name).read_text(encoding="utf-8")))
    return text.splitlines()[0] if text else ""


def resolve(family: str, name: str, params: Mapping[str, Any]) -> Choice:
    """A validated Choice that keeps only what differs from the defaults; UserError names the parameter at fault."""
    plugin = load(family, name)
    fields = {field.name: field for field in _fields(plugin)}
    for key in params:
        if key not in fields:
            known = nearest(key, fields) or " It takes none."
            raise UserError(f"unknown parameter `{key}` of {FAMILIES[family].noun} `{name}`.{known}")
    instance = _validated(family, name, plugin, dict(params))
    changed = []
    for key, field in fields.items():
        value, default = getattr(instance, key), _default(field)
        if value != default or type(value) is not type(default):
            changed.append((key, value))
    return Choice(name, tuple(changed))


def parse_choice(family: str, text: str, more: Iterable[str] = ()) -> Choice:
    """A Choice as the command line and tables spell it: `name`, `name:key=value,key=value` or `name(key=value, key=value)`.

    `more` are further `key=value` texts.
    """
    match = re.fullmatch(r"(\w+)(?:\((.*)\)|:(.*))?", text.strip())
    if match is None:
        raise UserError(f"`{text}`: expected `name` or `name:key=value,key=value`")
    given = [part for part in _between_commas(match[2] or match[3] or "") if part.strip()]
    return resolve(family, match[1], parse_parameters([*given, *more]))


def _between_commas(text: str) -> list[str]:
    """Its parts, where a comma in brackets parts nothing: `hidden=[32, 16]`, `data=npz_file(path=a.npz)`."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def parse_parameters(items: Iterable[str]) -> dict[str, Any]:
    """`key=value` texts as parameters; a value is read as YAML reads it (0.9, true, [a, b])."""
    import yaml

    params = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise UserError(f"parameter `{item}`: expected `key=value`")
        try:
            params[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"parameter `{item}`: `{value}` is not a plain value") from None
    return params


@functools.cache
def instantiate(family: str, choice: Choice) -> Any:
    """The plug-in with the choice's parameters, ready to use."""
    return load(family, choice.name)(**dict(choice.params))


@functools.cache
def named(family: str, text: str) -> Any:
    """The plug-in that a text spells (`cifar10`, `npz_file(path=my.npz)`), ready to use."""
    return instantiate(family, parse_choice(family, text))


def matches(pattern: str, label: str) -> bool:
    """Whether a label is the pattern; `*` stands for any text, and a bare plug-in name for it with any parameters."""
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(rf"{expression}(\(.*\))?" if "(" not in pattern else expression, label, re.DOTALL) is not None


def takes_list(family: str, name: str, parameter: str) -> bool:
    """Whether a parameter is itself a sequence, so that a YAML list is one value of it and not several values to expand."""
    hint = _kinds(load(family, name), include_extras=False).get(parameter)
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return any(typing.get_origin(kind) in (tuple, list, frozenset) for kind in kinds)


def parameters(family: str, name: str) -> tuple[str, ...]:
    """`name = default (type)` of each parameter, for `assay ls`."""
    plugin = load(family, name)
    kinds = _kinds(plugin, include_extras=True)
    return tuple(_parameter_text(field, kinds[field.name]) for field in _fields(plugin))


def _fields(plugin: Any) -> list[dataclasses.Field[Any]]:
    """Its own parameters first, then those it inherits: a label begins with what is particular."""
    own = [*vars(plugin).get("__annotations__", {})]
    return sorted(dataclasses.fields(plugin), key=lambda field: own.index(field.name) if field.name in own else len(own))


def _kinds(plugin: Any, *, include_extras: bool) -> dict[str, Any]:
    """The type of each parameter. Of the fields alone: other annotations may name what is imported for the type checker only.

    An inherited parameter's annotation is text of the module it was written in.
    """
    fields, kinds = {field.name for field in dataclasses.fields(plugin)}, dict[str, Any]()
    for base in reversed(plugin.__mro__):
        annotations = {name: kind for name, kind in vars(base).get("__annotations__", {}).items() if name in fields}
        alone = type(base.__name__, (), {"__annotations__": annotations, "__module__": base.__module__})
        kinds |= typing.get_type_hints(alone, include_extras=include_extras)
    return kinds


def defaults(family: str, name: str) -> dict[str, int | float]:
    """The numbers among a plug-in's defaults: its labels leave them out."""
    values = {field.name: _default(field) for field in dataclasses.fields(load(family, name))}
    return {key: value for key, value in values.items() if isinstance(value, (int, float)) and not isinstance(value, bool)}


def _validated(family: str, name: str, plugin: Any, params: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    try:
        return _adapter(plugin).validate_json(json.dumps(params), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "missing":
            raise UserError(
                f"parameter `{first['loc'][0]}` of {FAMILIES[family].noun} `{name}` is required: it has no default"
            ) from None
        if not first["loc"] and first["type"] == "value_error":  # what its __post_init__ says of parameters together
            raise UserError(f"{FAMILIES[family].noun} `{name}`: {first['ctx']['error']}") from None
        parameter, *inner = first["loc"] or (name,)
        where = ".".join(map(str, [parameter, *(part for part in inner if isinstance(part, int))]))
        kind = _kinds(plugin, include_extras=True).get(str(parameter))
        says = f"expected {_kind_text(kind)}" if typing.get_origin(kind) in (typing.Union, types.UnionType) else first["msg"]
        given = first.get("input")
        raise UserError(f"parameter `{where}` of {FAMILIES[family].noun} `{name}`: {says}, not {given!r}") from None
    except (TypeError, ValueError, UserError) as error:
        raise UserError(f"{FAMILIES[family].noun} `{name}`: {error}") from error


def _parameter_text(field: dataclasses.Field[Any], kind: Any) -> str:
    default = _default(field)
    if default is dataclasses.MISSING:
        return f"{field.name} ({_kind_text(kind)}, required)"
    return f"{field.name} = {default!r} ({_kind_text(kind)})"


def _kind_text(kind: Any) -> str:
    """A type as the writer of a suite wants it: `int ≥ 1`, `'none' | 'shift'`."""
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is Annotated:
        limits = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
        signs = [f"{sign} {getattr(limit, name)}" for limit in inner[1:] for name, sign in limits.items() if hasattr(limit, name)]
        return f"{_kind_text(inner[0])} {', '.join(signs)}".rstrip()
    if typing.get_origin(kind) is tuple:
        return f"list of {_kind_text(inner[0])}"
    if typing.get_origin(kind) is Literal:
        return " | ".join(map(repr, inner))
    return " | ".join(map(_kind_text, inner)) if inner else str(getattr(kind, "__name__", kind)).replace("NoneType", "None")


@functools.cache
def _adapter(plugin: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(plugin)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _package(family: str) -> types.ModuleType:
    member = FAMILIES[family]
    package = importlib.import_module(member.package)
    extra = os.environ.get("ASSAY_PLUGINS")
    if extra:
        folder = str(Path(extra) / member.package.rpartition(".")[2])
        if folder not in package.__path__:
            package.__path__.append(folder)
    return package


@functools.cache
def _entry_points(family: str) -> dict[str, str]:
    return {point.name: point.module for point in entry_points(group=f"assay.{family}")}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_text(v) for v in value) + "]"
    return format(value, "g") if isinstance(value, float) else str(value)
