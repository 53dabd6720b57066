from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.errors import Unsupported
from harness.export import from_file
from harness.forms.static import output_shapes, write_static


def saved(path: Path, nodes: list[onnx.NodeProto], shape: list[int | str], more: list[tuple[str, int]] | None = None) -> Path:
    weight = numpy_helper.from_array(np.arange(3, dtype=np.float32), "w")
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:], [weight])
    opsets = [helper.make_opsetid("", 20), *(helper.make_opsetid(*entry) for entry in more or [])]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


ADD = [helper.make_node("Add", ["x", "w"], ["y"])]


def shapes(path: Path) -> list[list[int]]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [value.shape for value in (*session.get_inputs(), *session.get_outputs())]


def test_symbolic_dimensions_become_one_and_others_stay(tmp_path: Path) -> None:
    write_static(from_file(saved(tmp_path / "m.onnx", ADD, ["n", 2, 3])), tmp_path / "s.onnx")
    assert shapes(tmp_path / "s.onnx") == [[1, 2, 3], [1, 2, 3]]
    write_static(from_file(saved(tmp_path / "m.onnx", ADD, [5, 2, 3])), tmp_path / "s.onnx")
    assert shapes(tmp_path / "s.onnx") == [[5, 2, 3], [5, 2, 3]]


def test_what_follows_from_fixed_shapes_is_folded_and_output_shapes_are_known(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("ConstantOfShape", ["s"], ["zero"]),
        helper.make_node("Add", ["x", "zero"], ["y"]),
    ]
    write_static(from_file(saved(tmp_path / "m.onnx", nodes, ["n", 3]), {"n": 4}), tmp_path / "s.onnx")
    assert {node.op_type for node in onnx.load(tmp_path / "s.onnx").graph.node} <= {"Add", "Identity"}
    assert output_shapes(tmp_path / "s.onnx") == [[4, 3]]


def test_a_shape_that_depends_on_values_is_unsupported_by_name(tmp_path: Path) -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["i"]), helper.make_node("Cast", ["i"], ["y"], to=TensorProto.FLOAT)]
    path = saved(tmp_path / "m.onnx", nodes, [2, 3])
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.shape.dim[1].Clear()
    onnx.save(model, path)
    write_static(from_file(path), tmp_path / "s.onnx")
    with pytest.raises(Unsupported, match="output `y` depends on"):
        output_shapes(tmp_path / "s.onnx")


def test_weights_stored_beside_the_file_are_taken_in(tmp_path: Path) -> None:
    model = onnx.load(saved(tmp_path / "m.onnx", ADD, [3]))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    write_static(from_file(tmp_path / "m.onnx"), tmp_path / "s.onnx")
    (tmp_path / "weights.bin").unlink()
    session = onnxruntime.InferenceSession(str(tmp_path / "s.onnx"), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.ones(3, np.float32)})[0].tolist() == [1, 2, 3]


def test_operator_sets_that_no_node_uses_are_dropped(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", ADD, [3], [("com.microsoft", 1), ("ai.onnx.ml", 5)])
    write_static(from_file(path), tmp_path / "s.onnx")
    assert [(entry.domain, entry.version) for entry in onnx.load(tmp_path / "s.onnx").opset_import] == [("", 20)]


def test_an_older_version_is_written_with_the_same_answers(tmp_path: Path) -> None:
    write_static(from_file(saved(tmp_path / "m.onnx", ADD, [3])), tmp_path / "s.onnx", opset=17, ir_version=8)
    model = onnx.load(tmp_path / "s.onnx")
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    session = onnxruntime.InferenceSession(str(tmp_path / "s.onnx"), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.ones(3, np.float32)})[0].tolist() == [1, 2, 3]


def test_what_has_no_older_version_is_unsupported(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gelu", ["x"], ["y"])]  # new in 20
    with pytest.raises(Unsupported, match="operator set 17"):
        write_static(from_file(saved(tmp_path / "m.onnx", nodes, [3])), tmp_path / "s.onnx", opset=17)
