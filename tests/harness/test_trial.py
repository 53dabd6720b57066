"""A trial: the artifact of a made cell, checked against its network's own answers and timed on a device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness import visit
from harness.errors import WrongAnswer
from harness.executor import Executor
from harness.identity import identify
from harness.plan import plan
from harness.steps import build_step
from harness.suite import Suite
from harness.suite_file import load_suite
from harness.trial import Trial, begun
from targets.target import Target

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("null_backend")]
TARGETS = {"local": Target("local")}


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    (tmp_path / "suite.yaml").write_text(
        "models: [{mlp: {epochs: 1}}]\nmethods: [float32]\nbackends: [nothing]\noperating_points: {batch: 3}\n"
        "sampling: {launches: 1, min_samples: 50, min_s: 0.5, evaluation_size: 64}\n"
    )
    return load_suite(str(tmp_path / "suite.yaml"), known_targets=TARGETS)


@pytest.fixture
def trial(suite: Suite) -> Trial:
    (cell,) = plan(suite, TARGETS, identify(suite, TARGETS), lambda _hashes: {})
    build = build_step(cell.workload, cell.method, cell.backend, cell.target, cell.point.batch, suite.seed)
    with Executor(1) as executor:
        assert executor.run([build])[build.key] is None
    return begun(cell, build, "t0")


def test_what_is_timed_is_what_was_checked(suite: Suite, trial: Trial, answer_in_process: Callable[..., None]) -> None:
    with np.load(trial.network / "examples.npz") as stored:
        right = stored["outputs"]
    asked: list[dict[str, object]] = []
    answer_in_process(right, lambda request: asked.append(request))
    with vars(visit)["connect"](trial.cell.target) as session:
        trial.deploy(session)
        trial.ask(session, suite.sampling)
        launch = trial.time(session, suite.sampling)
        trial.look_inside(session, suite.sampling)
    assert trial.check is not None and trial.check.passed and {m.metric for m in trial.quality} == {"top1"}
    assert [request["batch"] for request in asked] == [3, 3] and len(trial.first_batch[0]) == 3
    np.testing.assert_array_equal(launch.outputs[0], right[:3])
    assert "gives no time of its operators" in trial.profile["logs"]["profile"]

    answer_in_process(right + 1)
    with vars(visit)["connect"](trial.cell.target) as session:
        with pytest.raises(WrongAnswer):
            trial.time(session, suite.sampling)
        with pytest.raises(WrongAnswer):
            trial.ask(session, suite.sampling)
