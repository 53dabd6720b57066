"""ncnn on the CPU, converted from ONNX by pnnx: float32 throughout (its default stores fp16)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from harness.artifact import Artifact
    from harness.backend import TensorQuantization
    from harness.compression import Numeric
    from harness.export import Exported
    from harness.suite import Workload
    from targets.target import Target

PARAM, WEIGHTS, SIGNATURE = "model.param", "model.bin", "signature.json"
_REDUCED = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage")
"""Options that store or compute below float32."""
_PNNX_TYPES = {"float32": "f32", "int32": "i32", "int64": "i64"}
_NO_BATCH = 233
"""ncnn's own number for a tensor without a batch axis."""
_CONVERT_S = 600


@dataclass(frozen=True)
class Ncnn:
    requires: ClassVar[tuple[str, ...]] = ("ncnn", "numpy")
    builds_with: ClassVar[tuple[str, ...]] = ("pnnx", "ncnn", "onnx")
    reads: ClassVar[tuple[str, ...]] = (".onnx",)

    def supports(self, workload: Workload, numeric: Numeric, target: Target) -> str | None:  # noqa: ARG002 - any network will do
        if target.kind != "cpu":
            return f"ncnn here runs on CPUs, and `{target.name}` is a {target.kind}"
        if numeric != "float32":
            return "ncnn's int8 networks are made by its own quantizer, which its Python packages lack; pnnx converts no QuantizeLinear"
        return None

    def form(self, numeric: Numeric, target: Target) -> str:  # noqa: ARG002 - float32 only
        return "onnx"

    def build(self, exported: Exported, target: Target, folder: Path) -> Artifact:  # noqa: ARG002 - the same files on every CPU
        import json
        import tempfile
        from pathlib import Path

        from harness import environment
        from harness.artifact import Artifact
        from harness.errors import Unsupported
        from harness.forms.static import output_shapes, write_static

        if exported.path.suffix not in self.reads:
            raise Unsupported(f"ncnn here is converted from .onnx files, not from form `{exported.form}`")
        inputs, outputs = exported.facts["inputs"], exported.facts["outputs"]
        for tensor, kinds in (*((t, tuple(_PNNX_TYPES)) for t in inputs), *((t, ("float32",)) for t in outputs)):
            if tensor["dtype"] not in kinds:
                raise Unsupported(
                    f"ncnn takes float32 and indices and gives float32, and `{tensor['name']}` is {tensor['dtype']}"
                )
        with tempfile.TemporaryDirectory(prefix="assay-ncnn-") as scratch:
            source = Path(scratch) / "model.onnx"
            write_static(exported, source)
            shapes = output_shapes(source)
            axes, unknown = _convert(source, inputs)
            (folder / PARAM).write_bytes(source.with_name("model.ncnn.param").read_bytes())
            (folder / WEIGHTS).write_bytes(source.with_name("model.ncnn.bin").read_bytes())
        signature = {"batch_axes": axes, "output_shapes": shapes}
        (folder / SIGNATURE).write_text(json.dumps(signature))
        facts = environment.call("ncnn", "opened", str(folder), unknown)
        return Artifact.of(folder, (PARAM, WEIGHTS, SIGNATURE), {"form": exported.form, "precision": "float32", **facts})


BACKEND = Ncnn


def _convert(source: Path, inputs: Sequence[Mapping[str, Any]]) -> tuple[dict[str, int], list[str]]:
    """pnnx, a program, writes model.ncnn.param and .bin beside the source.

    What it says: the batch axis of each input and output that has one (only in the Python it writes as an example), and the operators
    it had nothing to make of.
    """
    import importlib.util
    import re
    from pathlib import Path

    from harness.environment import ending
    from harness.errors import BuildError
    from targets.process import run_group

    package = importlib.util.find_spec("pnnx")
    assert package is not None and package.origin is not None
    shapes = ",".join(f"[{','.join(map(str, t['shape']))}]{_PNNX_TYPES[t['dtype']]}" for t in inputs)
    command = [str(Path(package.origin).with_name("pnnx")), str(source), f"inputshape={shapes}", "fp16=0"]
    ended = run_group(command, folder=source.parent, environment=os.environ, timeout_s=_CONVERT_S)
    said = (ended.stdout + ended.stderr).decode("utf-8", "replace").splitlines()
    param = source.with_name("model.ncnn.param")
    if ended.exit_status or not param.exists():
        raise BuildError(f"pnnx ended with {ending(ended.exit_status)}; it last said: {' | '.join(said[-3:])[-600:]}")
    unknown = sorted({line.split()[1] for line in said if line.startswith(("ignore ", "todo "))})
    example = source.with_name("model_ncnn.py").read_text()
    axes = re.findall(r'"(in\d+)", ncnn\.Mat\(.*?batch_index=(\d+)', example) + re.findall(
        r"(out\d+)\.numpy\(batch_index=(\d+)", example
    )
    return {name: int(axis) for name, axis in axes}, unknown


