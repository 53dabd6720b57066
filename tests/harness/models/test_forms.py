"""Every network goes through a method and a form, checked by the form's own runtime: one pair each here, all of them in the nightly session."""

from __future__ import annotations

import dataclasses
import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.context import Context
from harness.data import Batch, DataSpec, Source, Split
from harness.export import Examples, export, save_program

pytestmark = pytest.mark.torch

TEXT = DataSpec((10,), 5, "texts", "int64", 30)
NETWORKS: dict[str, tuple[dict[str, Any], DataSpec]] = {
    "ds_cnn": ({"filters": 8}, DataSpec((1, 25, 10), 12, "MFCC")),
    "efficientnet_lite0": ({"weights": ""}, DataSpec((3, 32, 32), 5, "32x32")),
    "fc_autoencoder": ({"width": 16, "code": 4}, DataSpec((40,), 2, "windows")),
    "mobilenet_v1": ({"width": 0.1}, DataSpec((3, 32, 32), 2, "32x32")),
    "mobilenet_v2": ({"width": 0.1}, DataSpec((3, 32, 32), 5, "32x32")),
    "resnet18": ({"width": 4}, DataSpec((3, 16, 16), 5, "16x16")),
    "resnet20": ({"width": 4}, DataSpec((3, 16, 16), 5, "16x16")),
    "resnet50": ({"width": 2}, DataSpec((3, 16, 16), 5, "16x16")),
    "text_transformer": ({"width": 16}, TEXT),
    "vgg16": ({"width": 4}, DataSpec((3, 32, 32), 5, "32x32")),
}
METHODS: dict[str, dict[str, Any]] = {
    "float32": {},
    "int8_ptq": {"calibration_samples": 64},
    "int8_linear": {"calibration_samples": 64, "tensors": "linear"},
    "magnitude_prune": {"sparsity": 0.5},
    "channel_prune": {"ratio": 0.5},
}
FORMS = {
    "float32": ("onnx", "tflite", "pt2"),
    "int8_ptq": ("onnx_qdq_u8s8", "tflite_int8"),
    "int8_linear": ("onnx_qdq_u8s8", "tflite_int8", "pt2e_int8"),
    "magnitude_prune": ("onnx",),
    "channel_prune": ("onnx", "tflite"),
}
FILES = {"int8_linear": "int8_ptq"}
"""Methods by another name than their file's, for their parameters."""
LINEAR = ("fc_autoencoder", "text_transformer")
"""Networks without convolutions."""
ALL = [
    (name, method, form)
    for name in NETWORKS
    for method in METHODS
    for form in FORMS[method]
    if method != "int8_linear" or name in LINEAR
]
QUICK = [
    ("ds_cnn", "int8_ptq", "tflite_int8"),
    ("efficientnet_lite0", "channel_prune", "onnx"),
    ("fc_autoencoder", "channel_prune", "tflite"),
    ("mobilenet_v1", "int8_ptq", "onnx_qdq_u8s8"),
    ("mobilenet_v2", "magnitude_prune", "onnx"),
    ("resnet20", "int8_ptq", "tflite_int8"),
    ("resnet50", "channel_prune", "onnx"),
    ("text_transformer", "int8_ptq", "onnx_qdq_u8s8"),
    ("text_transformer", "int8_ptq", "tflite_int8"),
    ("text_transformer", "int8_linear", "onnx_qdq_u8s8"),
    ("text_transformer", "int8_linear", "tflite_int8"),
    ("text_transformer", "channel_prune", "tflite"),
    ("vgg16", "magnitude_prune", "onnx"),
]
DEEP = ("resnet50",)
"""Untrained, its 53 layers of few channels round to below 20 dB in any integer runtime: nothing but noise is left to compare."""
CASES = [case for case in ALL if case[0] not in DEEP or case[1] != "int8_ptq"] if os.environ.get("ASSAY_NIGHTLY") else QUICK


@dataclasses.dataclass(frozen=True)
class Noise:
    """Random examples, their labels a function of them, so that an epoch of training means something."""

    spec: DataSpec

    def source(self) -> Source:
        return Source("nowhere")

    def fingerprint(self) -> str:
        return "noise"

    def load(self, split: Split, size: int | None = None) -> Batch:
        rng, count = np.random.default_rng(len(split)), 96
        shape = (count, *self.spec.input_shape)
        inputs: Any = rng.standard_normal(shape).astype(np.float32)
        if self.spec.vocabulary is not None:
            inputs = rng.integers(1, self.spec.vocabulary, shape)
            inputs[np.arange(shape[1]) >= rng.integers(1, shape[1] + 1, (count, 1))] = 0
        return Batch(inputs, inputs.reshape(count, -1)[:, 0].astype(np.int64) % self.spec.classes).first(size)


@pytest.mark.parametrize(("name", "method", "form"), CASES, ids=["-".join(case) for case in CASES])
def test_a_network_goes_through_a_method_and_a_form(name: str, method: str, form: str, tmp_path: Path) -> None:
    params, spec = NETWORKS[name]
    model, data = importlib.import_module(f"harness.models.{name}").MODEL(**params), Noise(spec)
    torch.manual_seed(0)
    network = model.build(spec)
    context = Context(
        0, data, dataclasses.replace(model.recipe(), epochs=1, learning_rate=1e-3, augment="none"), model.criterion, tmp_path
    )
    context.train(network, context.recipe)
    compressed = (
        importlib.import_module(f"harness.compression.{FILES.get(method, method)}")
        .METHOD(**METHODS[method])
        .compress(network, data, context)
    )
    (member,) = compressed.members
    dense = sum(p.numel() for p in network.parameters())
    assert (member.claims.params < 0.8 * dense) == (method == "channel_prune")
    test = data.load("test", 8).inputs
    with torch.no_grad():
        answers = member.reference(torch.from_numpy(test)).numpy()
    save_program(member.module, test[:1], tmp_path / "module.pt2")
    exported = export(
        tmp_path / "module.pt2",
        form=form,
        batch=2,
        numeric=compressed.numeric,
        quantization=compressed.quantization,
        calibration=compressed.calibration,
        examples=Examples(test, answers),
        folder=tmp_path / form,
    )
    assert exported.facts["inputs"][0]["dtype"] in ("float32", "int8", "int32", "int64")
    assert exported.lay_out(test[:2]).shape == tuple(exported.facts["inputs"][0]["shape"])
