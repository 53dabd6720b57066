"""TFLite: float32, and full int8 with integer inputs and outputs; channels last, as its kernels want them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.forms.conversion import conversion, versions
from harness.forms.form import Floats, Layout, Source, Written, activation_ranges, batches, channels_last, tensor_fact

FILE = "model.tflite"


def write_float(source: Source, folder: Path) -> Written:
    """float32 with a static batch; 4-D inputs and outputs channels last where that leaves the fewest transposes."""
    with conversion("TFLite conversion") as chatter:
        content, input_layout, output_layout = _converted(source)
    path = folder / FILE
    path.write_bytes(content)
    facts = _facts(path, chatter.warnings, "torch", "litert-torch", "litert-converter", "ai-edge-litert")
    return Written(path, facts, input_layout, output_layout)


def write_int8(source: Source, folder: Path) -> Written:
    """int8 weights and activations, ranges = minimum and maximum over all calibration inputs.

    The quantizer's own default, a moving average of the ranges, costs some 16 dB. Where only linear layers are integer, what goes into them is
    rounded by its own range as it comes: its kernels give float for nothing else.
    """
    quantization, calibration = source.integers()
    with conversion("TFLite conversion") as conversion_chatter:
        content, input_layout, output_layout = _converted(source)
    stored = channels_last(calibration) if input_layout == "NHWC" else calibration
    with conversion("TFLite quantization") as chatter:
        if quantization.tensors == "linear":
            quantized = _with_integer_layers(content, quantization.per_channel)
        else:
            quantized = _quantized(content, batches(stored, source.batch), quantization.per_channel)
    path = folder / FILE
    path.write_bytes(quantized)
    warnings = conversion_chatter.warnings + chatter.warnings
    facts = _facts(path, warnings, "torch", "litert-torch", "litert-converter", "ai-edge-litert", "ai-edge-quantizer")
    facts["activation_ranges"] = activation_ranges(quantization)
    return Written(path, facts, input_layout, output_layout)


def answer(path: Path, chunks: Iterable[Floats]) -> list[Floats]:
    """Batches through LiteRT; integer inputs are quantized and integer outputs read by the file's own scales."""
    answers = []
    with conversion("TFLite check"):
        interpreter = _interpreter(path)
        (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
        for chunk in chunks:
            interpreter.set_tensor(given["index"], stored(chunk, given))
            interpreter.invoke()
            answers.append(_real(interpreter.get_tensor(result["index"]), result))
    return answers


def _real(raw: npt.NDArray[Any], detail: dict[str, Any]) -> Floats:
    if raw.dtype == np.float32:
        return np.asarray(raw)
    scale, zero_point = detail["quantization"]
    return np.asarray((raw.astype(np.float32) - zero_point) * np.float32(scale), dtype=np.float32)


def _converted(source: Source) -> tuple[bytes, Layout, Layout]:
    """The flatbuffer and the layouts it takes and gives."""
    import litert_torch
    import torch

    sample = source.sample()
    with torch.no_grad():
        gives_map = source.module(sample).ndim == 4
    if sample.ndim != 4:
        return litert_torch.convert(source.module, (sample,)).model_content(), "NCHW", "NCHW"
    wrapped = litert_torch.to_channel_last_io(source.module, args=[0], outputs=[0] if gives_map else None)
    last = litert_torch.convert(wrapped, (sample.permute(0, 2, 3, 1).contiguous(),)).model_content()
    transposes = _transposes(last)
    if transposes:
        first = litert_torch.convert(source.module, (sample,)).model_content()
        if _transposes(first) < transposes:
            return first, "NCHW", "NCHW"
    return last, "NHWC", "NHWC" if gives_map else "NCHW"


def _transposes(content: bytes) -> int:
    from ai_edge_litert.schema_py_generated import BuiltinOperator, ModelT

    model = ModelT.InitFromPackedBuf(content, 0)
    codes = [code.builtinCode for code in model.operatorCodes]
    return sum(codes[op.opcodeIndex] == BuiltinOperator.TRANSPOSE for graph in model.subgraphs for op in graph.operators or [])


def _quantized(content: bytes, chunks: list[Floats], per_channel: bool) -> bytes:
    from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    network = quantizer.Quantizer(content)
    network.add_static_config(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        activation_num_bits=8,
        weight_num_bits=8,
        weight_granularity=_granularity(per_channel),
    )
    recipe = recipe_manager.RecipeManager()
    recipe.load_quantization_recipe(network.get_quantization_recipe())
    observer = calibrator.Calibrator(content, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    (signature, names), *_ = observer._tfl_interpreter.get_signature_list().items()
    (given,) = observer._tfl_interpreter.get_input_details()
    observer.calibrate({signature: [{names["inputs"][0]: chunk.astype(given["dtype"])} for chunk in chunks]}, recipe)
    return bytes(network.quantize(observer.get_model_qsvs(), enable_progress_report=False).quantized_model)


def _with_integer_layers(content: bytes, per_channel: bool) -> bytes:
    from ai_edge_quantizer import qtyping, quantizer

    network = quantizer.Quantizer(content)
    network.add_dynamic_config(
        regex=".*",
        operation_name=qtyping.TFLOperationName.FULLY_CONNECTED,
        num_bits=8,
        granularity=_granularity(per_channel),
    )
    return bytes(network.quantize(enable_progress_report=False).quantized_model)


def _granularity(per_channel: bool) -> Any:
    from ai_edge_quantizer import qtyping

    return qtyping.QuantGranularity.CHANNELWISE if per_channel else qtyping.QuantGranularity.TENSORWISE


def _interpreter(path: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # Built-in kernels: their operators keep their own names, which a delegate would hide.
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(path), num_threads=1, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    return interpreter


def stored(inputs: npt.NDArray[Any], detail: dict[str, Any]) -> npt.NDArray[Any]:
    """Real inputs as the file's own scale, or its kind of integer, holds them."""
    if detail["dtype"] is np.float32 or inputs.dtype != np.float32:
        return inputs.astype(detail["dtype"], copy=False)
    scale, zero_point = detail["quantization"]
    limits = np.iinfo(detail["dtype"])
    return np.asarray(np.clip(np.rint(inputs / np.float32(scale)) + zero_point, limits.min, limits.max), dtype=detail["dtype"])


def _facts(path: Path, warnings: int, *tools: str) -> dict[str, Any]:
    with conversion("TFLite check"):
        interpreter = _interpreter(path)
        operators = Counter(op["op_name"] for op in interpreter._get_ops_details())
        inputs, outputs = (
            [_tensor(d) for d in details()] for details in (interpreter.get_input_details, interpreter.get_output_details)
        )
    return {
        "tools": versions(*tools),
        "ops": dict(sorted(operators.items())),
        "warnings": warnings,
        "inputs": inputs,
        "outputs": outputs,
    }


def _tensor(detail: dict[str, Any]) -> dict[str, Any]:
    return tensor_fact(detail["name"], detail["shape"], np.dtype(detail["dtype"]).name)
