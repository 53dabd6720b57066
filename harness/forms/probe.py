"""Parse one model file and print its signature as JSON: `python -P probe.py FILE`. Run as a process of its own, imports nothing of ours."""

from __future__ import annotations

import json
import resource
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

Place = tuple[str, int, str]
"""(tensor, axis, name of its symbolic size)"""
_SPARE_BYTES = 8 << 30
_INTEGER_OPS = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")


def main(path: Path) -> None:
    # A corrupt shape asks for absurd memory; it must end this process and not the machine.
    limit = 8 * path.stat().st_size + _SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    document = _onnx(path) if path.suffix == ".onnx" else _tflite(path)
    sys.stdout.write(json.dumps(document))


def _onnx(path: Path) -> dict[str, Any]:
    import onnx
    from onnx.external_data_helper import uses_external_data

    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    stored_apart = [tensor for tensor in _tensors(graph) if uses_external_data(tensor)]
    external = sorted({entry.value for tensor in stored_apart for entry in tensor.external_data if entry.key == "location"})
    if all((path.parent / name).is_file() for name in external):
        onnx.checker.check_model(str(path))
    ops = Counter(node.op_type for node in graph.node)
    constants = {tensor.name for tensor in graph.initializer}
    symbols: list[Place] = []
    return {
        "inputs": [_value(value, symbols) for value in graph.input if value.name not in constants],
        "outputs": [_value(value, symbols) for value in graph.output],
        "ops": dict(sorted(ops.items())),
        "integer": any(name in ops for name in _INTEGER_OPS),
        "symbols": symbols,
        "external_data": external,
        "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
    }


def _tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """Every tensor with data, those of nested graphs included."""
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    nested = [tensor for attribute in attributes for inner in (attribute.g, *attribute.graphs) for tensor in _nested(inner)]
    return [*graph.initializer, *(attribute.t for attribute in attributes), *nested]


def _nested(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    return _tensors(graph) if graph.node or graph.initializer else []


def _value(value: onnx.ValueInfoProto, symbols: list[Place]) -> dict[str, Any]:
    import onnx

    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or kind.elem_type == onnx.TensorProto.UNDEFINED:
        raise ValueError(f"`{value.name}` is not a tensor with an element type")
    shape = []
    for position, dim in enumerate(kind.shape.dim):
        is_fixed = dim.HasField("dim_value") and dim.dim_value >= 0  # some exporters write -1 for a size they do not know
        if not is_fixed:
            named = dim.dim_param if dim.dim_param != "?" else ""  # which some exporters call all that they do not know
            symbols.append((value.name, position, named or f"{value.name}[{position}]"))
        shape.append(dim.dim_value if is_fixed else 1)
    return {"name": value.name, "shape": shape, "dtype": onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name}


def _tflite(path: Path) -> dict[str, Any]:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    interpreter.allocate_tensors()
    symbols: list[Place] = []

    def tensor(detail: dict[str, Any]) -> dict[str, Any]:
        for position, size in enumerate(detail["shape_signature"]):
            if size < 0:
                symbols.append((detail["name"], position, f"{detail['name']}[{position}]"))
        return {"name": detail["name"], "shape": detail["shape"].tolist(), "dtype": np.dtype(detail["dtype"]).name}

    operators = interpreter._get_ops_details()
    return {
        "inputs": [tensor(detail) for detail in interpreter.get_input_details()],
        "outputs": [tensor(detail) for detail in interpreter.get_output_details()],
        "ops": dict(sorted(Counter(op["op_name"] for op in operators).items())),
        "integer": any(kinds and kinds[0] in (np.int8, np.uint8) for kinds in (op["operand_types"] for op in operators)),
        "symbols": symbols,
        "external_data": [],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
