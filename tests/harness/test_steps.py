"""Steps are frozen data with a key that hashes all that decides their result."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from harness import plugins, steps
from harness.errors import UserError
from harness.plugins import Choice
from harness.steps import build_step, compress_step, export_step, network_step, train_step, versions
from harness.suite import Workload
from targets.target import Target

MLP = Workload(Choice("mlp"), "digits")
PRUNE = Choice("magnitude_prune", (("sparsity", 0.9),))


def build(**changed: object) -> steps.Step:
    given = {"workload": MLP, "method": PRUNE, "backend": Choice("onnxruntime"), "target": Target("local"), "batch": 1, "seed": 0}
    return build_step(**given | changed)


def test_the_chain_is_train_compress_export_build() -> None:
    kinds, step = [], build()
    while True:
        kinds.append(step.kind)
        if not step.needs:
            break
        (step,) = step.needs
    assert kinds == ["build", "export", "compress", "train"]


def test_a_method_that_begins_at_another_of_its_family_needs_that_one_first() -> None:
    def compress(n: int, **more: object) -> steps.Step:
        return compress_step(Choice("mlp"), "digits", plugins.resolve("methods", "nm_train", {"n": n, "m": 4, **more}), 0)

    trained = train_step(Choice("mlp"), "digits", 0)
    assert compress(1).needs == (trained, compress(2)) and compress(2).needs == (trained, compress(3))
    assert compress(3).needs == compress(1, inherit=False).needs == (trained,)


def test_a_layer_is_cut_from_the_whole_network_s_own_step() -> None:
    layer = network_step(Workload(Choice("mlp"), "digits", "0"), PRUNE, 0)
    assert layer.kind == "layer" and layer.needs == (compress_step(Choice("mlp"), "digits", PRUNE, 0),)


def test_steps_travel_to_other_processes_unchanged() -> None:
    assert pickle.loads(pickle.dumps(build())) == build()
    assert json.loads(build().inputs)["backend"] == {"name": "onnxruntime", "params": {}}


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 1},
        {"method": Choice("magnitude_prune", (("sparsity", 0.8),))},
        {"backend": Choice("onnxruntime", (("graph_optimization", "none"),))},
        {"target": Target("other", isa="aarch64")},
        {"batch": 4},
        {"workload": Workload(Choice("mlp", (("epochs", 1),)), "digits")},
    ],
    ids=str,
)
def test_every_input_changes_the_key(changed: dict[str, object]) -> None:
    assert build(**changed).key != build().key


def test_sources_and_versions_change_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = train_step(Choice("mlp"), "digits", 0).key
    for name in ("sources_sha256", "_version"):
        for cached in (train_step, steps._toolchain):
            cached.cache_clear()
        with monkeypatch.context() as patched:
            patched.setattr(steps, name, lambda _argument: "other")
            assert train_step(Choice("mlp"), "digits", 0).key != before
    for cached in (train_step, steps._toolchain):
        cached.cache_clear()
    assert train_step(Choice("mlp"), "digits", 0).key == before


def test_the_runner_and_the_compiler_are_part_of_a_programs_key_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    native, other = build(backend=Choice("native")).key, build().key
    plain = steps.sources_sha256

    def with_another_runner(patterns: tuple[str, ...]) -> str:
        return "other" if any(pattern.startswith("runners/program/") for pattern in patterns) else plain(patterns)

    for name, patch in (
        ("sources_sha256", with_another_runner),
        ("_version", lambda name: "other" if name == "ziglang" else "same"),
    ):
        with monkeypatch.context() as patched:
            for cached in (build_step, steps._toolchain):
                cached.cache_clear()
            patched.setattr(steps, name, patch)
            found = build(backend=Choice("native")).key, build().key
        assert found[0] != native
        if name == "sources_sha256":
            assert found[1] == other
    for cached in (build_step, steps._toolchain):
        cached.cache_clear()
    assert all(any(steps._HERE.glob(pattern)) for pattern in ("toolchain.py", "runners/program/*.c", "runners/program/*.h"))


def test_what_is_built_for_this_machine_is_not_what_is_built_for_another_of_its_kind() -> None:
    """The one may use all that its CPU has."""
    assert build(target=Target("device")).key != build(target=Target("device", transport="ssh")).key


def test_a_checkpoint_is_part_of_the_key_and_must_exist(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(UserError, match="no such file"):
        train_step(plugins.resolve("models", "mlp", {"weights": str(path)}), "digits", 0)
    keys = set()
    for content in (b"one", b"two"):
        path.write_bytes(content)
        train_step.cache_clear()
        keys.add(train_step(plugins.resolve("models", "mlp", {"weights": str(path)}), "digits", 0).key)
    assert len(keys) == 2


def test_versions_of_what_is_not_installed_are_none() -> None:
    assert versions(("numpy", "no-such-distribution"))["no-such-distribution"] is None


def test_exports_are_shared_by_backends_that_take_the_same_form() -> None:
    assert build().needs == (export_step(MLP, PRUNE, "onnx", 1, 0),)


def test_the_content_of_a_methods_files_is_part_of_the_key_and_they_must_exist(tmp_path: Path) -> None:
    def key(text: str) -> str:
        table.write_text(text)
        steps.compress_step.cache_clear()
        return compress_step(Choice("mlp"), "digits", method, 0).key

    table = tmp_path / "table.json"
    method = Choice("scheme_map", (("sparsity", 0.5), ("map", "rule"), ("table", str(table))))
    assert key("one") == key("one") != key("two")
    assert "files_sha256" in compress_step(Choice("mlp"), "digits", method, 0).inputs
    uniform = Choice("scheme_map", (("sparsity", 0.5),))
    assert "files_sha256" not in compress_step(Choice("mlp"), "digits", uniform, 0).inputs, "it names no file"
    table.unlink()
    steps.compress_step.cache_clear()
    with pytest.raises(UserError, match=r"table `.*`: no such file; `scheme_map` reads it"):
        compress_step(Choice("mlp"), "digits", method, 0)
