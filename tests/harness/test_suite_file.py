"""A suite resolves completely or is refused with file, line and the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UserError
from harness.suite import Gate, OperatingPoint, Suite
from harness.suite_file import load_suite, shipped_suites
from targets.target import Target

GOOD = """\
name: good
models: [mlp, small_cnn]
methods:
  - float32
  - magnitude_prune: {sparsity: [0.5, 0.9], fine_tune_epochs: [0, 1]}
backends: [onnxruntime, litert]
operating_points: {threads: [1, 2], batch: 4}
sampling: {launches: 5, min_s: 0.5}
baseline: {method: float32, backend: onnxruntime}
exclude:
  - {method: magnitude_prune, backend: litert}
tables:
  - {name: t1, columns: method, rows: [model], metrics: [latency]}
"""


def load(text: str, tmp_path: Path, name: str = "suite.yaml") -> Suite:
    path = tmp_path / name
    path.write_text(text)
    return load_suite(str(path), known_targets={name: Target(name) for name in ("local", "board")})


def test_a_suite_resolves_to_its_axes(tmp_path: Path) -> None:
    suite = load(GOOD, tmp_path)
    assert [w.label for w in suite.workloads] == ["mlp", "small_cnn"]
    assert len(suite.methods) == 1 + 2 * 2
    assert suite.points == (OperatingPoint(1, 4), OperatingPoint(2, 4))
    assert suite.sampling.launches == 5 and suite.sampling.min_s == 0.5
    assert suite.targets == ("local",)
    assert suite.baseline == (("method", "float32"), ("backend", "onnxruntime"))
    assert suite.tables[0].columns == ("method",)


@pytest.mark.parametrize("path", shipped_suites(), ids=lambda path: path.stem)
def test_every_shipped_suite_resolves_by_name(path: Path) -> None:
    farm = ("desk-ssh", "desk-adb", "arm-qemu", "board-ssh", "board-adb")
    suite = load_suite(path.stem, known_targets={name: Target(name) for name in ("local", *farm)})
    assert suite.name == path.stem and suite.about


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("models:", "modles:", 2, "unknown key `modles`. Did you mean `models`"),
        ("[mlp, small_cnn]", "[mlp, smal_cnn]", 2, "unknown model `smal_cnn`. Did you mean `small_cnn`"),
        ("[mlp, small_cnn]", "[mlp, mlp]", 2, "named twice"),
        ("[mlp, small_cnn]", "[]", 2, "missing or empty"),
        ("[mlp, small_cnn]", "mlp", 2, "is a list"),
        ("[mlp, small_cnn]", "[{mlp: {}, small_cnn: {}}]", 2, "expected a name"),
        ("  - float32", "  - flaot32", 4, "Did you mean `float32`"),
        ("sparsity: [0.5, 0.9]", "sparsity: [0.5, 1.9]", 5, "parameter `sparsity`"),
        ("sparsity: [0.5, 0.9]", "sparsity: []", 5, "empty list"),
        ("sparsity: [0.5, 0.9]", "sparsity: [0.5, 0.5]", 3, "named twice"),
        ("sparsity: [0.5", "strength: [0.5", 5, "unknown parameter `strength`"),
        ("[onnxruntime, litert]", "[onnxruntime, litter]", 6, "Did you mean `litert`"),
        ("threads: [1, 2]", "threads: [1, many]", 7, "whole number"),
        ("threads: [1, 2]", "threads: 0", 7, "whole number"),
        ("threads: [1, 2]", "thread: 1", 7, "Did you mean `threads`"),
        ("launches: 5", "launches: five", 8, "launches"),
        ("launches: 5", "launchs: 5", 8, "Did you mean `launches`"),
        ("launches: 5", "launches: 0", 8, "launches"),
        ("min_s: 0.5", "min_s: -1", 8, "min_s"),
        ("method: float32, backend", "method: int8_ptq, backend", 9, "not in this suite"),
        ("{method: magnitude_prune, backend: litert}", "{method: magnitude_pruen}", 11, "matches nothing"),
        ("{method: magnitude_prune, backend: litert}", "{methods: x}", 11, "Did you mean `method`"),
        ("{method: magnitude_prune, backend: litert}", "{}", 11, "empty condition"),
        ("metrics: [latency]", "metrics: [latencies]", 13, "Did you mean `latency`"),
        ("name: t1", "name: ../t1", 13, "file name"),
        ("columns: method", "columns: model", 13, "both rows and columns"),
        ("name: good", "name: ../../etc", 1, "a suite's name"),
        ("name: good", "seed: -1", 1, "whole number"),
        ("name: good", "targets: [bored]", 1, "Did you mean `board`"),
        ("name: good", "gates: [0.8]", 1, "`gates` is a mapping of models"),
        ("name: good", "gates: {mpl: 0.8}", 1, "model `mpl` matches nothing here. Did you mean `mlp`"),
        ("name: good", "gates: {mlp: 85}", 1, "a share above 0 and up to 1, not 85"),
        ("name: good", "gates: {mlp: true}", 1, "a share above 0 and up to 1"),
        ("name: good", "gates: {mlp: 0.8, m*: 0.9}", 1, "model `mlp` has a gate already"),
        ("[mlp, small_cnn]", "[mlp: {data: digts}]", 2, "unknown data set `digts`. Did you mean `digits`"),
        ("[mlp, small_cnn]", "[mlp: {data: cifar10(scael=unit)}]", 2, "unknown parameter `scael` of data set `cifar10`"),
    ],
)
def test_a_mistake_is_refused_with_its_line(old: str, new: str, line: int, says: str, tmp_path: Path) -> None:
    assert old in GOOD
    with pytest.raises(UserError) as caught:
        load(GOOD.replace(old, new, 1), tmp_path)
    assert says in str(caught.value)
    assert f"suite.yaml:{line}:" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "just text", "3"])
def test_a_file_that_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a suite is a mapping"):
        load(text, tmp_path)


def test_a_gate_holds_for_each_model_it_matches_by_that_models_first_metric(tmp_path: Path) -> None:
    suite = load(GOOD.replace("name: good", "gates: {mlp: 0.9, 'small*': 1}"), tmp_path)
    assert suite.gates == (Gate("mlp", "top1", 0.9), Gate("small_cnn", "top1", 1.0))
    assert suite.to_json()["gates"]["small_cnn"] == {"metric": "top1", "least": 1.0}


def test_a_models_data_may_have_parameters(tmp_path: Path) -> None:
    suite = load(GOOD.replace("[mlp, small_cnn]", "[{mlp: {data: [cifar10, cifar10(scale=imagenet)]}}]"), tmp_path)
    assert [w.data for w in suite.workloads] == ["cifar10", "cifar10(scale=imagenet)"]
    assert [w.label for w in suite.workloads] == ["mlp(data=cifar10)", "mlp(data=cifar10(scale=imagenet))"]


def test_extends_replaces_keys_and_merges_sampling(tmp_path: Path) -> None:
    load(GOOD, tmp_path)
    suite = load("extends: suite.yaml\nmethods: [float32]\nexclude: []\nsampling: {launches: 3}\n", tmp_path, "child.yaml")
    assert suite.name == "child"
    assert [m.label for m in suite.methods] == ["float32"]
    assert (suite.sampling.launches, suite.sampling.min_s) == (3, 0.5)


def test_a_mistake_in_the_extended_suite_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(GOOD.replace("launches: 5", "launches: x"))
    with pytest.raises(UserError, match=r"base\.yaml:6: unknown backend"):
        (tmp_path / "base.yaml").write_text(GOOD.replace("litert]", "litter]"))
        load("extends: base.yaml\nname: child\n", tmp_path, "child.yaml")


def test_extends_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    with pytest.raises(UserError, match="circle"):
        load("extends: a.yaml\n", tmp_path, "b.yaml")


def test_targets_that_the_inventory_lacks_are_named_all_at_once_with_how_to_get_them() -> None:
    with pytest.raises(UserError, match=r"`desk-ssh`, `desk-adb`, `arm-qemu`, `board-ssh`, `board-adb`.*targets add.*board up"):
        load_suite("farm_demo", known_targets={"local": Target("local")})


def test_an_unknown_suite_names_the_nearest_that_ships(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean `smoke`"):
        load_suite("smok", known_targets={"local": Target("local")})


DEVICES = {
    "pi": Target("pi", thread_counts=(1, 4), frequencies_hz=(600_000_000, 1_500_000_000)),
    "desk": Target("desk"),
    "board": Target("board", origin="emulated"),
}


def points(given: str, tmp_path: Path, targets: str = "pi") -> tuple[OperatingPoint, ...]:
    path = tmp_path / "points.yaml"
    path.write_text(
        f"models: [mlp]\nmethods: [float32]\nbackends: [onnxruntime]\ntargets: [{targets}]\noperating_points:{given}\n"
    )
    return load_suite(str(path), known_targets=DEVICES).points


def test_operating_points_are_products_one_after_another(tmp_path: Path) -> None:
    given = """
  - {threads: [1, 2], governor: [null, performance]}
  - {cpus: [[3, 2], [0]], frequency_hz: 600000000}"""
    assert points(given, tmp_path) == (
        OperatingPoint(1), OperatingPoint(1, governor="performance"), OperatingPoint(2), OperatingPoint(2, governor="performance"),
        OperatingPoint(cpus=(2, 3), frequency_hz=600_000_000), OperatingPoint(cpus=(0,), frequency_hz=600_000_000),
    )  # fmt: skip
    assert points(" {cpus: [0, 1]}", tmp_path) == (OperatingPoint(cpus=(0, 1)),)
    assert points(" {}", tmp_path) == (OperatingPoint(),)


def test_a_sweep_has_a_point_at_every_step_of_the_inventory(tmp_path: Path) -> None:
    swept = points(" {frequency_hz: steps, threads: [1, 4]}", tmp_path, "pi, desk")
    assert [(point.frequency_hz, point.threads) for point in swept] == [
        (600_000_000, 1), (600_000_000, 4), (1_500_000_000, 1), (1_500_000_000, 4),
    ]  # fmt: skip
    with pytest.raises(UserError, match="has no `frequencies_hz` of desk"):
        points(" {frequency_hz: steps}", tmp_path, "desk")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (" []", "a mapping with the keys threads, batch, cpus, governor, frequency_hz, or a list of such"),
        (" 4", "or a list of such"),
        (" [4]", "expected a mapping"),
        (" {clock: 1}", "unknown key `clock`"),
        (" {threads: null}", "whole number"),
        (" {cpus: 3}", "a list of CPU numbers, each once"),
        (" {cpus: [1, 1]}", "each once"),
        (" {cpus: []}", "each once"),
        (" {cpus: [-1]}", "each once"),
        (" {cpus: [[0, 1], [1, 0]]}", "names a value twice"),
        (" {governor: Per formance}", "the name of a governor"),
        (" {governor: 3}", "the name of a governor"),
        (" {frequency_hz: 600000000.0}", "a clock in Hz"),
        (" {frequency_hz: 600}", "a clock in Hz"),
        (" {frequency_hz: 600000001}", "in whole kHz"),
        (
            " {frequency_hz: 700000000}",
            "no target of this suite can be run so: pi cannot be held at 700000000 Hz; its `frequencies_hz` are 600000000",
        ),
        (" {cpus: [4]}", "pi has no CPU 4; by its `thread_counts` the last one is 3"),
        (" [{threads: 1}, {batch: 1}]", "named twice"),
    ],
)
def test_an_operating_point_that_cannot_be_says_where_and_why(given: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"points.yaml:5: ") as error:
        points(given, tmp_path)
    assert says in str(error.value)


def test_a_point_is_refused_only_where_no_target_can(tmp_path: Path) -> None:
    (point,) = points(" {frequency_hz: 700000000}", tmp_path, "pi, desk, board")
    assert "cannot be held" in str(point.refusal(DEVICES["pi"])) and point.refusal(DEVICES["desk"]) is None
