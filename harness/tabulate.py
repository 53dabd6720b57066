"""Measures a latency table: the network uniformly pruned by each scheme at each strength, whole, on the device, under the runtime's own profiler.

Layers are timed where they will run, between their neighbours, by what the runtime's profiler says of a whole inference. Each round is a run
of a suite like any other: leased, quiet, checked before it is timed, its records in the store.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import plugins
from harness.errors import BuildError, UserError
from harness.executor import Executor
from harness.identity import identify
from harness.latency_table import DENSE, LatencyTable, Layer, LeftOut, Network, Timing
from harness.own_file import AS_IT_IS
from harness.plan import plan
from harness.plugins import Choice
from harness.run import Conductor
from harness.suite import OperatingPoint, Sampling, Suite, Workload
from harness.suite_file import check_model
from results.record import Record
from results.stats import median_interval

if TYPE_CHECKING:
    from harness.desk import Observer
    from results.store import Store
    from targets.target import Target


@dataclass(frozen=True, slots=True)
class Column:
    """What one network of the table is: all layers that take it under one scheme at one strength."""

    scheme: str
    sparsity: float
    method: Choice


def columns(pruner: Choice, schemes: Sequence[str], sparsities: Sequence[float]) -> tuple[Column, ...]:
    """Dense, and each scheme at each strength that it can have. UserError for a scheme with none.

    `pruner`: a method with the parameters `scheme` and `sparsity`, which are set here.
    """
    from harness.compression.numerics.regularity import parse

    def pruned(scheme: str, sparsity: float) -> Column:
        return Column(
            scheme,
            sparsity,
            plugins.resolve("methods", pruner.name, {**dict(pruner.params), "scheme": scheme, "sparsity": sparsity}),
        )

    found = [Column(DENSE, 0.0, AS_IT_IS)]
    for label in dict.fromkeys(schemes):
        regularity = parse(label)
        strengths = regularity.strengths(sparsities)
        refusals = []
        for sparsity in strengths:
            try:
                regularity.check_sparsity(sparsity)
            except UserError as error:
                refusals.append(error)
            else:
                found.append(pruned(str(regularity), sparsity))
        if len(refusals) == len(strengths):
            raise refusals[0]
    return tuple(found)


def tabulate(
    model: Choice,
    target: Target,
    backend: Choice,
    wanted: Sequence[Column],
    *,
    rounds: int,
    threads: int,
    sampling: Sampling,
    seed: int,
    store: Store,
    executor: Executor,
    observer: Observer,
) -> LatencyTable:
    """UserError before anything is measured; BuildError where the dense network, or every pruned one, could not be measured."""
    if not getattr(plugins.load("backends", backend.name), "profiles", False):
        raise UserError(
            f"{backend.name} gives no time of its layers; a latency table needs a backend that profiles, such as `native`"
        )
    workload = Workload(model, plugins.instantiate("models", model).data)
    check_model(model, workload.data)
    suite = Suite(
        name="latency-table", about=f"What each layer of {model.label} takes, by how it is pruned", path=Path("latency-table"),
        workloads=(workload,), methods=tuple(column.method for column in wanted), backends=(backend,), targets=(target.name,),
        points=(OperatingPoint(threads=threads),), sampling=dataclasses.replace(sampling, launches=1, profile=True), baseline=(),
        include=(), exclude=(), tables=(), figures=(), gates=(), seed=seed,
    )  # fmt: skip
    found: list[list[Record]] = []
    for round_ in range(rounds):
        order = np.random.default_rng([seed, round_]).permutation(len(wanted))
        shuffled = dataclasses.replace(suite, methods=tuple(suite.methods[index] for index in order))
        targets = {target.name: target}
        cells = plan(shuffled, targets, identify(shuffled, targets), lambda _: {})
        run = Conductor(shuffled, store, executor, observer).conduct(cells)
        records = {record.axes.method: record for _, record in store.run_records(run.id) if record is not None}
        found.append([records[column.method.label] for column in wanted])
    facts = {"model": model.label, "data": workload.data, "backend": backend.label, "target": target.name, "threads": threads}
    return table_of(wanted, found, shapes(workload), facts, sampling=dataclasses.asdict(suite.sampling), seed=seed)


def _measured(wanted: Sequence[Column], rounds: Sequence[Sequence[Record]]) -> tuple[list[int], tuple[LeftOut, ...]]:
    """Which columns were measured in every round, and why the others were not. BuildError if none is left beside dense."""
    faults = {
        index: next((f"{r[index].status}: {r[index].reason}" for r in rounds if r[index].status != "ok"), None)
        for index in range(len(wanted))
    }
    kept = [index for index, fault in faults.items() if fault is None]
    if 0 not in kept or len(kept) == 1 < len(wanted):
        first = next(fault for fault in faults.values() if fault)
        raise BuildError(f"{rounds[0][0].axes.model}: the dense network, or all pruned ones, could not be measured ({first})")
    return kept, tuple(LeftOut(wanted[i].scheme, wanted[i].sparsity, fault) for i, fault in faults.items() if fault is not None)


def shapes(workload: Workload) -> dict[str, tuple[int, ...]]:
    """Of each layer's weights, by dotted name."""
    from harness.compression.numerics import layers

    network = plugins.instantiate("models", workload.model).build(plugins.named("data", workload.data).spec)
    return layers.shapes(network)


