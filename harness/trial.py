"""A cell under measurement: its artifact put on a device, asked, timed, profiled, over one live session."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import measure, plugins
from harness.artifact import Artifact
from harness.energy import Spent, spent
from harness.plan import Cell
from harness.profiling import profiled
from harness.quota import patient
from harness.steps import Step
from harness.suite import Sampling
from harness.sustained import Sustained, sustained
from results.record import Measurement
from targets.power.work import Work
from targets.session import CommandFailed, Session

if TYPE_CHECKING:
    from harness.criterion import Criterion
    from harness.export import Exported


@dataclass
class Trial:
    cell: Cell
    build: Step
    artifact: Artifact
    exported: Exported
    started: str
    deployed: measure.Deployed | None = None
    inputs: tuple[np.ndarray, ...] = ()
    answer: measure.Answer | None = None
    check: measure.Check | None = None
    quality: tuple[Measurement, ...] = ()
    launches: dict[int, measure.Launch] = field(default_factory=dict)
    """By round."""
    profile: dict[str, Any] = field(default_factory=dict)
    """Provenance of the profile, or why there is none; empty where none was asked for."""
    energy: Spent = field(default_factory=Spent)
    """Of an inference, or why there is none."""
    sustained: Sustained = field(default_factory=Sustained)
    """Latency, temperature and clock of a long launch; empty where none was asked for."""

    @property
    def network(self) -> Path:
        """Folder of the step that made the network."""
        (exported,) = self.build.needs
        (network,) = exported.needs
        return network.folder

    @property
    def first_batch(self) -> list[np.ndarray]:
        """The inputs that are timed; examples begin again where a batch is larger than all there are."""
        return [array[self._rows] for array in self.inputs]

    @property
    def _rows(self) -> np.ndarray:
        return np.arange(self.cell.point.batch) % len(self.inputs[0])

    def deploy(self, session: Session) -> None:
        """Push the artifact; what is there already is not sent again."""
        cell, point = self.cell, self.cell.point
        self.deployed = measure.deploy_backend(session, self.artifact, cell.backend, cell.target, point.threads, point.cpus)

    def ask(self, session: Session, sampling: Sampling) -> None:
        """Have it answer the test examples, and compare with the compressed network's own answers.

        Raises WrongAnswer before anything is timed.
        """
        assert self.deployed is not None
        cell = self.cell
        with np.load(self.network / "examples.npz") as stored:
            examples, reference, unrounded = stored["inputs"], stored["outputs"], stored.get("unrounded")
        test = None
        if cell.workload.layer is None:
            test = plugins.named("data", cell.workload.data).load("test", sampling.evaluation_size)
            if len(test) > len(examples):
                examples = test.inputs
        self.inputs = (self.exported.lay_out(examples),)
        answer = measure.answer(session, self.deployed, self.inputs, batch=cell.point.batch, timeout_s=sampling.max_launch_s)
        compared = min(sampling.check_inputs, len(reference))
        answers = [self.exported.as_stored(output[:compared]) for output in answer.outputs]
        own = None if unrounded is None else [unrounded[:compared]]
        self.check = measure.check(answers, [reference[:compared]], cell.numeric, own)
        measure.require(self.check)
        if test is not None:
            judged = self.exported.as_stored(answer.outputs[0][: len(test)])
            self.quality = measure.quality(judged, test, criterion(cell), cell.target.origin)
        self.answer = answer

    def time(self, session: Session, sampling: Sampling) -> measure.Launch:
        """One process launch, whose answers must be those of the first."""
        assert self.deployed is not None and self.answer is not None
        sampling = patient(sampling, self.cell.target)
        launch = measure.time_launch(session, self.deployed, self.first_batch, batch=self.cell.point.batch, sampling=sampling)
        expected = [output[self._rows] for output in self.answer.outputs]
        measure.require(measure.check(launch.outputs, expected, "same"))
        return launch

    def spend(self, session: Session, sampling: Sampling) -> None:
        """The energy of an inference. The measurement is whole already: a meter that fails costs it nothing but the reason."""
        claims, batch = json.loads((self.network / "compressed.json").read_text())["claims"], self.cell.point.batch
        work = Work(batch * claims["macs"], batch * claims["nonzero_macs"], claims["weight_bytes"], self.cell.numeric)
        self.energy = spent(session, self.cell.target, sampling, work, lambda longer: self.time(session, longer))

    def sustain(self, session: Session, sampling: Sampling) -> None:
        """The pace that the device keeps."""
        self.sustained = sustained(session, self.cell.target, sampling, lambda longer: self.time(session, longer))

    def look_inside(self, session: Session, sampling: Sampling) -> None:
        """Where the time goes. The measurement is whole already: a profiler that fails costs it nothing but a remark."""
        assert self.deployed is not None
        cell = self.cell
        if not getattr(plugins.load("backends", cell.backend.name), "profiles", False):
            self.profile = {"logs": {"profile": f"{cell.backend.name} gives no time of its operators"}}
            return
        try:
            found = profiled(
                session,
                self.deployed,
                self.first_batch,
                self.exported,
                cell.target,
                numeric=cell.numeric,
                batch=cell.point.batch,
                timeout_s=sampling.max_launch_s,
                layers=self.artifact.facts.get("layers", ()),
            )
        except CommandFailed as error:
            self.profile = {"logs": {"profile": str(error)}}
        else:
            self.profile = {"profile": found}


def begun(cell: Cell, build: Step, started: str) -> Trial:
    """A trial of a cell whose artifact is made."""
    from harness.export import Exported

    (exported,) = build.needs
    return Trial(cell, build, Artifact.load(build.folder), Exported.load(exported.folder), started)


def criterion(cell: Cell) -> Criterion:
    found: Criterion = plugins.instantiate("models", cell.workload.model).criterion
    return found
