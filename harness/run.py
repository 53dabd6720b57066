"""Run: the only loop, and the only place that turns errors into statuses. Every planned cell leaves one record."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import numpy as np

from harness import measure, plugins
from harness.artifact import Artifact
from harness.environment import interpreter
from harness.errors import BuildError, WrongAnswer
from harness.executor import Executor, Failure
from harness.plan import Cell
from harness.plugins import Choice
from harness.profiling import profiled
from harness.provenance import environment, now
from harness.steps import Step, build_step, data_fingerprint
from harness.suite import Suite
from results.record import Measurement, Record, Run, Status
from targets.facts import machine_facts, machine_key, state
from targets.quiet import HERE, timing, working
from targets.session import CommandFailed, Session, TargetError, Unreachable
from targets.transports import connect

if TYPE_CHECKING:
    from harness.criterion import Criterion
    from harness.export import Exported
    from results.store import Store


_STATE_EVERY_S = 1.0
"""A device's state is read again where the last reading is older: it costs a few processes there."""


class Observer(Protocol):
    """Who watches a run: the terminal, or a test."""

    def begins(self, cells: Sequence[Cell]) -> None: ...
    def phase(self, text: str) -> None: ...
    def step(self, step: Step, event: str) -> None: ...
    def launched(self, cell: Cell, launch: int) -> None: ...
    def ended(self, cell: Cell, record: Record) -> None: ...


@dataclass
class _Trial:
    """A cell under measurement."""

    cell: Cell
    artifact: Artifact
    exported: Exported
    network: Path
    """Folder of the step that made the network."""
    started: str
    deployed: measure.Deployed | None = None
    inputs: tuple[np.ndarray, ...] = ()
    answer: measure.Answer | None = None
    check: measure.Check | None = None
    quality: tuple[Measurement, ...] = ()
    launches: dict[int, measure.Launch] = field(default_factory=dict)
    profile: dict[str, Any] = field(default_factory=dict)
    """Provenance of the profile, or why there is none; empty where none was asked for."""

    def first_batch(self) -> np.ndarray:
        """Which inputs are timed; examples begin again where a batch is larger than all there are."""
        return np.arange(self.cell.point.batch) % len(self.inputs[0])


