"""Puts an artifact on a device, has it answer, has it timed, and turns what the runner said into measurements.

`latency` is the time of one `invoke`: of one example at batch 1, of the whole batch at batch b.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness import environment, plugins
from harness.artifact import Artifact
from harness.backend import runner
from harness.check import Check, check, require
from harness.criterion import METHODS, Criterion
from harness.data import Batch
from harness.errors import RunnerError
from harness.plugins import Choice
from harness.quota import held
from harness.runners.exchange import Deployed, ask, deploy, deploy_program
from harness.runners.reply import Columns, Document, OperatorTime, OutputFile, check_affinity, check_timing, read_outputs, real
from harness.suite import Sampling
from results.record import Measurement, Origin, Samples
from targets.session import Session
from targets.target import Target

__all__ = [
    "Answer",
    "Check",
    "Deployed",
    "Launch",
    "answer",
    "answer_each",
    "artifact_size",
    "check",
    "deploy",
    "deploy_backend",
    "measurements",
    "quality",
    "require",
    "time_launch",
]  # fmt: skip

Array = npt.NDArray[Any]

PART_BYTES = 64 << 20
"""Inputs are sent in files of about this size."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a network on a device made of some inputs."""

    reply: Document
    raw: tuple[Array, ...]
    """[n, ...] an output, as the network gave it."""
    outputs: tuple[Array, ...]
    """The same as real values."""

    def document(self) -> dict[str, Any]:
        """What the runner said, as plain JSON values."""
        return _document(self.reply)


@dataclass(frozen=True, slots=True)
class Launch:
    """One timed process launch: what the runner said, and the outputs of the very process that was timed."""

    reply: Document
    content: bytes
    """The output file, an npz."""
    wall_s: float
    """How long the command took, seen from here."""

    @property
    def outputs(self) -> tuple[Array, ...]:
        """Real values of the first batch."""
        return _real(read_outputs(self.content, self.reply.outputs[0]), self.reply.outputs[0])

    def document(self) -> dict[str, Any]:
        """What the runner said but for the samples, which a record keeps as measurements."""
        return {key: value for key, value in _document(self.reply).items() if key != "samples"} | {"wall_s": self.wall_s}

    def to_json(self) -> dict[str, Any]:
        """All of it, without loss."""
        return {"reply": _document(self.reply), "content": base64.b64encode(self.content).decode(), "wall_s": self.wall_s}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Launch:
        reply = Document.model_validate_json(json.dumps(document["reply"]))
        return Launch(reply, base64.b64decode(document["content"], validate=True), document["wall_s"])


def deploy_backend(
    session: Session, artifact: Artifact, choice: Choice, target: Target, threads: int, cpus: tuple[int, ...] | None = None
) -> Deployed:
    """A backend's artifact put on a target, with all that is needed to run it there: on so many threads, with the choice's parameters.

    `cpus`: those that it is bound to; None: any.
    """
    backend = plugins.instantiate("backends", choice)
    options = {"threads": threads} | {field.name: getattr(backend, field.name) for field in dataclasses.fields(backend)}
    if runner(backend) == "program":
        deployed = deploy_program(session, artifact, options)
    else:
        python = environment.interpreter(choice.name, target)
        deployed = deploy(session, artifact, plugins.path("backends", choice.name), options, backend.requires, python)
    command = held(deployed.command, target)
    return dataclasses.replace(
        deployed, command=command, sysfs=target.sysfs, count_instructions=target.counts_instructions, cpus=cpus
    )


