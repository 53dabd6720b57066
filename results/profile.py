"""Where the time of one inference goes, operator by operator, and what the machine could do at best: `provenance["profile"]` of a record.

    {"operators": [{"name": "conv1", "op": "Conv", "layer": "stem.conv", "time_s": 1.2e-5, "macs": 442368, "bytes": 38000,
                    "format": "int8 per channel", "sparsity": 0.5}, ...],
     "roofline": {"peak_flops": 1.1e11, "bandwidth_bytes_per_s": 2.0e10},
     "remark": null}

Of an operator only its name must be known, and anything else may be null; so may the roofline, and then `remark` may say why.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_OPERATORS = 20_000
"""More is no network of today, and a device is not trusted."""


@dataclass(frozen=True, slots=True)
class Operator:
    name: str
    """Of the node, as the backend calls it."""
    op: str | None = None
    """Its kind: `Conv`, `FULLY_CONNECTED` ..."""
    layer: str | None = None
    """Dotted name of the network's module that it came from."""
    time_s: float | None = None
    """Typical time in one inference."""
    macs: float | None = None
    """Multiply-accumulates that are really done: those of zeros that a kernel skips are not in it."""
    bytes: float | None = None
    """Least traffic: weights, inputs and outputs, each once."""
    format: str | None = None
    """Of the weights, in words: `float32`, `int8 per channel`, `blocks of 16`."""
    sparsity: float | None = None
    """Share of the weights that are zero."""

    def __post_init__(self) -> None:
        for name in ("time_s", "macs", "bytes", "sparsity"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 <= value < math.inf):
                raise ValueError(f"operator `{self.name}`: {name} is {value!r}, no number from 0 up")
        if self.sparsity is not None and self.sparsity > 1:
            raise ValueError(f"operator `{self.name}`: sparsity is {self.sparsity!r}, a share of at most 1")


@dataclass(frozen=True, slots=True)
class Roofline:
    """What the machine can do at best, as measured on it (Williams, Waterman & Patterson 2009)."""

    peak_flops: float | None = None
    """Floating-point operations a second (a multiply-accumulate is two), or the integer ones of the arithmetic that is used."""
    bandwidth_bytes_per_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("peak_flops", "bandwidth_bytes_per_s"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 < value < math.inf):
                raise ValueError(f"roofline: {name} is {value!r}, no number above 0")

    def floor_s(self, macs: float | None, traffic_bytes: float | None) -> float | None:
        """The time that nothing can go below: max(2 · MACs / peak, bytes / bandwidth), of what is known of it."""
        bounds = []
        if macs is not None and self.peak_flops is not None:
            bounds.append(2 * macs / self.peak_flops)
        if traffic_bytes is not None and self.bandwidth_bytes_per_s is not None:
            bounds.append(traffic_bytes / self.bandwidth_bytes_per_s)
        return max(bounds, default=None)


@dataclass(frozen=True, slots=True)
class Profile:
    operators: tuple[Operator, ...]
    """In the order they run."""
    roofline: Roofline | None = None
    remark: str | None = None
    """Why something is missing, in a sentence's part."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def parse_profile(document: Any) -> Profile:
    """The inverse of `Profile.to_json`. ValueError names what is wrong."""
    if not isinstance(document, Mapping) or not isinstance(document.get("operators"), (list, tuple)):
        raise ValueError("a profile is a mapping with a list of `operators`")
    operators, roofline = document["operators"], document.get("roofline")
    if len(operators) > MAX_OPERATORS:
        raise ValueError(f"{len(operators):,} operators; at most {MAX_OPERATORS:,} are kept")
    found = tuple(_operator(entry, number) for number, entry in enumerate(operators))
    remark = document.get("remark")
    if not (remark is None or isinstance(remark, str)):
        raise ValueError(f"remark is {remark!r}, no text")
    return Profile(found, None if roofline is None else Roofline(**_known(roofline, Roofline, "roofline")), remark)


def _operator(entry: Any, number: int) -> Operator:
    values = _known(entry, Operator, f"operator {number}")
    for name in ("name", "op", "layer", "format"):
        value = values.get(name)
        if not (isinstance(value, str) or (value is None and name != "name")):
            raise ValueError(f"operator {number}: {name} is {value!r}, no text")
    return Operator(**values)


def _known(entry: Any, kind: type, where: str) -> dict[str, Any]:
    """The entry's values, of which each must be a field of `kind`."""
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where} is {entry!r}, no mapping")
    unknown = sorted(set(entry) - {field.name for field in dataclasses.fields(kind)})
    if unknown:
        raise ValueError(f"{where} has the unknown key `{unknown[0]}`")
    return dict(entry)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
