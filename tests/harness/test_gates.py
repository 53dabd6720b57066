from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from harness.gates import gates_text
from harness.suite import Gate
from results.record import Axes, Measurement, Record, Samples

GATE = Gate("cnn", "top1", 0.75)


def record(hits: list[int] | None, method: str = "float32", layer: str | None = None, model: str = "cnn") -> Record:
    samples: Any = None if hits is None else Samples.of(np.array(hits, float))
    judged = Measurement("top1", "1", "measured", "x", samples, None if samples else "not judged")
    return Record(
        id=f"{method}{model}{layer}", run_id="r", cell_key="k", input_hash="h", machine_key="m",
        axes=Axes(model, method, "ort", "local", 1, 1, layer), status="ok", reason=None, error_class=None,
        started="2026-01-01T00:00:00Z", finished="2026-01-01T00:00:01Z", claims={}, measurements=(judged,), provenance={},
    )  # fmt: skip


def test_a_gate_that_all_reach_says_so_also_when_just_reached() -> None:
    text = gates_text((GATE,), [record([1, 1, 1, 0]), record([1, 1, 1, 1], "int8")])
    assert text == "gate: cnn, top1 at least 0.75: reached by all 2"


def test_what_misses_is_named_with_its_quality() -> None:
    text = gates_text((GATE,), [record([1, 1, 1, 0]), record([1, 0, 1, 0], "pruned")])
    assert text == "gate: cnn, top1 at least 0.75: missed by 1 of 2: pruned 0.5000"


def test_other_models_layers_and_what_was_not_judged_do_not_count() -> None:
    others = [record([0], model="mlp"), record([0], layer="conv1"), record(None)]
    assert gates_text((GATE,), others) == "gate: cnn, top1 at least 0.75: nothing was judged"
    assert gates_text((), others) == ""


def test_axes_on_which_nothing_differs_are_not_told() -> None:
    low = record([0, 1], "int8")
    elsewhere = dataclasses.replace(low, axes=dataclasses.replace(low.axes, backend="litert"))
    text = gates_text((GATE,), [record([1, 1]), low, elsewhere])
    assert text.endswith("missed by 2 of 3: int8 | ort 0.5000; int8 | litert 0.5000")
