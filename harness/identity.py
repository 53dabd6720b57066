"""What decides a cell's numbers beside its axes: the steps that make its artifact, how it is measured, and the machine behind the target."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping

from harness.plan import Point
from harness.steps import build_step, sources_sha256, versions
from harness.suite import Suite
from results.record import canonical_sha256
from targets.facts import machine_facts, machine_key
from targets.target import Target
from targets.transports import connect

_MEASURING_SOURCES = (
    "trial.py",
    "visit.py",
    "measure.py",
    "energy.py",
    "sustained.py",
    "quota.py",
    "check.py",
    "criterion.py",
    "backend.py",
    "runners/*.py",
)


def identify(suite: Suite, targets: Mapping[str, Target]) -> Callable[[Point], str]:
    """A function that hashes all of it for one point of the matrix. Devices are not touched; this machine is."""
    sampling = dataclasses.asdict(dataclasses.replace(suite.sampling, retries=0))  # who tries more often gets no other numbers
    measuring = [sampling, suite.seed, sources_sha256(_MEASURING_SOURCES), versions(("numpy",))]
    meters = {name: list(targets[name].meters) if suite.sampling.energy_s else [] for name in suite.targets}
    machines = {name: canonical_sha256([measuring, _machine(targets[name]), meters[name]]) for name in suite.targets}

    def of(point: Point) -> str:
        workload, method, backend, target, operating_point = point
        build = build_step(workload, method, backend, target, operating_point.batch, suite.seed)
        return hashlib.sha256(f"{build.key}\n{machines[target.name]}".encode()).hexdigest()

    return of


def _machine(target: Target) -> str:
    if target.transport != "local":
        return canonical_sha256(dataclasses.asdict(target))
    with connect(target) as session:
        key = machine_key(machine_facts(session))
    return key if target.cpu_quota is None else f"{key} {target.cpu_quota}"
