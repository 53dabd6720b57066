"""The reference half, loaded as the runner loads it: slow and plain, and right."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

FILE = Path(__file__).resolve().parents[3] / "harness" / "runners" / "reference.py"


@pytest.fixture
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_as_the_runner_sees_it", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def save_onnx(path: Path, weights: npt.NDArray[np.float32]) -> None:
    """y = relu(a @ weights + b), and the index of the largest."""
    nodes = [
        helper.make_node("MatMul", ["a", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["s"]),
        helper.make_node("Relu", ["s"], ["y"]),
        helper.make_node("ArgMax", ["y"], ["i"], axis=1, keepdims=0),
    ]
    rows, columns = weights.shape
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("a", TensorProto.FLOAT, [2, rows]),
            helper.make_tensor_value_info("b", TensorProto.FLOAT, [columns]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, columns]),
            helper.make_tensor_value_info("i", TensorProto.INT64, [2]),
        ],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def answers(network: Any, inputs: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    network.set_inputs(inputs)
    network.invoke()
    outputs: list[npt.NDArray[Any]] = network.outputs()
    return outputs


def test_onnx_takes_inputs_in_order_and_gives_every_output(reference: ModuleType, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights, a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((3, 5), (2, 3), (5,)))
    save_onnx(tmp_path / "model.onnx", weights)
    network = reference.load(str(tmp_path), "model.onnx", {"threads": 1})
    y, i = answers(network, [a, b])
    expected = [[max(0.0, sum(a[r, k] * weights[k, c] for k in range(3)) + b[c]) for c in range(5)] for r in range(2)]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    assert i.tolist() == [row.index(max(row)) for row in expected]
    assert network.output_quantization() == [None, None]
    assert network.facts()["quantized"] is False


def test_a_broken_file_is_an_error(reference: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(Exception, match=r"(?i)protobuf"):  # ONNX Runtime's own class
        reference.load(str(tmp_path), "model.onnx", {"threads": 1})


def test_it_imports_with_the_standard_library_alone() -> None:
    """It is pushed beside the runner and imported by its path, where nothing of ours is."""
    tree = ast.parse(FILE.read_text(), feature_version=(3, 8))
    imported = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert imported <= set(sys.stdlib_module_names)
