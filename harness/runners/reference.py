"""The slow, plain answer of a user's model file: LiteRT's reference kernels for .tflite, ONNX Runtime without any rewriting for .onnx.

Run by the Python runner like the device half of a backend, in a process of its own: a broken file may take its parser down.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt


class TFLite:
    def __init__(self, path: str) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self.interpreter = Interpreter(path, num_threads=1, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
        self.interpreter.allocate_tensors()
        self.details = self.interpreter.get_output_details()

    def set_inputs(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        for index, detail in enumerate(self.interpreter.get_input_details()):
            self.interpreter.set_tensor(detail["index"], arrays[index])

    def invoke(self) -> None:
        self.interpreter.invoke()

    def outputs(self) -> list[npt.NDArray[Any]]:
        return [self.interpreter.get_tensor(detail["index"]) for detail in self.details]

    def output_quantization(self) -> list[tuple[float, int] | None]:
        return [detail["quantization"] if detail["quantization"][0] else None for detail in self.details]

    def facts(self) -> Mapping[str, Any]:
        """`quantized`: some tensor has a scale. A file of float inputs and outputs may hold 8-bit weights, and each kernel then
        quantizes activations in its own way."""
        scales = (len(tensor["quantization_parameters"]["scales"]) for tensor in self.interpreter.get_tensor_details())
        return {"runtime": "ai-edge-litert", "kernels": "reference", "quantized": any(scales)}


class Onnx:
    def __init__(self, path: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.feed: dict[str, npt.NDArray[Any]] = {}
        self.found: list[npt.NDArray[Any]] = []

    def set_inputs(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        self.feed = {value.name: arrays[index] for index, value in enumerate(self.session.get_inputs())}

    def invoke(self) -> None:
        self.found = self.session.run(None, self.feed)

    def outputs(self) -> list[npt.NDArray[Any]]:
        return self.found

    def output_quantization(self) -> list[tuple[float, int] | None]:
        return [None] * len(self.found)

    def facts(self) -> Mapping[str, Any]:
        return {"runtime": "onnxruntime", "kernels": "graph as it is", "quantized": False}


def load(folder: str, file: str, options: Mapping[str, Any]) -> TFLite | Onnx:  # noqa: ARG001 - the runner's contract
    path = os.path.join(folder, file)  # noqa: PTH118 - the runner hands strings
    return TFLite(path) if path.endswith(".tflite") else Onnx(path)
