"""A visit: a block of cells measured on their device, interleaved, attempt after attempt until each cell has its record.

What voids an attempt (a lost link, a reboot, throttling, a lost lease) is tried again within the suite's budget; launches that are durable
stay, as long as the device has not booted since. A wrong answer, or a command that the device refuses, ends its own cell at once.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from harness import measure
from harness.closing import closed, ended_by, measured
from harness.desk import Desk
from harness.errors import BuildError, WrongAnswer
from harness.noise import known
from harness.provenance import now
from harness.suite import Sampling
from harness.trial import Trial
from results.record import Run
from targets.data import data_root
from targets.facts import Facts, machine_facts, machine_key
from targets.health import check_health
from targets.interrupt import sleep
from targets.lease import Busy, LeaseLost, leased
from targets.now import state
from targets.quiet import HERE, timing, working
from targets.session import CommandFailed, Invalid, Session, TargetError, Unreachable
from targets.state import Control, Wanted, cooled, tuned, void_reason
from targets.transports import connect

BACKOFF_S = 5.0
"""Before the first new attempt; three times as long before each further one."""
STATE_EVERY_S = 1.0
"""A device's state is read again where the last reading is older: it costs a few processes there."""


def visit(desk: Desk, run: Run, sampling: Sampling, trials: Sequence[Trial], trusted: set[str]) -> None:
    """Every cell of the block ends with a record. `trusted`: the devices that passed their health check in this run; kept up to date."""
    target = trials[0].cell.target
    if reason := desk.quarantine(target.name):
        for trial in trials:
            desk.append(trial.cell, closed(run, trial.cell, "unreachable", reason, "Quarantine", trial.started))
        return
    block = _Block(desk, run, sampling, trials, trusted)
    try:
        fault = block.until_done()
    finally:
        desk.phase(target.name, "")
    desk.visited(target.name, fault)


