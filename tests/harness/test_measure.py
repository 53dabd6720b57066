"""Measuring over a true transport: answers in parts, timed launches, and what becomes of them in a record."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness import measure
from harness.artifact import Artifact
from harness.criterion import Criterion
from harness.data import Batch
from harness.errors import RunnerError, WrongAnswer
from harness.measure import Answer, Deployed, Launch
from harness.suite import Sampling
from results.record import Measurement
from targets.session import Session
from targets.target import Target
from targets.transports import connect

BACKEND = """
import os
import numpy as np

class Network:
    # two outputs of [b, 2] inputs: x @ weights as float32, and round(2 x) + 3 as int8; one of the file's own shape when whole
    def __init__(self, path, options):
        self.weights = np.load(path)
        self.options = options
    def set_inputs(self, arrays):
        self.arrays = arrays
    def invoke(self):
        self.product = self.arrays[0] @ self.weights
    def outputs(self):
        rows = len(self.arrays[0]) + self.options.get("extra_rows", 0)
        quantized = np.rint(2 * self.arrays[0]).astype(np.int8) + np.int8(3)
        return [np.resize(self.product, (rows,) + self.product.shape[1:]), quantized]
    def output_quantization(self):
        return [None, (0.5, 3)]
    def operators(self, runs):
        assert self.options["profile"] and runs >= 1
        return [{"name": "product", "op": "MatMul", "time_s": 1e-6 * runs / runs}]
    def facts(self):
        return {"threads": self.options["threads"]}

def load(folder, file, options):
    return Network(os.path.join(folder, file), options)
