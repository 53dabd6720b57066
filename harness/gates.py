"""Quality gates: whether the artifacts of a model answered well enough for their other figures to count, in a line each."""

from __future__ import annotations

from collections.abc import Sequence

from harness.suite import Gate
from results.paper import POINT_AXES
from results.record import Record

_AXES = ("method", "backend", "target", *POINT_AXES)


def gates_text(gates: Sequence[Gate], records: Sequence[Record]) -> str:
    """A line a gate: whether every artifact of its model reaches the least quality, and which do not."""
    return "\n".join(_gate_text(gate, records) for gate in gates)


def _gate_text(gate: Gate, records: Sequence[Record]) -> str:
    judged = [(record, quality) for record in records if (quality := _quality(record, gate)) is not None]
    telling = [axis for axis in _AXES if len({getattr(record.axes, axis) for record, _ in judged}) > 1] or ["method"]
    missed = [
        f"{' | '.join(str(getattr(record.axes, axis)) for axis in telling)} {quality:.4f}"
        for record, quality in judged
        if quality < gate.least
    ]
    verdict = f"missed by {len(missed)} of {len(judged)}: {'; '.join(missed)}" if missed else f"reached by all {len(judged)}"
    return f"gate: {gate.model}, {gate.metric} at least {gate.least:g}: {verdict if judged else 'nothing was judged'}"


def _quality(record: Record, gate: Gate) -> float | None:
    """Of a whole network's record; None where nothing was judged."""
    from results.quality import QUALITIES

    if record.axes.model != gate.model or record.axes.layer is not None:
        return None
    judged = [m.samples for m in record.measurements if m.metric == gate.metric and m.samples is not None]
    return float(QUALITIES[gate.metric].estimate(judged[0])) if judged else None
