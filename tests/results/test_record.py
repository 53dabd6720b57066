"""The record: what it refuses, and that its document, its hash and its JSON are one and the same."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.record import (
    COLUMNS,
    ORIGINS,
    STATUSES,
    Axes,
    Measurement,
    Record,
    Samples,
    canonical_json,
    canonical_sha256,
    cell_key,
    record_from_json,
)

words = st.text(max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words
documents = st.dictionaries(
    words,
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3)),
    max_size=4,
)


@st.composite
def sample_columns(draw: st.DrawFn) -> Samples:
    n = draw(st.integers(0, 6))

    def column(element: st.SearchStrategy[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        return np.array(draw(st.lists(element, min_size=n, max_size=n)), dtype)

    return Samples(
        column(st.floats(), np.float64),
        column(st.integers(0, 2**16 - 1), np.uint16),
        column(st.booleans(), np.bool_),
        column(st.integers(0, 2**32 - 1), np.uint32),
        column(st.floats(), np.float64),
    )


measurements = st.builds(
    lambda samples, reason, **fields: Measurement(samples=samples, reason=None if samples else reason, **fields),
    samples=st.none() | sample_columns().filter(len),
    reason=words,
    metric=words,
    unit=words,
    origin=st.sampled_from(ORIGINS),
    method=words,
    clock=st.none() | words,
    derived_from=st.lists(words, max_size=2).map(tuple),
    flags=st.lists(words, max_size=2).map(tuple),
)
records = st.builds(
    Record,
    id=words,
    run_id=words,
    cell_key=words,
    input_hash=words,
    machine_key=words,
    axes=st.builds(Axes, words, words, words, words, st.integers(1, 99), st.integers(1, 99), st.none() | words),
    status=st.sampled_from(STATUSES),
    reason=st.none() | words,
    error_class=st.none() | words,
    started=words,
    finished=words,
    attempt=st.integers(1, 9),
    claims=documents,
    measurements=st.lists(measurements, max_size=3).map(tuple),
    provenance=documents,
)


@given(records)
def test_json_and_back_loses_nothing(record: Record) -> None:
    line = json.dumps(record.to_json())
    again = record_from_json(json.loads(line))
    assert again == record
    assert again.sha256() == record.sha256()
    assert [field.name for field in dataclasses.fields(Record) if field.name not in record.to_json()] == []


@given(records, st.data())
def test_any_change_changes_the_hash(record: Record, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(["id", "machine_key", "reason", "claims", "provenance", "attempt", "axes"]))
    old = getattr(record, field)
    new: dict[str, Any] = {
        "axes": dataclasses.replace(record.axes, threads=record.axes.threads + 1),
        "attempt": record.attempt + 1,
        "claims": {**record.claims, "one more key": 1},
        "provenance": {**record.provenance, "one more key": 1},
    }
    changed = dataclasses.replace(record, **{field: new.get(field, f"{old}x")})
    assert changed.sha256() != record.sha256()


def test_an_axis_that_a_suite_does_not_name_is_not_in_the_document() -> None:
    """A record of before there was such an axis keeps its hash."""
    axes = Axes("m", "float32", "onnxruntime", "local")
    known = {
        "model": "m",
        "method": "float32",
        "backend": "onnxruntime",
        "target": "local",
        "threads": 1,
        "batch": 1,
        "layer": None,
    }
    assert axes.to_json() == known
    more: dict[str, Any] = {"cpus": "0-3", "governor": "performance", "frequency_hz": 3_000_000_000}
    assert dataclasses.replace(axes, **more).to_json() == known | more


def test_one_sample_more_or_other_changes_the_hash() -> None:
    def record(values: list[float]) -> Record:
        latency = Measurement("latency", "s", "measured", "clock", Samples.of(values))
        axes = Axes("m", "f", "b", "t")
        return Record("i", "r", "c", "h", "k", axes, "ok", None, None, "s", "f", measurements=(latency,))

    hashes = {record(values).sha256() for values in ([1.0, 2.0], [1.0, 2.0000000000000004], [2.0, 1.0], [1.0, 2.0, 2.0])}
    assert len(hashes) == 4


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "schema None"),
        ({"schema": 2}, "schema 2; this Assay reads schema 1"),
        ({"schema": 1}, "not a record document: 'measurements'"),
        ({"schema": 1, "measurements": [], "axes": {"model": "m"}}, "not a record document"),
        ({"schema": 1, "measurements": [{"samples": None}], "axes": {}}, "not a record document"),
    ],
)
def test_other_documents_are_refused(document: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        record_from_json(document)


def test_sample_columns_must_have_their_exact_types_and_one_length() -> None:
    good: dict[str, Any] = {name: np.zeros(2, dtype) for name, dtype in COLUMNS.items()}
    Samples(**good)
    for name, wrong, says in (
        ("value", np.zeros(2, np.float32), "`value` is float32"),
        ("launch", np.zeros(2, np.int64), "`launch` is int64"),
        ("timed", np.zeros(2, np.uint8), "`timed` is uint8"),
        ("value", np.zeros((2, 1)), r"float64\[2, 1\]"),
        ("value", np.zeros(2, ">f8"), "`value` is >f8"),
        ("loops", np.zeros(3, np.uint32), "different lengths"),
    ):
        with pytest.raises(ValueError, match=says):
            Samples(**{**good, name: wrong})
    assert tuple(COLUMNS) == tuple(f.name for f in dataclasses.fields(Samples))


def test_samples_are_equal_column_by_column_nan_included() -> None:
    assert Samples.of([1.0, float("nan")]) == Samples.of([1.0, float("nan")])
    assert Samples.of([1.0]) != Samples.of([2.0])
    assert Samples.of([1.0]) != Samples.of([1.0], launch=1)
    assert Samples.of([1.0]) != "samples"


def test_a_measurement_has_samples_or_a_reason() -> None:
    for samples, reason in ((None, None), (Samples.of(1.0), "why")):
        with pytest.raises(ValueError, match="latency: a measurement has either"):
            Measurement("latency", "s", "measured", "clock", samples, reason)


def test_measurement_by_name() -> None:
    size = Measurement("artifact_size", "B", "measured", "file", Samples.of(9))
    record = Record("i", "r", "c", "h", "k", Axes("m", "f", "b", "t"), "ok", None, None, "s", "f", measurements=(size,))
    assert record.measurement("artifact_size") is size
    assert record.measurement("latency") is None


def test_canonical_json_is_one_text_for_one_value() -> None:
    assert canonical_json({"b": np.float64(0.1), "a": [np.int64(1), np.arange(2)]}) == '{"a":[1,[0,1]],"b":0.1}'
    assert canonical_json({"a": Axes("m", "f", "b", "t")}) == canonical_json({"a": dataclasses.asdict(Axes("m", "f", "b", "t"))})
    assert canonical_sha256({"a": 1, "b": 2}) == canonical_sha256({"b": 2, "a": 1})
    assert len(canonical_sha256("what a device printed: \ud800")) == 64
    with pytest.raises(TypeError, match="object has no place in a record"):
        canonical_json({"a": object()})


def test_cell_keys_are_stable_and_tell_every_axis_apart() -> None:
    axes = Axes("m", "x", "b", "t", 1, 1)
    assert (
        cell_key(axes) == "1fc7cc9211ee36c2c4412fed50a59946597cda35d223b05c64713ee954c1c2a1"
    )  # a change tears every Series apart
    changed = [
        dataclasses.replace(axes, **{axis: "other"})  # type: ignore[arg-type]
        for axis in ("model", "method", "backend", "target", "layer")
    ]
    changed += [dataclasses.replace(axes, threads=2), dataclasses.replace(axes, batch=2), Axes("x", "m", "b", "t", 1, 1)]
    assert len({cell_key(a) for a in [axes, *changed]}) == len(changed) + 1
