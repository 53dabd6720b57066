"""What the shipped suites promise of themselves."""

from __future__ import annotations

from pathlib import Path

from harness import plugins
from harness.plan import estimated_s, plan
from harness.suite import Suite
from harness.suite_file import load_suite
from targets.target import Target

ROOT = Path(__file__).resolve().parent.parent
GATES = {"resnet8(data=cifar10)": 0.85, "ds_cnn": 0.90, "mobilenet_v1": 0.80, "fc_autoencoder": 0.85}
"""MLPerf Tiny's own, of its closed division."""


def load(name: str) -> Suite:
    return load_suite(name, known_targets={"local": Target("local")})


def test_mlperf_tiny_keeps_the_benchmarks_run_rules() -> None:
    suite = load("mlperf_tiny")
    assert suite.sampling.launches == 5 and suite.sampling.min_s >= 10 and suite.sampling.min_samples >= 10
    assert [point.batch for point in suite.points] == [1] and suite.sampling.evaluation_size is None
    assert {gate.model: gate.least for gate in suite.gates} == GATES
    assert {gate.model: gate.metric for gate in suite.gates}["fc_autoencoder"] == "auc"


def test_its_quick_variant_measures_the_same_in_less_than_a_quarter_of_an_hour_and_says_that_it_is_not_the_benchmark() -> None:
    whole, quick = load("mlperf_tiny"), load("mlperf_tiny_quick")
    assert (quick.workloads, quick.methods, quick.backends, quick.gates) == (
        whole.workloads,
        whole.methods,
        whole.backends,
        whole.gates,
    )
    cells = plan(quick, {"local": Target("local")}, repr, lambda _hashes: {})
    assert sum(estimated_s(cell, quick.sampling) for cell in cells) < 5 * 60  # the rest is for exports and judging
    assert "shorter than the benchmark's rules" in quick.about


def test_pretrained_trains_nothing() -> None:
    suite = load("pretrained")
    for workload in suite.workloads:
        assert plugins.instantiate("models", workload.model).weights
    for choice in suite.methods:
        assert getattr(plugins.instantiate("methods", choice), "fine_tune_epochs", 0) == 0


def test_methods_compares_every_method_at_several_strengths() -> None:
    ours = {path.stem for path in (ROOT / "harness" / "compression").glob("*.py") if path.stem != "__init__"}
    chosen = [choice.name for choice in load("methods").methods]
    assert set(chosen) == ours
    assert all(chosen.count(name) >= 2 for name in ours - {"float32"})


def test_networks_of_every_kind_are_in_methods() -> None:
    names = {workload.model.name for workload in load("methods").workloads}
    assert names == {"resnet20", "resnet56", "mobilenet_v2", "vgg16", "ds_cnn", "text_transformer"}