def answer(session: Session, deployed: Deployed, inputs: Sequence[Array], *, batch: int, timeout_s: float) -> Answer:
    """The network's outputs for n examples: one array [n, ...] an input, run in chunks of `batch` by one process."""
    rows = len(inputs[0]) if inputs else 0
    if not rows or any(len(array) != rows for array in inputs):
        raise ValueError(f"inputs must have the same positive number of examples: {[len(array) for array in inputs]}")
    row_bytes = sum(array.nbytes for array in inputs) // rows
    step = batch * max(1, PART_BYTES // max(1, row_bytes * batch))
    parts = [[array[start : start + step] for array in inputs] for start in range(0, rows, step)]
    exchange = ask(session, deployed, "answer", parts, timeout_s, batch=batch)
    _check_rows(exchange.reply, [len(part[0]) for part in parts])
    raw = tuple(np.concatenate(arrays) for arrays in zip(*exchange.arrays(), strict=True))
    return Answer(exchange.reply, raw, _real(raw, exchange.reply.outputs[0]))


def answer_each(session: Session, deployed: Deployed, sets: Sequence[Sequence[Array]], *, timeout_s: float) -> tuple[Answer, ...]:
    """The network's outputs for whole input tensors, which need not have a batch axis: one Answer a set of them, by one process."""
    exchange = ask(session, deployed, "answer", sets, timeout_s, batch=None)
    files = zip(exchange.arrays(), exchange.reply.outputs, strict=True)
    return tuple(Answer(exchange.reply, raw, _real(raw, file)) for raw, file in files)


def time_launch(
    session: Session, deployed: Deployed, inputs: Sequence[Array], *, batch: int | None, sampling: Sampling
) -> Launch:
    """Time one process launch on the first `batch` examples; with None, on the input tensors as they are."""
    exchange = ask(session, deployed, "time", [inputs], sampling.max_launch_s, batch=batch, sampling=sampling)
    if batch is not None:
        _check_rows(exchange.reply, [batch])
    check_timing(exchange.reply, sampling, exchange.wall_s)
    check_affinity(exchange.reply, deployed.cpus)
    exchange.arrays()
    return Launch(exchange.reply, exchange.contents[0], exchange.wall_s)


def operators(
    session: Session, deployed: Deployed, inputs: Sequence[Array], *, batch: int, timeout_s: float
) -> list[OperatorTime]:
    """Where the time of one inference goes, by the runtime's own profiler, in a process launch of its own."""
    exchange = ask(session, deployed, "profile", [inputs], timeout_s, batch=batch)
    assert exchange.reply.operators is not None
    return exchange.reply.operators


def measurements(launches: Sequence[Launch], target: Target) -> tuple[Measurement, ...]:
    """latency, load_time, peak_memory and model_memory, from all process launches of a cell in order; instructions, where they were asked for.

    What the target cannot tell (`no_time`, `no_memory`) is null.
    """
    origin, no_time = target.origin, target.no_time or None
    replies = [launch.reply for launch in launches]
    memory = [reply.memory for reply in replies]
    grown = [
        None if m.peak_rss_bytes is None or m.rss_before_load_bytes is None else m.peak_rss_bytes - m.rss_before_load_bytes
        for m in memory
    ]
    least = max(reply.warmup.least_sample_s for reply in replies if reply.warmup)
    quota = "" if target.cpu_quota is None else f"; the process held to {target.cpu_quota:g} CPUs' time by a control group"
    return (
        Measurement(
            "latency",
            "s",
            origin,
            f"one inference call (a whole batch) in the runner's process, inputs set before; a sample repeats it for at least {least:g} s{quota}",
            None if no_time else _latency(launches),
            no_time,
            clock=replies[0].clock.name,
            flags=_flags(replies),
        ),
        Measurement(
            "load_time",
            "s",
            origin,
            "the backend's load: import of its runtime, opening of the artifact",
            None if no_time else _per_launch([reply.load_s for reply in replies]),
            no_time,
            clock=replies[0].clock.name,
        ),
        _memory("peak_memory", "VmHWM of the runner's process after timing", target, [m.peak_rss_bytes for m in memory], ()),
        _memory(
            "model_memory",
            "VmHWM after timing less VmRSS before the backend's load: runtime, weights and activations, without interpreter and NumPy",
            target,
            grown,
            ("peak_memory",),
        ),
        *_instructions(launches, target),
    )


def quality(outputs: Array, batch: Batch, criterion: Criterion, origin: Origin) -> tuple[Measurement, ...]:
    """How good the answers to a batch are, by each metric of the model's criterion; raises WrongAnswer for what cannot be judged."""
    return tuple(
        Measurement(metric, "1", origin, f"{METHODS[metric]}, {len(batch)} examples", criterion.judge(metric, outputs, batch))
        for metric in criterion.metrics
    )


def artifact_size(artifact: Artifact) -> Measurement:
    return Measurement(
        "artifact_size", "B", "measured", "sum of the sizes of the artifact's files", Samples.of(artifact.size_bytes)
    )


def _check_rows(reply: Document, rows: Sequence[int]) -> None:
    """Each file's outputs start with its own number of examples, and are otherwise alike."""
    like = [(tensor.shape[1:], tensor.dtype, tensor.quantization) for tensor in reply.outputs[0].tensors]
    for file, count in zip(reply.outputs, rows, strict=True):
        if any(tensor.shape[:1] != [count] for tensor in file.tensors):
            raise RunnerError(f"outputs have shapes {[tensor.shape for tensor in file.tensors]} for {count} examples")
        if [(tensor.shape[1:], tensor.dtype, tensor.quantization) for tensor in file.tensors] != like:
            raise RunnerError("the outputs of one part of the examples are of another kind than those of the first")


def _real(arrays: Sequence[Array], file: OutputFile) -> tuple[Array, ...]:
    return tuple(real(array, tensor.quantization) for array, tensor in zip(arrays, file.tensors, strict=True))


def _document(reply: Document) -> dict[str, Any]:
    return reply.model_dump(mode="json", by_alias=True)


def _instructions(launches: Sequence[Launch], target: Target) -> tuple[Measurement, ...]:
    """None at all where no launch was asked for them; null with the reason where one could not count."""
    columns = _columns(launches)
    reason = next((column.instructions_reason for column in columns if column.instructions_reason), None)
    counts = [column.instructions for column in columns if column.instructions is not None]
    if not reason and len(counts) < len(columns):
        return ()
    method = f"instructions executed for one inference call (a whole batch), without the kernel's, {target.counted_by}"
    samples = None if reason else _per_inference(columns, counts)
    return (Measurement("instructions", "1", target.origin, method, samples, reason, clock="instructions"),)


def _latency(launches: Sequence[Launch]) -> Samples:
    columns = _columns(launches)
    return _per_inference(columns, [np.array(column.duration_ns, np.float64) / 1e9 for column in columns])


def _columns(launches: Sequence[Launch]) -> list[Columns]:
    return [launch.reply.samples for launch in launches if launch.reply.samples is not None]


def _per_inference(columns: Sequence[Columns], totals: Sequence[npt.ArrayLike]) -> Samples:
    """What each sample took of something, in all its loops together, as samples of one inference."""
    parts = [_launch_samples(column, total, launch) for launch, (column, total) in enumerate(zip(columns, totals, strict=True))]
    return Samples.joined(parts)


def _launch_samples(columns: Columns, totals: npt.ArrayLike, launch: int) -> Samples:
    start_ns, loops = np.array(columns.start_ns, np.float64), np.array(columns.loops, np.uint32)
    return Samples(
        value=np.asarray(totals, np.float64) / loops,
        launch=np.full(len(loops), launch, np.uint16),
        timed=np.array(columns.timed, np.bool_),
        loops=loops,
        start_s=(start_ns - start_ns[0]) / 1e9,
    )


def _per_launch(values: Sequence[float]) -> Samples:
    return dataclasses.replace(Samples.of(values), launch=np.arange(len(values), dtype=np.uint16))


def _memory(metric: str, method: str, target: Target, values: Sequence[int | None], derived_from: tuple[str, ...]) -> Measurement:
    known = [value for value in values if value is not None]
    reason = target.no_memory or ("the device has no /proc/self/status" if len(known) < len(values) else None)
    samples = None if reason else _per_launch(known)
    return Measurement(metric, "B", target.origin, method, samples, reason, derived_from=derived_from)


def _flags(replies: Sequence[Document]) -> tuple[str, ...]:
    """`warmup_capped`: warm-up ended by its cap; `major_faults`: pages came from disk while samples were taken."""
    flags = []
    if any(reply.warmup is not None and reply.warmup.capped for reply in replies):
        flags.append("warmup_capped")
    if any(
        r.process_before and r.process_after and r.process_after.major_faults > r.process_before.major_faults for r in replies
    ):
        flags.append("major_faults")
    return tuple(flags)
