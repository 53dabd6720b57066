"""An ONNX file for compilers: one file, every input of one shape, nothing in it that only newer readers know."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import Unsupported

if TYPE_CHECKING:
    import onnx

    from harness.export import Exported


def write_static(
    exported: Exported, path: Path, *, fold: bool = True, opset: int | None = None, ir_version: int | None = None
) -> None:
    """Write `exported` with its symbolic dimensions fixed, weights inside, unused operator sets dropped; if asked, as an older version.

    `fold`: what follows from fixed shapes is computed, for compilers that cannot themselves.
    """
    import onnx
    from onnx import version_converter

    model = onnx.load(exported.path)
    if exported.facts.get("symbolic_dims"):
        _fix_shapes(model.graph, exported)
        model = _folded(model) if fold else model
    used = (
        {node.domain for node in model.graph.node}
        | {node.domain for function in model.functions for node in function.node}
        | {""}
    )
    kept = [entry for entry in model.opset_import if ("" if entry.domain == "ai.onnx" else entry.domain) in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    if opset is not None and any(entry.domain in ("", "ai.onnx") and entry.version > opset for entry in kept):
        try:
            model = version_converter.convert_version(model, opset)
        except (RuntimeError, version_converter.ConvertError) as error:
            raise Unsupported(f"ONNX's converter cannot write this network in operator set {opset}: {error}") from error
    if ir_version is not None:
        model.ir_version = min(model.ir_version, ir_version)
    if model.ByteSize() >= 1 << 31:
        raise Unsupported(f"{exported.path.name} holds {model.ByteSize()} bytes; one ONNX file holds 2 GiB")
    path.write_bytes(model.SerializeToString(deterministic=True))


def output_shapes(path: Path) -> list[list[int]]:
    """Of a static file, by ONNX's own inference; Unsupported where a shape depends on the values."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load(path), data_prop=True).graph
    shapes = []
    for value in graph.output:
        dims = value.type.tensor_type.shape.dim
        if not value.type.tensor_type.HasField("shape") or not all(dim.HasField("dim_value") for dim in dims):
            raise Unsupported(f"the shape of output `{value.name}` depends on the network's values")
        shapes.append([dim.dim_value for dim in dims])
    return shapes


def _fix_shapes(graph: onnx.GraphProto, exported: Exported) -> None:
    """Inputs as the signature says; shapes after them are left to be inferred."""
    shapes = {tensor["name"]: tensor["shape"] for tensor in exported.facts["inputs"]}
    for value in graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, shapes.get(value.name, ()), strict=False):
            dim.dim_value = size
    for value in graph.output:
        for dim in value.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value") or dim.dim_value < 0:
                dim.Clear()
    del graph.value_info[:]


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with what is constant now that shapes are (sizes, slices, branches) computed, by ONNX Runtime's basic rewriting."""
    import tempfile

    import onnx
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as faults

    with tempfile.TemporaryDirectory(prefix="assay-fold-") as scratch:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(scratch) / "folded.onnx")
        options.add_session_config_entry("session.disable_quant_qdq", "1")  # pairs stay pairs
        options.log_severity_level = 3
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except (
            faults.Fail,
            faults.InvalidArgument,
            faults.InvalidGraph,
            faults.NotImplemented,
            faults.RuntimeException,
        ) as error:
            raise Unsupported(f"its shapes cannot be fixed: {error}") from error
        return onnx.load(options.optimized_model_filepath)
