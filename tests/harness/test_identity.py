"""What decides a cell's numbers: any change of it is another identity, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness import identity
from harness.identity import identify
from harness.plan import Point
from harness.plugins import Choice
from harness.suite import OperatingPoint, Sampling, Suite, Workload
from harness.suite_file import load_suite
from targets.target import Target

TARGETS = {"local": Target("local")}
POINT: Point = (Workload(Choice("mlp"), "digits"), Choice("float32"), Choice("onnxruntime"), TARGETS["local"], OperatingPoint())


@pytest.fixture
def suite() -> Suite:
    return load_suite("smoke", known_targets={"local": Target("local")})


def test_identity_is_the_same_for_the_same_inputs(suite: Suite) -> None:
    assert identify(suite, TARGETS)(POINT) == identify(suite, TARGETS)(POINT)
    assert identify(replace(suite, about="other", tables=()), TARGETS)(POINT) == identify(suite, TARGETS)(POINT)


def test_sampling_seed_and_machine_change_it(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {identify(suite, TARGETS)(POINT)}
    found.add(identify(replace(suite, sampling=Sampling(launches=9)), TARGETS)(POINT))
    found.add(identify(replace(suite, seed=1), TARGETS)(POINT))
    monkeypatch.setattr(identity, "_machine", lambda _target: "another machine")
    found.add(identify(suite, TARGETS)(POINT))
    assert len(found) == 4


def test_a_device_elsewhere_is_not_touched(suite: Suite) -> None:
    board = {"local": Target("local", transport="ssh", address="192.0.2.1")}
    assert identify(suite, board)(POINT) != identify(suite, TARGETS)(POINT)
