"""Reads an ONNX file into a graph, with every dimension a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from harness.compiler.expression import Input
from harness.compiler.frontend import elementwise, layers, quantized, shapes
from harness.compiler.frontend.builder import CONVERT, Builder, OnnxNode
from harness.compiler.ir import Graph, Node, Type, renamed
from harness.compiler.operators import Map
from harness.errors import Unsupported

FAMILIES = (elementwise, layers, quantized, shapes)
"""Importing them fills CONVERT."""


def load_network(path: Path, shapes: Mapping[str, Sequence[int]] | None = None) -> Graph:
    """The graph of an ONNX file; `shapes` has those of its inputs, in which a symbolic dimension counts as 1 otherwise.

    Unsupported, naming the node, where it cannot be.
    """
    model = onnx.load(path)
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    builder = Builder(opset)
    for tensor in model.graph.initializer:
        builder.names[tensor.name] = builder.constant(onnx.numpy_helper.to_array(tensor))
    inputs = {
        value.name: _type(value, (shapes or {}).get(value.name)) for value in model.graph.input if value.name not in builder.names
    }
    builder.types.update(inputs)
    builder.names.update({name: name for name in inputs})
    for node in model.graph.node:
        _convert(builder, _node(node))
    return _finished(builder, inputs, [value.name for value in model.graph.output])


def _convert(builder: Builder, node: OnnxNode) -> None:
    if node.kind not in CONVERT:
        raise node.unsupported(f"{node.kind} is not among the operators that are compiled")
    builder.origin = node.name
    try:
        found = CONVERT[node.kind](builder, node, [builder.names[name] if name else "" for name in node.inputs])
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise node.unsupported(f"it is not as ONNX describes it: {type(error).__name__}: {error}") from error
    made = [found] if isinstance(found, str) else found
    builder.names.update(zip(node.outputs, made, strict=False))


def _finished(builder: Builder, inputs: Mapping[str, Type], outputs: list[str]) -> Graph:
    """Outputs get the file's names back, each from a tensor of its own: inputs and constants are copied."""
    taken: dict[str, str] = {}
    for name in outputs:
        tensor = builder.names[name]
        if tensor in inputs or tensor in builder.constants or tensor in taken:
            builder.origin = name
            tensor = _copied(builder, tensor)
        taken[tensor] = name
    nodes = [replace(renamed(node, taken), output=taken.get(node.output, node.output)) for node in builder.nodes]
    return Graph.of(inputs, outputs, nodes, builder.constants)


def _copied(builder: Builder, tensor: str) -> str:
    name = f"%{len(builder.nodes)}"
    builder.nodes.append(Node(Map(Input(0), builder.shape(tensor)), (tensor,), name, builder.origin))
    builder.types[name] = builder.types[tensor]
    return name


def _type(value: onnx.ValueInfoProto, given: Sequence[int] | None) -> Type:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise Unsupported(f"input `{value.name}` is no tensor")
    written = [max(dim.dim_value, 0) for dim in kind.shape.dim]  # some exporters write -1 for a size they do not know
    shape = tuple(int(size) for size in (given or [size or 1 for size in written]))
    if len(shape) != len(written) or any(w not in (0, size) or size < 1 for w, size in zip(written, shape, strict=True)):
        raise Unsupported(f"input `{value.name}` is written for shape {written}, not for {list(shape)}")
    return Type(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name, shape)


def _node(node: onnx.NodeProto) -> OnnxNode:
    domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}."
    name = node.name or next(iter(node.output), node.op_type)
    attributes = {a.name: _attribute(onnx.helper.get_attribute_value(a)) for a in node.attribute}
    return OnnxNode(f"{domain}{node.op_type}", name, tuple(node.input), tuple(node.output), attributes)


def _attribute(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
