"""One method on one model as an ONNX file, with claims; the user's mistakes first, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.compress import compress_to
from harness.errors import UserError


@pytest.mark.parametrize(
    ("model", "method", "parameters", "out", "says"),
    [
        ("mpl", "float32", [], "x.onnx", "Did you mean `mlp`"),
        ("mlp", "flat32", [], "x.onnx", "Did you mean `float32`"),
        ("mlp", "magnitude_prune", ["sparsity=0"], "x.onnx", "parameter `sparsity`"),
        ("mlp", "magnitude_prune", ["sparsity"], "x.onnx", "expected `key=value`"),
        ("mlp", "float32", [], "x.pb", r"name it \*\.onnx"),
    ],
)
def test_mistakes_are_refused(model: str, method: str, parameters: list[str], out: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        compress_to(model, method, parameters, tmp_path / out, 0)
    assert list(tmp_path.glob("*.onnx")) == []


@pytest.mark.torch
def test_the_file_is_written_with_its_claims(tmp_path: Path) -> None:
    import onnx

    result = compress_to("mlp:epochs=1", "int8_ptq", ["per_channel=false"], tmp_path / "m.onnx", 0)
    operators = {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators
    assert (result.model, result.method) == ("mlp(epochs=1)", "int8_ptq(per_channel=false)")
    assert (result.claims["weight_bits"], result.baseline["weight_bits"]) == (8, 32)
    assert result.to_json()["path"].endswith("m.onnx")
