"""Meters: a file exports `METER`, a frozen dataclass of its parameters, which opens a window on power channels and leaves a Trace.

METER(...).window(session) is a context manager of a Recording. Before its body runs, it has begun to record or knows why it cannot; a sensor
that is missing is a NoTrace with the reason, not an error. What the connection itself does (`targets.session.TargetError`) goes on up.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import json
import os
import pkgutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from targets.errors import UserError, nearest
from targets.session import Session
from targets.target import Target

if TYPE_CHECKING:
    from targets.power.trace import NoTrace, Tier, Trace
    from targets.power.work import Work


class Recording(Protocol):
    def stop(self) -> None:
        """End it; twice is fine. The end of the window does so, too."""

    @property
    def trace(self) -> Trace | NoTrace:
        """What was recorded, once it is stopped."""


@dataclass(frozen=True, slots=True)
class Silent:
    """A recording of what cannot be recorded."""

    trace: NoTrace

    def stop(self) -> None:
        pass


class Meter(Protocol):
    @property
    def tier(self) -> Tier: ...

    def window(self, session: Session) -> AbstractContextManager[Recording]: ...


class Model(Protocol):
    """In place of `window`: no sensor, but what an inference takes by a model of it, each part by its name. Always `estimated`."""

    @property
    def tier(self) -> Tier: ...

    def joules(self, work: Work) -> Mapping[str, float]: ...


def names() -> tuple[str, ...]:
    """Those here, and those in `meters/` of the folder that `$ASSAY_PLUGINS` names."""
    folder = str(Path(os.environ["ASSAY_PLUGINS"]) / "meters") if os.environ.get("ASSAY_PLUGINS") else ""
    if folder and folder not in __path__:
        __path__.append(folder)
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def summary(name: str) -> str:
    """First line of its docstring, read without importing it."""
    file = next(path for folder in __path__ if (path := Path(folder) / f"{name}.py").exists())
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def spelled(name: str, parameters: Mapping[str, Any]) -> str:
    """A meter as a Target keeps it: its name, then its parameters as JSON where it is given some. UserError for what is wrong in them."""
    text = f"{name} {json.dumps(parameters, sort_keys=True)}" if parameters else name
    loaded(text)
    return text


def documents(target: Target) -> list[str | dict[str, Any]]:
    """The target's meters as an inventory spells them."""
    parted = [text.partition(" ") for text in target.meters]
    return [{name: json.loads(parameters)} if parameters else name for name, _, parameters in parted]


def meters_of(target: Target) -> dict[str, Meter]:
    """The target's meters by name (two of one name: with their parameters), ready to use.

    Those that read the device's /sys read it where the target says it is.
    """
    return {name: meter for name, meter in _of(target).items() if not hasattr(meter, "joules")}


def models_of(target: Target) -> dict[str, Model]:
    return {name: model for name, model in _of(target).items() if hasattr(model, "joules")}


def _of(target: Target) -> dict[str, Any]:
    names = [text.partition(" ")[0] for text in target.meters]
    keys = [name if names.count(name) == 1 else text for name, text in zip(names, target.meters, strict=True)]
    return {key: _at(loaded(text), target.sysfs) for key, text in zip(keys, target.meters, strict=True)}


def _at(meter: Any, sysfs: str) -> Any:
    return dataclasses.replace(meter, sysfs=sysfs) if getattr(meter, "sysfs", None) == "" else meter


@functools.cache
def loaded(text: str) -> Any:
    """The meter that `spelled` wrote."""
    from pydantic import TypeAdapter, ValidationError

    name, _, given = text.partition(" ")
    if name not in names():
        raise UserError(f"unknown meter `{name}`.{nearest(name, names())}")
    kind = importlib.import_module(f"{__name__}.{name}").METER
    known = tuple(field.name for field in dataclasses.fields(kind))
    try:
        parameters = json.loads(given or "{}")
    except ValueError as error:
        raise UserError(f"meter `{name}`: its parameters {given!r} are no JSON: {error}") from None
    for key in parameters:
        if key not in known:
            raise UserError(f"unknown parameter `{key}` of meter `{name}`.{nearest(key, known) or ' It takes none.'}")
    try:
        return TypeAdapter(kind).validate_json(json.dumps(parameters), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UserError(f"meter `{name}`: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
