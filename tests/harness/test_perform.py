"""The real chain of steps on a small network: each leaves what the next one needs, whole, and the same every time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.artifact import Artifact
from harness.errors import BuildError, Unsupported
from harness.export import Exported
from harness.perform import perform
from harness.plugins import Choice, instantiate, named, resolve
from harness.steps import Step, build_step, compress_step, network_step, train_step
from harness.suite import Workload
from targets.target import Target

pytestmark = pytest.mark.torch

MLP = Choice("mlp", (("epochs", 1),))


def do(step: Step) -> Path:
    for need in step.needs:
        do(need)
    perform(step, lambda _what, _share: None)
    return step.folder


def test_the_chain_ends_in_an_artifact_that_is_described(own_cache: Path) -> None:
    step = build_step(Workload(MLP, "digits"), Choice("int8_ptq"), Choice("onnxruntime"), Target("local"), 2, 0)
    artifact = Artifact.load(do(step))
    assert artifact.size_bytes > 1000 and artifact.files[0].sha256
    exported = Exported.load(step.needs[0].folder)
    assert (exported.numeric, exported.batch) == ("int8", 2)
    compressed = json.loads((step.needs[0].needs[0].folder / "compressed.json").read_text())
    assert compressed["claims"]["weight_bits"] == 8 and compressed["quantization"]["calibration_samples"]
    train = json.loads((train_step(MLP, "digits", 0).folder / "train.json").read_text())
    assert train["validation"]["top1"] > 0.5 and any(event["event"] == "epoch" for event in train["log"])
    assert not list((own_cache / "journal").iterdir()), "a step that ended well leaves no journal"


def test_reference_answers_are_the_compressed_network_s_own(own_cache: Path) -> None:
    folder = do(compress_step(MLP, "digits", Choice("float32"), 0))
    import torch

    from harness.export import load_program

    with np.load(folder / "examples.npz") as stored, torch.inference_mode():
        answers = load_program(folder / "module.pt2")(torch.from_numpy(stored["inputs"])).numpy()
        np.testing.assert_allclose(answers, stored["outputs"], rtol=1e-5, atol=1e-5)


def test_an_integer_network_keeps_its_answers_without_rounding_too(own_cache: Path) -> None:
    folder = do(compress_step(MLP, "digits", Choice("int8_ptq"), 0))
    with np.load(folder / "examples.npz") as stored:
        off = np.abs(stored["outputs"] - stored["unrounded"]).max() / np.abs(stored["unrounded"]).max()
    assert 0 < off < 0.1
    with np.load(do(compress_step(MLP, "digits", Choice("float32"), 0)) / "examples.npz") as stored:
        assert "unrounded" not in stored


def test_one_of_a_family_begins_where_the_one_before_it_ended(own_cache: Path) -> None:
    """What 1:4 logs of its beginning is the quality of 2:4's network pruned to 1:4; 2:4 was made on the way, by its own step."""
    from safetensors.torch import load_file

    from harness.compression.numerics.regularity import NOfM
    from harness.train import evaluate

    one, two = (
        compress_step(MLP, "digits", resolve("methods", "nm_train", {"n": n, "m": 4, "fine_tune_examples": 256}), 0)
        for n in (1, 2)
    )
    log = json.loads((do(one) / "compressed.json").read_text())["log"]
    assert [event["stage"] for event in log if event["event"] == "validation"] == ["1:4 pruned", "1:4"]
    assert two.is_done() and two in one.needs
    data = named("data", "digits")
    network = instantiate("models", MLP).build(data.spec)
    weights = load_file(two.folder / "weights.safetensors")
    assert all(int((w.reshape(len(w), -1, 4) != 0).sum(2).max()) <= 2 for w in weights.values() if w.dim() == 2)
    network.load_state_dict({name: w * NOfM(1, 4).mask(w, 0.75) if w.dim() == 2 else w for name, w in weights.items()})
    begun = next(event for event in log if event["event"] == "validation")
    assert begun["loss"] == pytest.approx(evaluate(network, data.load("validation"))["loss"], rel=1e-5)


def test_a_float_network_that_rounds_its_activations_keeps_them_too_and_its_forms_pass(own_cache: Path) -> None:
    method = Choice("qat", (("weight_bits", 4), ("activation_bits", 3), ("fine_tune_epochs", 0)))
    step = build_step(Workload(MLP, "digits"), method, Choice("onnxruntime"), Target("local"), 1, 0)
    exported = Exported.load(do(step.needs[0]))
    assert exported.numeric == "float32"
    with np.load(step.needs[0].needs[0].folder / "examples.npz") as stored:
        off = np.abs(stored["outputs"] - stored["unrounded"]).max() / np.abs(stored["unrounded"]).max()
    assert off > 0.01


def test_one_layer_is_cut_with_its_own_claims_and_inputs(own_cache: Path) -> None:
    whole = do(compress_step(MLP, "digits", Choice("float32"), 0))
    folder = do(network_step(Workload(MLP, "digits", "linear2"), Choice("float32"), 0))
    claims = json.loads((folder / "compressed.json").read_text())["claims"]
    with np.load(folder / "examples.npz") as stored:
        assert claims["macs"] == stored["inputs"].shape[1] * stored["outputs"].shape[1]
    assert claims["params"] < json.loads((whole / "compressed.json").read_text())["claims"]["params"]


def test_a_layer_claims_what_the_method_stores_of_it_and_not_the_networks_average(own_cache: Path) -> None:
    """Stem and classifier have 8 bits, those between 2, with a scale a row; a bias is float32."""
    method = Choice("qat", (("weight_bits", 2), ("activation_bits", "float"), ("fine_tune_epochs", 0)))
    whole = json.loads((do(compress_step(MLP, "digits", method, 0)) / "compressed.json").read_text())
    parts = [
        json.loads((do(network_step(Workload(MLP, "digits", layer), method, 0)) / "compressed.json").read_text())["claims"]
        for layer in ("linear1", "linear2", "classifier")
    ]
    assert [part["weight_bits"] for part in parts] == [8.0, 2.0, 8.0]
    assert sum(part["weight_bytes"] for part in parts) == whole["claims"]["weight_bytes"]
    assert "stored_bits" not in whole["claims"]


def test_a_layer_of_an_integer_network_is_unsupported(own_cache: Path) -> None:
    with pytest.raises(Unsupported, match="integer network"):
        do(network_step(Workload(MLP, "digits", "linear2"), Choice("int8_ptq"), 0))


def test_two_makings_give_the_same_bytes(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = build_step(
        Workload(MLP, "digits"), Choice("magnitude_prune", (("sparsity", 0.5),)), Choice("onnxruntime"), Target("local"), 1, 0
    )
    first = Artifact.load(do(step)).sha256
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "other"))
    assert Artifact.load(do(step)).sha256 == first


def test_a_failed_step_leaves_no_result(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = compress_step(MLP, "digits", Choice("float32"), 0)
    with pytest.raises((BuildError, OSError, Exception), match=r"weights|checkpoint"):
        perform(step, lambda _what, _share: None)  # what it needs was not done
    assert not step.is_done() and not list(step.folder.parent.iterdir())