"""
WEIGHTS = np.array([[1.0, 2.0, 3.0], [-1.0, 0.5, 4.0]], np.float32)
DEVICE, EMULATED = Target("device"), Target("device", origin="emulated")
FAST = Sampling(warmup_samples=2, warmup_s=0.005, min_samples=5, min_s=0.02, min_sample_s=0.001, max_launch_s=60)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with connect(Target("device", work_dir=str(tmp_path / "work"))) as session:
        yield session


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    (tmp_path / "artifact").mkdir()
    np.save(tmp_path / "artifact" / "weights.npy", WEIGHTS)
    (tmp_path / "artifact" / "notes").write_bytes(b"x" * 100)
    return Artifact.of(tmp_path / "artifact", ("weights.npy", "notes"), {})


def deployed(session: Session, artifact: Artifact, tmp_path: Path, **options: Any) -> Deployed:
    (tmp_path / "product.py").write_text(BACKEND)
    return measure.deploy(session, artifact, tmp_path / "product.py", {"threads": 1, **options}, ("numpy",))


def examples(rows: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).integers(-8, 8, (rows, 2)).astype(np.float32) * np.float32(0.5)


@pytest.fixture
def launches(session: Session, artifact: Artifact, tmp_path: Path) -> list[Launch]:
    put = deployed(session, artifact, tmp_path)
    return [measure.time_launch(session, put, [examples(4)], batch=2, sampling=FAST) for _ in range(3)]


def by_metric(measurements: tuple[Measurement, ...]) -> dict[str, Measurement]:
    return {m.metric: m for m in measurements}


def samples_of(measurement: Measurement) -> npt.NDArray[np.float64]:
    assert measurement.samples is not None
    return measurement.samples.value


@pytest.mark.parametrize(("rows", "batch"), [(1, 1), (7, 1), (7, 3), (2, 5)])
def test_answers_are_real_values_of_every_example(
    session: Session, artifact: Artifact, tmp_path: Path, rows: int, batch: int
) -> None:
    x = examples(rows)
    answer = measure.answer(session, deployed(session, artifact, tmp_path), [x], batch=batch, timeout_s=60)
    np.testing.assert_allclose(answer.outputs[0], [row @ WEIGHTS for row in x], rtol=1e-6)
    assert answer.raw[1].dtype == np.int8 and answer.outputs[1].dtype == np.float32
    np.testing.assert_array_equal(answer.outputs[1], x)
    assert answer.document()["facts"] == {"threads": 1}
    json.dumps(answer.document(), allow_nan=False)


@pytest.mark.parametrize("batch", [1, 3])
def test_large_inputs_go_in_parts_and_come_back_in_order(
    session: Session, artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(measure, "PART_BYTES", 64)  # eight rows of two float32
    x = examples(21)
    answer = measure.answer(session, deployed(session, artifact, tmp_path), [x], batch=batch, timeout_s=60)
    step = 8 if batch == 1 else 6
    assert [file.tensors[0].shape[0] for file in answer.reply.outputs] == [min(step, 21 - s) for s in range(0, 21, step)]
    np.testing.assert_array_equal(answer.outputs[1], x)


def test_whole_tensors_are_answered_set_by_set(session: Session, artifact: Artifact, tmp_path: Path) -> None:
    sets = [[examples(rows)] for rows in (3, 1)]
    answers = measure.answer_each(session, deployed(session, artifact, tmp_path), sets, timeout_s=60)
    for (x,), answer in zip(sets, answers, strict=True):
        np.testing.assert_allclose(answer.outputs[0], x @ WEIGHTS, rtol=1e-6)
        np.testing.assert_array_equal(answer.outputs[1], x)


@pytest.mark.parametrize("inputs", [[], [np.zeros((0, 2))], [np.zeros((2, 2)), np.zeros((3, 2))]])
def test_inputs_must_be_examples(session: Session, artifact: Artifact, tmp_path: Path, inputs: list[npt.NDArray[Any]]) -> None:
    with pytest.raises(ValueError, match="same positive number of examples"):
        measure.answer(session, deployed(session, artifact, tmp_path), inputs, batch=1, timeout_s=60)


def test_outputs_without_the_batch_are_refused(session: Session, artifact: Artifact, tmp_path: Path) -> None:
    put = deployed(session, artifact, tmp_path, extra_rows=1)
    with pytest.raises(RunnerError, match="does not start with the batch 2"):
        measure.answer(session, put, [examples(4)], batch=2, timeout_s=60)
    with pytest.raises(RunnerError, match=r"outputs have shapes \[\[3, 3\], \[2, 2\]\] for 2 examples"):
        measure.time_launch(session, put, [examples(4)], batch=2, sampling=FAST)


def test_a_launch_holds_the_timed_process_own_outputs(launches: list[Launch]) -> None:
    for launch in launches:
        np.testing.assert_allclose(launch.outputs[0], examples(4)[:2] @ WEIGHTS, rtol=1e-6)
        np.testing.assert_array_equal(launch.outputs[1], examples(4)[:2])
        assert "samples" not in launch.document() and launch.document()["wall_s"] == launch.wall_s
        json.dumps(launch.document(), allow_nan=False)


def test_a_launch_survives_the_journal(launches: list[Launch]) -> None:
    text = json.dumps(launches[0].to_json(), allow_nan=False)
    again = Launch.from_json(json.loads(text))
    assert again == launches[0] and again != launches[1]
    assert measure.measurements([again], DEVICE) == measure.measurements(launches[:1], DEVICE)


def test_a_journal_that_was_tampered_with_is_refused(launches: list[Launch]) -> None:
    document = launches[0].to_json()
    document["reply"]["samples"]["duration_ns"][-1] = -1
    with pytest.raises(ValueError, match="duration_ns"):
        Launch.from_json(document)


def test_whole_tensors_are_timed_as_they_are(session: Session, artifact: Artifact, tmp_path: Path) -> None:
    launch = measure.time_launch(session, deployed(session, artifact, tmp_path), [examples(5)], batch=None, sampling=FAST)
    assert launch.outputs[0].shape == (5, 3)


def test_latency_keeps_every_sample_with_its_launch(launches: list[Launch]) -> None:
    latency = by_metric(measure.measurements(launches, EMULATED))["latency"]
    samples = latency.samples
    assert samples is not None
    assert (latency.unit, latency.origin, latency.clock) == ("s", "emulated", "CLOCK_MONOTONIC")
    position = 0
    for index, launch in enumerate(launches):
        columns = launch.reply.samples
        assert columns is not None
        for start, duration, loops, timed in zip(
            columns.start_ns, columns.duration_ns, columns.loops, columns.timed, strict=True
        ):
            assert samples.value[position] == pytest.approx(duration / loops / 1e9)
            assert samples.start_s[position] == pytest.approx((start - columns.start_ns[0]) / 1e9)
            assert (samples.launch[position], samples.loops[position], samples.timed[position]) == (index, loops, timed)
            position += 1
    assert position == len(samples)


def test_each_launch_leaves_its_memory_and_load_time(launches: list[Launch]) -> None:
    found = by_metric(measure.measurements(launches, DEVICE))
    assert set(found) == {"latency", "load_time", "peak_memory", "model_memory"}
    for metric, unit in (("load_time", "s"), ("peak_memory", "B"), ("model_memory", "B")):
        samples = found[metric].samples
        assert samples is not None and found[metric].unit == unit
        assert samples.launch.tolist() == [0, 1, 2] and samples.timed.all()
    assert samples_of(found["load_time"]).tolist() == [launch.reply.load_s for launch in launches]
    assert (samples_of(found["peak_memory"]) > samples_of(found["model_memory"])).all()
    assert found["model_memory"].derived_from == ("peak_memory",)


def changed(launch: Launch, part: str, **values: Any) -> Launch:
    reply = launch.reply.model_copy(update={part: getattr(launch.reply, part).model_copy(update=values)})
    return dataclasses.replace(launch, reply=reply)


def test_memory_that_was_not_seen_is_null_with_a_reason(launches: list[Launch]) -> None:
    blind = changed(launches[1], "memory", peak_rss_bytes=None)
    found = by_metric(measure.measurements([launches[0], blind], DEVICE))
    for metric in ("peak_memory", "model_memory"):
        assert found[metric].samples is None and found[metric].reason == "the device has no /proc/self/status"
    assert found["latency"].samples is not None


def test_instructions_are_a_measurement_of_their_own_where_they_were_asked_for(launches: list[Launch]) -> None:
    assert "instructions" not in by_metric(measure.measurements(launches, EMULATED))
    counted = []
    for number, launch in enumerate(launches):
        columns = launch.reply.samples
        assert columns is not None
        counted.append(changed(launch, "samples", instructions=[(7 + number) * loops for loops in columns.loops]))
    found = by_metric(measure.measurements(counted, EMULATED))
    latency, instructions = found["latency"], found["instructions"]
    assert latency.samples is not None and instructions.samples is not None
    assert (instructions.unit, instructions.clock, instructions.origin) == ("1", "instructions", "emulated")
    assert instructions.samples.value.tolist() == [7 + launch for launch in instructions.samples.launch]
    for column in ("launch", "timed", "loops", "start_s"):
        np.testing.assert_array_equal(getattr(instructions.samples, column), getattr(latency.samples, column))


def test_a_clock_that_counts_instructions_tells_no_time(launches: list[Launch]) -> None:
    columns = launches[0].reply.samples
    assert columns is not None
    counted = changed(launches[0], "samples", instructions=[7 * loops for loops in columns.loops])
    board = dataclasses.replace(EMULATED, counts_instructions=True)
    found = by_metric(measure.measurements([counted], board))
    for metric in ("latency", "load_time"):
        assert found[metric].samples is None and "tells no time" in (found[metric].reason or "")
    assert set(samples_of(found["instructions"])) == {7.0} and found["peak_memory"].samples is not None
    a_real_core = dataclasses.replace(DEVICE, counts_instructions=True)
    assert by_metric(measure.measurements([counted], a_real_core))["latency"].samples is not None


def test_the_memory_of_an_emulator_is_not_the_programs(launches: list[Launch]) -> None:
    found = by_metric(measure.measurements(launches, Target("device", transport="qemu", isa="aarch64")))
    for metric in ("peak_memory", "model_memory"):
        assert found[metric].samples is None and "emulator" in (found[metric].reason or "")
    assert found["latency"].samples is not None and found["latency"].origin == "emulated"


def test_instructions_that_one_launch_could_not_count_are_null_with_the_reason(launches: list[Launch]) -> None:
    columns = launches[0].reply.samples
    assert columns is not None
    good = changed(launches[0], "samples", instructions=[7] * len(columns.loops))
    bad = changed(launches[1], "samples", instructions_reason="the kernel counts no instructions")
    found = by_metric(measure.measurements([good, bad], DEVICE))["instructions"]
    assert found.samples is None and found.reason == "the kernel counts no instructions"


def test_what_spoils_a_timing_is_flagged(launches: list[Launch]) -> None:
    def flags(*changes: Launch) -> tuple[str, ...]:
        return by_metric(measure.measurements(changes, DEVICE))["latency"].flags

    after = launches[0].reply.process_after
    assert after is not None
    calm = changed(launches[0], "process_before", major_faults=after.major_faults)
    assert flags(calm) == ()
    assert flags(calm, changed(calm, "warmup", capped=True)) == ("warmup_capped",)
    assert flags(calm, changed(calm, "process_after", major_faults=after.major_faults + 1)) == ("major_faults",)


def test_each_metric_of_the_criterion_is_measured() -> None:
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.5, 0.5]], np.float32)
    batch = Batch(np.zeros((4, 1), np.float32), np.array([1, 1, 1, 0]))
    top1, f1 = measure.quality(scores, batch, Criterion(("top1", "f1")), "emulated")
    assert (top1.metric, top1.unit, top1.origin) == ("top1", "1", "emulated")
    assert top1.method == "largest of the network's outputs is the label, 4 examples"
    assert samples_of(top1).tolist() == [1, 0, 1, 1]
    assert samples_of(f1).tolist() == [1, 0, 1, 0]


def test_a_profile_is_a_launch_of_its_own(session: Session, artifact: Artifact, tmp_path: Path) -> None:
    put = deployed(session, artifact, tmp_path)
    (found,) = measure.operators(session, put, [examples(2)], batch=2, timeout_s=60)
    assert (found.name, found.op, found.time_s) == ("product", "MatMul", 1e-6)


def test_artifact_size_counts_every_file(artifact: Artifact) -> None:
    found = measure.artifact_size(artifact)
    total = sum(path.stat().st_size for path in artifact.folder.iterdir())
    assert (found.metric, found.unit, samples_of(found).tolist()) == ("artifact_size", "B", [total])


def test_the_same_artifact_answers_the_same_in_another_process(session: Session, artifact: Artifact, tmp_path: Path) -> None:
    put = deployed(session, artifact, tmp_path)
    answer: Answer = measure.answer(session, put, [examples(4)], batch=2, timeout_s=60)
    launch = measure.time_launch(session, put, [examples(4)], batch=2, sampling=FAST)
    measure.require(measure.check(launch.outputs, [output[:2] for output in answer.outputs], "same"))
    with pytest.raises(WrongAnswer, match="another process"):
        measure.require(measure.check(launch.outputs, [output[2:] for output in answer.outputs], "same"))