class _Block:
    def __init__(self, desk: Desk, run: Run, sampling: Sampling, trials: Sequence[Trial], trusted: set[str]) -> None:
        self.desk, self.run, self.sampling, self.trusted = desk, run, sampling, trusted
        cell = trials[0].cell
        self.target, self.model = cell.target, cell.axes.model
        point = cell.point
        self.wanted = Wanted(point.governor, point.frequency_hz, point.cpus, cell.target.android_quiet)
        self.open = {trial.cell.key: trial for trial in trials}
        self.device: dict[str, Any] = {}
        """What the device is and how it was, in this attempt."""
        self.baseline: Facts | None = None
        """Its state when it was first met: how cool it can be."""
        self.looked: Facts = {}
        """Its state when it was last looked at."""
        self.unproven: list[tuple[str, int]] = []
        """The launches since: void, should the next look find that something was wrong. By input hash and round."""
        self.voided: list[dict[str, Any]] = []
        """The attempts that came to nothing, and why."""

    def until_done(self) -> str | None:
        """Attempt after attempt; the device's fault, if the last one failed as well."""
        for attempt in range(1, self.sampling.retries + 2):
            self.device = {}
            try:
                self._attempt()
                return None
            except Busy as error:  # the wait was long, and it is no fault
                self._close_open(error, attempt)
                return None
            except (Unreachable, Invalid, LeaseLost) as error:
                self.desk.void_launches(self.run, self.unproven)
                self.trusted.discard(self.target.name)
                if attempt > self.sampling.retries:
                    self._close_open(error, attempt)
                    return str(error)
                self.voided.append({"error_class": type(error).__name__, "reason": str(error)[:500], "ended": now()})
                self._say(f"trying again after: {error}")
                sleep(BACKOFF_S * 3 ** (attempt - 1))
            except TargetError as error:
                self._close_open(error, attempt)
                return None
        raise AssertionError("the last attempt has returned")

    def _attempt(self) -> None:
        """The device for us alone, on a host where nothing else is timed, healthy, checked, tuned; then all launches that are missing."""
        target, name = self.target, self.target.name
        with (
            connect(target) as connection,
            leased(
                connection, target, on_wait=lambda whom: self._say(f"waiting for {whom}"), above=self.desk.highest_token
            ) as held,
            timing(target.host),
        ):
            session = held.session
            self.desk.fence(held.lease)
            self.device["lease"] = held.lease.document()
            if name not in self.trusted:
                self._say("health check")
                check_health(session, name)
                self.trusted.add(name)
            session.remove("requests")  # what a killed harness left there: whoever times here is alone
            facts = machine_facts(session)
            self.device |= {"facts": facts, "machine_key": machine_key(facts), **_noise_of(machine_key(facts))}
            self.unproven, self.looked = [], state(session, sysfs=target.sysfs)
            self.baseline = self.baseline or self.looked
            self._say(f"checking {self.model}")
            for trial in list(self.open.values()):
                with self._closing(session, trial), _working_here(target.host):
                    trial.deploy(session)
                    if trial.answer is None:
                        trial.ask(session, self.sampling)
            with tuned(session, target, self.wanted, data_root() / "journals", tell=self._say) as control:
                self.device["control"] = control.to_json()
                self.device["state_before"] = self.looked = state(session, sysfs=target.sysfs)
                self._say(f"measuring {self.model}")
                for trial in self.open.values():
                    trial.launches = self._adopted(trial)
                self._rounds(session, control)

    def _rounds(self, session: Session, control: Control) -> None:
        """Round by round one launch of each cell that is still open, with a look at the device now and then, and after each round."""
        for round_ in range(self.sampling.launches):
            looked = -math.inf
            for position, key in enumerate(self._order(round_)):
                if time.monotonic() - looked > STATE_EVERY_S:
                    self._look(session, control)
                    self._cool(session)
                    looked = time.monotonic()
                trial = self.open[key]
                with self._closing(session, trial):
                    if round_ not in trial.launches:
                        self._launch(session, trial, round_, position)
        self._look(session, control)
        for trial in list(self.open.values()):
            with self._closing(session, trial):
                trial.spend(session, self.sampling)
            if trial.cell.key not in self.open:
                continue
            if self.sampling.energy_s and self.target.meters:
                self._look(session, control)
            if self.sampling.profile:
                trial.look_inside(session, self.sampling)
            if self.sampling.sustained_s:
                self._say(f"looping {trial.cell.axes.method} for {self.sampling.sustained_s:g} s")
                with self._closing(session, trial):
                    trial.sustain(session, self.sampling)
                if trial.cell.key not in self.open:
                    continue
            self.desk.append(trial.cell, measured(self.run, trial, self.device, self.voided))
            del self.open[trial.cell.key]
            if self.sampling.sustained_s and self.open:
                # How far it slowed down is a finding, and no fault of the cells that follow.
                self._cool(session)
                self.looked = state(session, sysfs=self.target.sysfs)

    def _look(self, session: Session, control: Control) -> None:
        """Whether the device stayed as it was since the last look; if so, what was timed since counts from here on."""
        self.device["state_after"] = now_ = state(session, sysfs=self.target.sysfs)
        if reason := void_reason(self.looked, now_, control, self.target.max_celsius):
            raise Invalid(f"target {self.target.name}: {reason}")
        self.looked, self.unproven = now_, []

    def _cool(self, session: Session) -> None:
        cooling = cooled(session, self.target, self.baseline)
        if cooling.reason:
            raise Invalid(f"target {self.target.name}: {cooling.reason}")

    def _order(self, round_: int) -> list[str]:
        """The round's own random order, from the suite's seed: a drift of the machine falls on no one cell."""
        keys = list(self.open)
        of_keys = int(hashlib.sha256("".join(sorted(keys)).encode()).hexdigest()[:8], 16)
        rng = np.random.default_rng([self.run.seed, round_, of_keys])
        return [keys[index] for index in rng.permutation(len(keys))]

    def _launch(self, session: Session, trial: Trial, round_: int, position: int) -> None:
        """One process launch; durable in the store before the next begins."""
        launch = trial.time(session, self.sampling)
        trial.launches[round_] = launch
        self.unproven.append((trial.cell.input_hash, round_))
        document = {
            "launch": launch.to_json(),
            "position": position,
            "boot_id": _boot_id(self.looked),
            "artifact_sha256": trial.artifact.sha256,
            "lease": self.device["lease"],
        }
        self.desk.journal_launch(self.run, trial.cell, round_, document)

    def _adopted(self, trial: Trial) -> dict[int, measure.Launch]:
        """Launches that an earlier attempt, or a killed run, left behind: of the same artifact, on the same boot of the device."""
        return {
            index: measure.Launch.from_json(document["launch"])
            for index, document in self.desk.adopt_launches(self.run, trial.cell).items()
            if document["boot_id"] == _boot_id(self.looked) and document["artifact_sha256"] == trial.artifact.sha256
        }

    @contextmanager
    def _closing(self, session: Session, trial: Trial) -> Iterator[None]:
        """An error that is the cell's own ends it; one that came with a reboot or a broken link is the device's, and goes on up."""
        try:
            yield
        except (WrongAnswer, BuildError, CommandFailed, OSError) as error:
            if _boot_id(state(session, sysfs=self.target.sysfs)) != _boot_id(self.looked):
                raise Invalid(f"target {self.target.name} was restarted meanwhile: its boot id has changed") from error
            record = ended_by(self.run, trial, error, self.device, self.voided, attempt=len(self.voided) + 1)
            self.desk.append(trial.cell, record)
            del self.open[trial.cell.key]

    def _close_open(self, error: TargetError, attempt: int) -> None:
        """Nothing of these was measured under the lease, which may be another's by now."""
        device = {name: value for name, value in self.device.items() if name != "lease"}
        for trial in self.open.values():
            self.desk.append(trial.cell, ended_by(self.run, trial, error, device, self.voided, attempt))

    def _say(self, doing: str) -> None:
        self.desk.phase(self.target.name, doing)


@contextmanager
def _working_here(timed_host: str) -> Iterator[None]:
    """To check answers is work for this machine, too: not while something is timed here, unless that is ourselves, before we time."""
    with ExitStack() as stack:
        if timed_host != HERE:
            stack.enter_context(working(HERE))
        yield


def _noise_of(key: str) -> dict[str, Any]:
    """What the doctor's last A/A on that machine told; nothing where there was none."""
    noise = known(key)
    return {} if noise is None else {"noise": noise}


def _boot_id(state_: Facts) -> str:
    return str(state_["boot_id"])
