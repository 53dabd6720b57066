from __future__ import annotations

import pytest

from harness import plugins
from harness.data import DataSpec
from harness.errors import UserError
from harness.models import FileModel
from harness.models.onnx_file import MODEL


def test_it_is_a_file_and_never_trained() -> None:
    model = MODEL("my.onnx", "digits")
    assert isinstance(model, FileModel)
    assert (model.suffix, model.weights, model.accepts(DataSpec((3,), 2, ""))) == (".onnx", "my.onnx", None)
    assert model.recipe().epochs == 0
    assert model.has_layers
    with pytest.raises(UserError, match=r"my\.onnx.*no such file"):
        model.build(DataSpec((3,), 2, ""))


def test_its_criterion_is_named_by_its_parameters() -> None:
    assert MODEL("x", "digits").criterion.metrics == ("top1",)
    judged = MODEL("x", "nab", metric="auc", reconstructs=True).criterion
    assert (judged.metrics, judged.outputs) == (("auc",), "reconstruction")


def test_path_and_data_must_be_named() -> None:
    with pytest.raises(UserError, match="`path` of model `onnx_file` is required"):
        plugins.resolve("models", "onnx_file", {"data": "digits"})