def table_of(
    wanted: Sequence[Column],
    rounds: Sequence[Sequence[Record]],
    layers: dict[str, tuple[int, ...]],
    facts: dict[str, Any],
    *,
    sampling: dict[str, Any],
    seed: int,
) -> LatencyTable:
    """`rounds`: of each the record of each column's network. `facts`: the table's own fields that no record says better.

    A network that failed in a round is left out, with its reason.
    """
    kept, left_out = _measured(wanted, rounds)
    wanted, rounds = [wanted[index] for index in kept], [[records[index] for index in kept] for records in rounds]
    profiles = [[_profile(record) for record in records] for records in rounds]
    timings: dict[str, list[Timing]] = {name: [] for name in layers}
    networks = []
    for index, column in enumerate(wanted):
        of_rounds = [profile[index] for profile in profiles]
        for name in layers:
            first = of_rounds[0][name]
            density = 1.0 - (first["sparsity"] or 0.0)
            if column.scheme == DENSE or density < 1:  # what the scheme left alone was measured dense already
                density = 1.0 if column.scheme == DENSE else density
                timings[name].append(
                    Timing(column.scheme, column.sparsity, density, tuple(found[name]["time_s"] for found in of_rounds))
                )
        networks.append(
            Network(
                column.scheme,
                column.sparsity,
                tuple(_latency_s(records[index]) for records in rounds),
                tuple(sum(o["time_s"] for name, o in found.items() if name not in layers) for found in of_rounds),
                tuple(records[index].id for records in rounds),
            )
        )
    record = rounds[0][0]
    machines = {record.machine_key for records in rounds for record in records}
    if len(machines) > 1:
        raise BuildError("the machine was another in some rounds (its facts changed): measure the table again")
    latency = record.measurement("latency")
    assert latency is not None
    return LatencyTable(
        **facts, origin=latency.origin, machine_key=record.machine_key, software=dict(record.provenance["who"]),
        sampling=sampling, seed=seed,
        layers={name: Layer(shape, tuple(timings[name])) for name, shape in layers.items()}, networks=tuple(networks),
        left_out=left_out,
    )  # fmt: skip


def _profile(record: Record) -> dict[str, dict[str, Any]]:
    """Operators by layer, or by their own name where they are none. BuildError where the record has no profile."""
    profile = record.provenance.get("profile")
    if profile is None:
        raise BuildError(
            f"{record.axes.method} was measured without a profile: {record.provenance.get('logs', {}).get('profile')}"
        )
    return {operator["layer"] or operator["name"]: operator for operator in profile["operators"]}


def _latency_s(record: Record) -> float:
    latency = record.measurement("latency")
    assert latency is not None
    if latency.samples is None:
        raise BuildError(f"target {record.axes.target} cannot tell time: {latency.reason}")
    return median_interval(latency.samples).estimate
