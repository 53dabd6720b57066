"""ONNX: float32, and int8 as quantize/dequantize pairs that ONNX Runtime fuses into integer kernels."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.errors import Unsupported
from harness.forms.conversion import conversion, versions
from harness.forms.form import Floats, Source, Written, batches, tensor_fact

if TYPE_CHECKING:
    import onnx

OPSET = 20
FILE = "model.onnx"
INPUT, OUTPUT = "input", "output"
_LINEAR = ("MatMul", "Gemm")
"""What a linear layer becomes."""


def write_float(source: Source, folder: Path) -> Written:
    """float32 with a static batch, batch normalization folded and the weights inside the file."""
    with conversion("ONNX export") as chatter:
        model = _exported(source)
        path = folder / FILE
        _save(model, path)
    return Written(path, _facts(model, chatter.warnings, "torch", "onnx", "onnxscript"))


def write_u8s8(source: Source, folder: Path) -> Written:
    """Unsigned activations and signed weights: what x86's byte dot products take."""
    return _write_integers(source, folder, "QDQ", "QUInt8")


def write_s8s8(source: Source, folder: Path) -> Written:
    """Signed activations and signed weights: what Arm's byte dot products take."""
    return _write_integers(source, folder, "QDQ", "QInt8")


def write_integer_operators(source: Source, folder: Path) -> Written:
    """Unsigned activations and signed weights in operators that are integer themselves (QLinearConv): what older engines take."""
    return _write_integers(source, folder, "QOperator", "QUInt8")


def answer(path: Path, chunks: Iterable[Floats]) -> list[Floats]:
    """Batches through ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return [np.asarray(session.run(None, {name: chunk})[0], dtype=np.float32) for chunk in chunks]


def _exported(source: Source) -> onnx.ModelProto:
    import onnx
    import torch

    program = torch.onnx.export(
        source.module,
        (source.sample(),),
        input_names=[INPUT],
        output_names=[OUTPUT],
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    model = onnx.shape_inference.infer_shapes(program.model_proto)
    _pool_globally(model.graph)
    _strip(model)
    return model


def _pool_globally(graph: onnx.GraphProto) -> None:
    """Mean over both spatial axes of a 4-D tensor -> GlobalAveragePool, the same value for which runtimes have an integer kernel."""
    import onnx

    rank = {v.name: len(v.type.tensor_type.shape.dim) for v in (*graph.value_info, *graph.input)}
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        axes = constants.get(node.input[1]) if node.op_type == "ReduceMean" and len(node.input) == 2 else None
        if axes is None or rank.get(node.input[0]) != 4 or sorted(int(axis) % 4 for axis in axes.ravel()) != [2, 3]:
            nodes.append(node)
            continue
        keeps_axes = next((a.i for a in node.attribute if a.name == "keepdims"), 1)
        pooled = node.output[0] if keeps_axes else f"{node.output[0]}_pooled"
        nodes.append(onnx.helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], name=node.name))
        if not keeps_axes:
            nodes.append(onnx.helper.make_node("Flatten", [pooled], [node.output[0]], name=f"{node.name}_flat", axis=1))
    nodes = [_copy(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for constant in [c for c in graph.initializer if c.name not in used]:
        graph.initializer.remove(constant)


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def _strip(model: onnx.ModelProto) -> None:
    """Drop what differs between two exports of one network: stack traces, with the paths of this machine in them."""
    graph = model.graph
    del model.metadata_props[:], graph.metadata_props[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""
    graph.doc_string = model.doc_string = ""
    graph.name = "network"


def _save(model: onnx.ModelProto, path: Path) -> None:
    import onnx

    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _write_integers(
    source: Source, folder: Path, style: Literal["QDQ", "QOperator"], activations: Literal["QUInt8", "QInt8"]
) -> Written:
    """Static quantization with ranges = minimum and maximum over all calibration inputs; weights symmetric, full 8-bit range."""
    quantization, calibration = source.integers()
    only_linear = quantization.tensors == "linear"
    if only_linear and style == "QOperator":
        raise Unsupported(
            "operators that are integer themselves give integers; this network is integer in its linear layers' inputs alone"
        )
    with conversion("ONNX quantization") as chatter, tempfile.TemporaryDirectory() as scratch:
        import onnx
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        floats, prepared, quantized = (Path(scratch) / name for name in ("float.onnx", "prepared.onnx", "quantized.onnx"))
        _save(_exported(source), floats)
        # Shapes are static and already inferred: the symbolic pass would add seconds and nothing else.
        quant_pre_process(str(floats), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(quantized),
            _reader(batches(calibration, source.batch)),
            quant_format=QuantFormat[style],
            per_channel=quantization.per_channel,
            reduce_range=False,
            activation_type=QuantType[activations],
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_quantize=_linear_layers(onnx.load(prepared).graph) if only_linear else None,
            extra_options={
                "ActivationSymmetric": False,
                "WeightSymmetric": True,
                "OpTypesToExcludeOutputQuantization": list(_LINEAR) if only_linear else [],
            },
        )
        model = onnx.load(quantized)
        if only_linear:
            _keep_float_elsewhere(model.graph)
        _strip(model)
        path = folder / FILE
        _save(model, path)
    return Written(path, _facts(model, chatter.warnings, "torch", "onnx", "onnxscript", "onnxruntime"))


def _linear_layers(graph: onnx.GraphProto) -> list[str]:
    """Products with weights: an attention's are of two inputs."""
    constants = {constant.name for constant in graph.initializer}
    return [node.name for node in graph.node if node.op_type in _LINEAR and node.input[1] in constants]


def _keep_float_elsewhere(graph: onnx.GraphProto) -> None:
    """The quantizer hands a rounded tensor to all its readers; those that are no linear layer get the tensor itself."""
    rounded = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    pairs = {
        node.output[0]: rounded[node.input[0]]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in rounded
    }
    for node in graph.node:
        if node.op_type not in _LINEAR:
            for index, name in enumerate(node.input):
                node.input[index] = pairs.get(name, name)


def _reader(chunks: list[Floats]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._chunks: Iterator[Floats] = iter(chunks)

        def get_next(self) -> dict[str, Floats] | None:
            chunk = next(self._chunks, None)
            return None if chunk is None else {INPUT: chunk}

    return Reader()


def _facts(model: onnx.ModelProto, warnings: int, *tools: str) -> dict[str, Any]:
    return {
        "tools": versions(*tools),
        "ops": dict(sorted(Counter(node.op_type for node in model.graph.node).items())),
        "warnings": warnings,
        "opset": OPSET,
        "inputs": [_tensor(value) for value in model.graph.input],
        "outputs": [_tensor(value) for value in model.graph.output],
    }


def _tensor(value: onnx.ValueInfoProto) -> dict[str, Any]:
    import onnx

    kind = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    return tensor_fact(value.name, [dim.dim_value for dim in kind.shape.dim], dtype)