def opened(folder: str, unknown: Sequence[str]) -> dict[str, Any]:
    """The layers of the converted network; in a process of its own, since ncnn may crash on what pnnx wrote."""
    try:
        network = load(folder, PARAM, {"threads": 1})
    except RuntimeError as error:
        raise NotImplementedError(f"{error}; pnnx has no ncnn layer for {', '.join(unknown) or 'some operator'}") from error
    return {"layers": network.facts()["layers"]}


class Network:
    """One network in ncnn; an inference is an extractor of its own, as ncnn's interface has it."""

    def __init__(self, folder: str, options: Mapping[str, Any]) -> None:
        import json

        import ncnn

        self._ncnn = ncnn
        self._net = ncnn.Net()
        self._net.opt.num_threads = options["threads"]
        self._net.opt.use_vulkan_compute = False
        for name in _REDUCED:
            setattr(self._net.opt, name, False)
        for load_file, name in ((self._net.load_param, PARAM), (self._net.load_model, WEIGHTS)):
            if load_file(os.path.join(folder, name)) != 0:  # noqa: PTH118 - the runner hands strings
                raise RuntimeError(f"ncnn cannot load {name}: a layer of it is unknown to this build of ncnn")
        with open(os.path.join(folder, SIGNATURE), encoding="utf-8") as file:  # noqa: PTH118, PTH123
            signature = json.load(file)
        self._axes, self._shapes = signature["batch_axes"], signature["output_shapes"]
        self._inputs: list[tuple[str, Any]] = []
        self._results: list[Any] = []

    def set_inputs(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        import numpy as np

        names = [f"in{index}" for index in range(len(arrays))]
        if sorted(names) != sorted(self._net.input_names()):
            raise ValueError(f"the network takes {len(self._net.input_names())} inputs, {len(arrays)} were given")
        self._inputs = []
        for name, array in zip(names, arrays):  # noqa: B905 - a device's Python 3.8 has no strict zip
            kept = np.array(array, dtype=np.int32 if array.dtype.kind == "i" else array.dtype, order="C")
            self._inputs.append((name, self._ncnn.Mat(kept, self._axes.get(name, _NO_BATCH)).clone()))

    def invoke(self) -> None:
        extractor = self._net.create_extractor()
        for name, mat in self._inputs:
            extractor.input(name, mat)
        self._results = [extractor.extract(f"out{index}") for index in range(len(self._shapes))]

    def outputs(self) -> list[npt.NDArray[Any]]:
        import numpy as np

        found = []
        for index, ((status, mat), shape) in enumerate(zip(self._results, self._shapes)):  # noqa: B905 - Python 3.8
            if status != 0:
                raise RuntimeError(f"ncnn gave status {status} for output {index}")
            array = np.array(mat.numpy(batch_index=self._axes.get(f"out{index}", _NO_BATCH)))
            found.append(array.reshape(shape))
        return found

    def output_quantization(self) -> list[TensorQuantization | None]:
        return [None for _ in self._shapes]

    def facts(self) -> Mapping[str, Any]:
        layers: dict[str, int] = {}
        for layer in self._net.layers():
            layers[str(layer.type)] = layers.get(str(layer.type), 0) + 1
        options = {name: getattr(self._net.opt, name) for name in dir(self._net.opt) if name.startswith("use_")}
        return {
            "runtime": "ncnn",
            "version": self._ncnn.__version__,
            "layers": dict(sorted(layers.items())),
            "options_on": sorted(name for name, on in options.items() if on),
            "options_off": sorted(name for name, on in options.items() if not on),
            "share": 1.0,
            "threads": self._net.opt.num_threads,
        }


def load(folder: str, file: str, options: Mapping[str, Any]) -> Network:  # noqa: ARG001 - it opens three files
    return Network(folder, options)
