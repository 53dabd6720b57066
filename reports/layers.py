"""Layers: where a network's time goes, and how near each part is to what the machine can do at best.

Two sources leave the same rows: a profile that the backend gave with the network, and layers that the suite measured each by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from reports.contests import network_of
from reports.findings import Findings, Quantity
from reports.matrix import Place, place_of
from reports.rounding import Scale, alone, printed, scale_for
from results.profile import Profile, Roofline, parse_profile
from results.record import Record

MAX_SHOWN = 12
"""Networks whose layers the page of a run shows; the others' stand on their cells' pages."""


class Layer(NamedTuple):
    """One layer or operator as text, and its bars in percent of the longest time."""

    name: str
    op: str
    time: str
    share: str
    """Of the time of all rows."""
    bar: float
    floor_bar: float
    """The part of the bar that the machine needs at best; 0 where that is not known."""
    floor: str
    """The same, as a share of the time."""
    macs: str
    format: str
    sparsity: str
    record_id: str | None = None
    not_measured: str | None = None
    """`simulated`, `emulated` or `estimated`."""


class Layers(NamedTuple):
    place: Place
    """Of the network."""
    record_id: str | None
    """The network's own cell."""
    rows: tuple[Layer, ...]
    source: str
    """Where the times come from, and what they add up to."""


class _Part(NamedTuple):
    name: str
    time: Quantity
    macs: float | None
    traffic_bytes: float | None
    op: str = ""
    format: str = ""
    sparsity: float | None = None
    record_id: str | None = None


def layers_of_run(findings: Findings) -> tuple[tuple[Layers, ...], int]:
    """The first networks that have layers, in the suite's order, and how many more there are. Own measurements go before profiles."""
    parts: dict[Place, list[Record]] = {}
    networks: dict[Place, Record] = {}
    for place, record in findings.matrix.records.items():
        if record.status != "ok":
            continue
        if record.axes.layer is not None:
            parts.setdefault(place._replace(model=network_of(record)), []).append(record)
        elif "profile" in record.provenance:
            networks[place] = record
    found = []
    for place in findings.matrix.records:
        if place in networks and place not in parts:
            layers = profiled(networks[place])
            found += [layers] if isinstance(layers, Layers) else []
    for place, records in parts.items():
        found.append(_measured(findings, place, records, networks.get(place)))
    return tuple(found[:MAX_SHOWN]), max(0, len(found) - MAX_SHOWN)


def profiled(record: Record) -> Layers | str | None:
    """The operators of a record's own profile; None where it has none; why, where it cannot be read."""
    if "profile" not in record.provenance:
        return None
    try:
        profile = parse_profile(record.provenance["profile"])
    except ValueError as error:
        return f"The profile that was kept cannot be read: {error}."
    parts = [
        _Part(o.layer or o.name, Quantity("s", o.time_s), o.macs, o.bytes, o.op or "", o.format or "", o.sparsity)
        for o in profile.operators
    ]
    if not parts:
        return "The profile that was kept lists no operator."
    remark = f" {profile.remark[:1].upper()}{profile.remark[1:].rstrip('.')}." if profile.remark else ""
    source = "Times of the operators within the network, as the backend’s own profiler gives them"
    return Layers(place_of(record.axes), record.id, _rows(parts, profile.roofline), f"{source}{_total(parts)}.{remark}")


def _measured(findings: Findings, place: Place, records: Sequence[Record], network: Record | None) -> Layers:
    whole = findings.matrix.records.get(place)
    return Layers(
        place,
        None if whole is None else whole.id,
        _rows([_of_record(findings, record) for record in records], _roofline([*records, *([network] if network else [])])),
        f"Each layer was cut out of the network and measured by itself{_total([_of_record(findings, r) for r in records])}.",
    )


def _of_record(findings: Findings, record: Record) -> _Part:
    claims = {name: v for name, v in record.claims.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    params, nonzero, bits = claims.get("params"), claims.get("nonzero_params"), claims.get("weight_bits")
    return _Part(
        record.axes.layer or "",
        findings.quantity(record, "latency"),
        claims.get("nonzero_macs"),
        claims.get("weight_bytes"),
        format="" if bits is None else f"{bits:g} bit",
        sparsity=1 - nonzero / params if params and nonzero is not None else None,
        record_id=record.id,
    )


def _roofline(records: Iterable[Record]) -> Roofline | None:
    """The first that any of these cells of one machine was given."""
    for record in records:
        if "profile" in record.provenance:
            try:
                profile: Profile = parse_profile(record.provenance["profile"])
            except ValueError:
                continue
            if profile.roofline is not None:
                return profile.roofline
    return None


def _rows(parts: Sequence[_Part], roofline: Roofline | None) -> tuple[Layer, ...]:
    times = [part.time.value for part in parts if part.time.value is not None]
    longest, total = max(times, default=0.0), sum(times)
    scale = scale_for("count", "macs", [part.macs for part in parts if part.macs])
    return tuple(_row(part, longest, total, scale, roofline) for part in parts)


def _row(part: _Part, longest: float, total: float, scale: Scale, roofline: Roofline | None) -> Layer:
    time = part.time.value
    least = None if roofline is None else roofline.floor_s(part.macs, part.traffic_bytes)
    reached = least / time if least is not None and time else None
    return Layer(
        part.name,
        part.op,
        alone("latency", part.time) if time is not None else "–",
        _percent(time / total if time is not None and total else None),
        round(100 * time / longest, 1) if time and longest else 0.0,
        round(100 * min(reached, 1.0) * time / longest, 1) if reached is not None and time and longest else 0.0,
        _percent(reached),
        "" if part.macs is None else f"{printed(scale, part.macs).value} {scale.unit}".strip(),
        part.format,
        _percent(part.sparsity),
        part.record_id,
        part.time.origin if part.time.origin not in (None, "measured") else None,
    )


def _total(parts: Sequence[_Part]) -> str:
    times = [part.time.value for part in parts if part.time.value is not None]
    return f"; together {alone('latency', Quantity('s', sum(times)))}" if times else ""


def _percent(share: float | None) -> str:
    return "" if share is None else f"{printed(Scale('%', 0.01, 1), share).value} %"
