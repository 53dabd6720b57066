"""Where a network's time goes on a device: the runtime's own operator times, joined with what each operator must compute and move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness import measure
from harness.compression import Numeric
from harness.errors import BuildError, RunnerError, Unsupported
from harness.export import Exported
from harness.forms.costs import Cost, operator_costs
from harness.roofline import measured_roofline
from harness.runners.reply import OperatorTime
from results.profile import Operator, Profile
from targets.session import Session
from targets.target import Target


def profiled(
    session: Session,
    deployed: measure.Deployed,
    inputs: Sequence[measure.Array],
    exported: Exported,
    target: Target,
    *,
    numeric: Numeric,
    batch: int,
    timeout_s: float,
    layers: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """One launch under the profiler, then the roofline for the memory that the network touches: `provenance["profile"]` of a record.

    `layers`: what the compiler of a program says of the operators that it times, in their order (`layers` of the artifact's facts).

    Where no roofline can be had, it is null and `remark` says why: operator times are worth having without.
    """
    times = measure.operators(session, deployed, inputs, batch=batch, timeout_s=timeout_s)
    is_onnx = exported.path.suffix == ".onnx"
    costs = operator_costs(exported.path, [time.name for time in times]) if is_onnx else [None] * len(times)
    found = tuple(map(_operator, times, costs, layers or [{}] * len(times)))
    touched = exported.path.stat().st_size + max((operator.bytes or 0.0 for operator in found), default=0.0)
    try:
        roofline = measured_roofline(session, target, int(deployed.options["threads"]), touched, numeric)
        return Profile(found, roofline).to_json()
    except (Unsupported, BuildError, RunnerError) as error:
        return Profile(found).to_json() | {"remark": f"no roofline: {error}"}


def _operator(time: OperatorTime, cost: Cost | None, layer: Mapping[str, Any]) -> Operator:
    """What a compiler knows of its own layer goes before what the file says: products with zeros that are skipped are none."""
    cost = cost or Cost(None, None, 0.0, None, None)
    return Operator(
        time.name,
        time.op,
        cost.layer,
        time.time_s,
        layer["macs"] * layer["computed"] if "computed" in layer else cost.macs,
        layer.get("bytes", cost.bytes) or None,
        ", ".join(filter(None, (cost.format, layer.get("format", "dense").replace("dense", "")))) or None,
        1 - layer["density"] if "density" in layer else cost.sparsity,
    )
