"""Model files made without torch, for the fast lane."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def linear_onnx(tmp_path: Path) -> Path:
    """y = x w + b with a symbolic batch: [batch, 64] -> [batch, 32]."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((64, 32), np.float32), "b": rng.standard_normal(32, np.float32)}
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 32])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    path = tmp_path / "linear.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path
