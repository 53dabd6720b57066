from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import harness.forms.probe


def probed(path: Path) -> dict[str, object]:
    command = [sys.executable, "-P", harness.forms.probe.__file__, str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=path.parent)
    document: dict[str, object] = json.loads(ended.stdout)
    return document


def test_the_probe_says_one_json_document_and_needs_nothing_of_ours(linear_onnx: Path) -> None:
    document = probed(linear_onnx)
    assert document["opset"] == {"ai.onnx": 20}
    assert document["external_data"] == []
    assert document["symbols"] == [["x", 0, "batch"], ["y", 0, "batch"]]


@pytest.mark.parametrize(("operator", "integer"), [("Relu", False), ("QuantizeLinear", True)])
def test_a_quantized_file_is_known_by_its_operators(tmp_path: Path, operator: str, *, integer: bool) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    scale = [numpy_helper.from_array(np.array(0.5, np.float32), "scale"), numpy_helper.from_array(np.array(3, np.uint8), "zero")]
    inputs = ["x", "scale", "zero"] if integer else ["x"]
    kind = TensorProto.UINT8 if integer else TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", kind, [2, 3])],
        scale if integer else [],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    document = probed(path)
    assert document["integer"] is integer
    assert document["outputs"] == [{"name": "y", "shape": [2, 3], "dtype": "uint8" if integer else "float32"}]


def test_weights_stored_apart_are_found_inside_branches(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    apart = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    apart.external_data.add(key="location", value="deep.bin")
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    branches = [
        helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], name, [], [result], [apart]) for name in ("a", "b")
    ]
    node = helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("c", TensorProto.BOOL, [])], [result])
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString())
    assert probed(path)["external_data"] == ["deep.bin"]