class Conductor:
    """One execution of a suite's cells against one store."""

    def __init__(self, suite: Suite, store: Store, executor: Executor, observer: Observer) -> None:
        self.suite, self.store, self.executor, self.observer = suite, store, executor, observer
        self.run = Run(str(uuid4()), suite.name, suite.to_json(), suite.seed, now(), environment=environment())
        self.ended = 0
        """Cells recorded so far."""

    def conduct(self, cells: Sequence[Cell]) -> Run:
        """Every cell that is not excluded ends with a record in the store, block by block."""
        planned = [cell for cell in cells if cell.verdict != "excluded"]
        data = {workload.label: _data(workload.data) for workload in dict.fromkeys(cell.workload for cell in planned)}
        self.run = dataclasses.replace(self.run, document=dict(self.run.document) | {"data": data})
        self.store.begin_run(self.run, [cell.planned(position) for position, cell in enumerate(planned)])
        self.observer.begins(planned)
        for cell in planned:
            if cell.verdict == "unsupported":
                self._close(cell, "unsupported", cell.reason, None, now())
        todo = [cell for cell in planned if cell.verdict == "run"]
        for _, block in itertools.groupby(sorted(todo, key=_block_order(todo)), key=lambda cell: cell.block):
            self._block(list(block))
        self.store.finish_run(self.run.id, now())
        return self.run

    def _block(self, cells: list[Cell]) -> None:
        """Make what the cells need, then measure them interleaved."""
        started = now()
        steps = {cell.key: self._build_step(cell) for cell in cells}
        self.observer.phase(f"making {cells[0].axes.model}")
        with working(HERE):
            failures = self.executor.run(list(steps.values()))
        made = []
        for cell in cells:
            failure = failures[steps[cell.key].key]
            if failure is None:
                made.append(_trial(cell, steps[cell.key], started))
            else:
                self._close_failure(cell, failure, started)
        if made:
            self._measure(made)

    def _measure(self, cells: list[_Trial]) -> None:
        """Connect once and measure the block; a device that cannot be reached leaves a record for each cell that is still open."""
        target = cells[0].cell.target
        trials = {trial.cell.key: trial for trial in cells}
        try:
            with connect(target) as session, timing(target.host):
                self._measure_on(session, cells, trials)
        except TargetError as error:
            for trial in list(trials.values()):
                self._close_error(trial, error, {})

    def _measure_on(self, session: Session, cells: list[_Trial], trials: dict[str, _Trial]) -> None:
        session.remove("requests")  # what a killed harness left there: whoever times here is alone
        facts = machine_facts(session)
        machine = {"facts": facts, "machine_key": machine_key(facts), "state_before": state(session)}
        boot_id = str(facts.get("boot_id"))
        self.observer.phase(f"checking {cells[0].cell.axes.model} on {cells[0].cell.target.name}")
        for trial in cells:
            try:
                self._check(session, trial)
            except (WrongAnswer, BuildError, CommandFailed) as error:
                self._close_error(trial, error, machine)
                del trials[trial.cell.key]
        self.observer.phase(f"measuring {cells[0].cell.axes.model} on {cells[0].cell.target.name}")
        for trial in trials.values():
            trial.launches = self._adopted(trial, boot_id)
        looked = -math.inf
        for round_ in range(self.suite.sampling.launches):
            for position, key in enumerate(self._order(list(trials), round_)):
                trial = trials[key]
                try:
                    if round_ not in trial.launches:
                        self._launch(session, trial, round_, position, boot_id)
                except (WrongAnswer, BuildError, CommandFailed) as error:
                    self._close_error(trial, error, machine)
                    del trials[key]
                    continue
                if round_ + 1 == self.suite.sampling.launches:
                    if time.monotonic() - looked > _STATE_EVERY_S:
                        machine["state_after"], looked = state(session), time.monotonic()
                    if self.suite.sampling.profile:
                        trial.profile = self._profile(session, trial)
                    self._close_measured(trial, machine)
                    del trials[key]

    def _order(self, keys: list[str], round_: int) -> list[str]:
        """The round's own random order, from the suite's seed: a drift of the machine falls on no one cell."""
        rng = np.random.default_rng(
            [self.suite.seed, round_, int(hashlib.sha256("".join(sorted(keys)).encode()).hexdigest()[:8], 16)]
        )
        return [keys[index] for index in rng.permutation(len(keys))]

    def _check(self, session: Session, trial: _Trial) -> None:
        """Push the artifact, have it answer the test examples, and compare with the compressed network's own answers.

        Raises WrongAnswer before anything is timed.
        """
        cell, sampling = trial.cell, self.suite.sampling
        with np.load(trial.network / "examples.npz") as stored:
            examples, reference = stored["inputs"], stored["outputs"]
        test = None
        if cell.workload.layer is None:
            test = plugins.named("data", cell.workload.data).load("test", sampling.evaluation_size)
            if len(test) > len(examples):
                examples = test.inputs
        options = {"threads": cell.point.threads, **_parameters(cell.backend)}
        backend = plugins.load("backends", cell.backend.name)
        trial.deployed = measure.deploy(
            session,
            trial.artifact,
            plugins.path("backends", cell.backend.name),
            options,
            backend.requires,
            interpreter(cell.backend.name, cell.target),
        )
        trial.inputs = (trial.exported.lay_out(examples),)
        trial.answer = measure.answer(
            session, trial.deployed, trial.inputs, batch=cell.point.batch, timeout_s=sampling.max_launch_s
        )
        compared = min(sampling.check_inputs, len(reference))
        answers = [trial.exported.as_stored(output[:compared]) for output in trial.answer.outputs]
        trial.check = measure.check(answers, [reference[:compared]], cell.numeric)
        measure.require(trial.check)
        if test is not None:
            judged = trial.exported.as_stored(trial.answer.outputs[0][: len(test)])
            trial.quality = measure.quality(judged, test, _criterion(cell), cell.target.origin)

    def _launch(self, session: Session, trial: _Trial, round_: int, position: int, boot_id: str) -> None:
        """One process launch; durable in the store before the next begins."""
        assert trial.deployed is not None and trial.answer is not None
        first = trial.first_batch()
        launch = measure.time_launch(
            session,
            trial.deployed,
            [array[first] for array in trial.inputs],
            batch=trial.cell.point.batch,
            sampling=self.suite.sampling,
        )
        measure.require(measure.check(launch.outputs, [output[first] for output in trial.answer.outputs], "same"))
        trial.launches[round_] = launch
        document = {
            "launch": launch.to_json(),
            "position": position,
            "boot_id": boot_id,
            "artifact_sha256": trial.artifact.sha256,
        }
        self.store.journal_launch(self.run.id, trial.cell.input_hash, round_, document)
        self.observer.launched(trial.cell, round_)

    def _profile(self, session: Session, trial: _Trial) -> dict[str, Any]:
        """Where the time goes. The measurement is whole already: a profiler that fails costs it nothing but a remark."""
        assert trial.deployed is not None
        cell, first = trial.cell, trial.first_batch()
        if not getattr(plugins.load("backends", cell.backend.name), "profiles", False):
            return {"logs": {"profile": f"{cell.backend.name} gives no time of its operators"}}
        try:
            found = profiled(
                session,
                trial.deployed,
                [array[first] for array in trial.inputs],
                trial.exported,
                cell.target,
                numeric=cell.numeric,
                batch=cell.point.batch,
                timeout_s=self.suite.sampling.max_launch_s,
            )
        except CommandFailed as error:
            return {"logs": {"profile": str(error)}}
        return {"profile": found}

    def _adopted(self, trial: _Trial, boot_id: str) -> dict[int, measure.Launch]:
        """Launches that a killed run left behind: of the same artifact, on the same boot of the device."""
        found = self.store.adopt_launches(self.run.id, trial.cell.input_hash)
        return {
            index: measure.Launch.from_json(document["launch"])
            for index, document in found.items()
            if document["boot_id"] == boot_id and document["artifact_sha256"] == trial.artifact.sha256
        }

    def _close_measured(self, trial: _Trial, machine: Mapping[str, Any]) -> None:
        origin = trial.cell.target.origin
        launches = [trial.launches[index] for index in sorted(trial.launches)]
        quality = trial.quality or (
            Measurement(
                _criterion(trial.cell).metrics[0], "1", origin, "not measured", None, "a single layer has no quality of its own"
            ),
        )
        energy = Measurement("energy", "J", origin, "not measured", None, f"target `{trial.cell.target.name}` has no meter")
        measurements = (*measure.measurements(launches, origin), *quality, measure.artifact_size(trial.artifact), energy)
        self._close(trial.cell, "ok", None, None, trial.started, measurements, self._provenance(trial, machine))

    def _close_failure(self, cell: Cell, failure: Failure, started: str) -> None:
        status: Status = "unsupported" if failure.is_unsupported else "failed"
        provenance = {"logs": {"step": failure.step, "tail": failure.log_tail}}
        self._close(cell, status, failure.message, failure.error_class, started, provenance=provenance)

    def _close_error(self, trial: _Trial, error: Exception, machine: Mapping[str, Any]) -> None:
        status: Status = "failed"
        if isinstance(error, WrongAnswer):
            status = "wrong"
        elif isinstance(error, Unreachable):
            status = "unreachable"
        self._close(
            trial.cell, status, str(error), type(error).__name__, trial.started, provenance=self._provenance(trial, machine)
        )

    def _close(
        self,
        cell: Cell,
        status: Status,
        reason: str | None,
        error_class: str | None,
        started: str,
        measurements: tuple[Measurement, ...] = (),
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        provenance = dict(provenance or {})
        record = Record(
            id=str(uuid4()),
            run_id=self.run.id,
            cell_key=cell.key,
            input_hash=cell.input_hash,
            machine_key=provenance.get("device", {}).get("machine_key", ""),
            axes=cell.axes,
            status=status,
            reason=reason,
            error_class=error_class,
            started=started,
            finished=now(),
            claims=provenance.get("compress", {}).get("claims", {}),
            measurements=measurements,
            provenance=provenance,
        )
        self.store.append(record)
        self.ended += 1
        self.observer.ended(cell, record)

    def _provenance(self, trial: _Trial, machine: Mapping[str, Any]) -> dict[str, Any]:
        cell = trial.cell
        train = self._build_step(cell)
        while train.needs:
            train = train.needs[0]
        launches = [launch.document() for launch in trial.launches.values()]
        return {
            "who": self.run.environment,
            "model": {"steps": _step_facts(self._build_step(cell)), **json.loads((train.folder / "train.json").read_text())},
            "compress": json.loads((trial.network / "compressed.json").read_text()),
            "data": _data(cell.workload.data),
            "export": dataclasses.asdict(trial.exported) | {"path": trial.exported.path.name},
            "artifact": {
                "sha256": trial.artifact.sha256,
                "size_bytes": trial.artifact.size_bytes,
                "files": [dataclasses.asdict(file) for file in trial.artifact.files],
                "facts": trial.artifact.facts,
            },
            "check": None if trial.check is None else dataclasses.asdict(trial.check),
            "runtime": {
                "answer": None if trial.answer is None else trial.answer.document(),
                "launches": launches,
            },
            "device": dict(machine),
            "sampling": dataclasses.asdict(self.suite.sampling),
            "seeds": {"suite": self.suite.seed},
            **trial.profile,
        }

    def _build_step(self, cell: Cell) -> Step:
        return build_step(cell.workload, cell.method, cell.backend, cell.target, cell.point.batch, self.suite.seed)


def _trial(cell: Cell, build: Step, started: str) -> _Trial:
    from harness.export import Exported

    (exported,) = build.needs
    (network,) = exported.needs
    return _Trial(cell, Artifact.load(build.folder), Exported.load(exported.folder), network.folder, started)


def _data(name: str) -> dict[str, Any]:
    spec = plugins.named("data", name).spec
    return {"name": name, "title": spec.title, "sha256": data_fingerprint(name)}


def _criterion(cell: Cell) -> Criterion:
    criterion: Criterion = plugins.instantiate("models", cell.workload.model).criterion
    return criterion


def _block_order(cells: Sequence[Cell]) -> Any:
    first: dict[Any, int] = {}
    for index, cell in enumerate(cells):
        first.setdefault(cell.block, index)
    return lambda cell: first[cell.block]


def _parameters(choice: Choice) -> dict[str, Any]:
    """Every parameter of a plug-in, defaults included: the device half sees the same values as the host half."""
    instance = plugins.instantiate("backends", choice)
    return {f.name: getattr(instance, f.name) for f in dataclasses.fields(instance)}


def _step_facts(step: Step) -> list[dict[str, Any]]:
    """The chain that made the artifact, first step first, each with its key and how long it took."""
    before = [facts for need in step.needs for facts in _step_facts(need)]
    return [*before, {"kind": step.kind, "key": step.key, **json.loads((step.folder / "step.json").read_text())}]
