"""How fast layers and networks run whose weights have empty blocks, against this compiler's dense kernels and ONNX Runtime's, on one thread.

`nox -s bench` runs it in full and prints the tables of docs/performance.md; nothing is asserted about time. Whatever is compared is timed
in turns in one process, and the least of many rounds counts: what is left of a busy machine's noise hits all alike.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from harness.compiler.choice import COSTS, Costs
from harness.compiler.emit import emitted
from harness.compiler.frontend.network import load_network
from harness.compiler.ir import Graph, Node, Type
from harness.compiler.operators import Conv, Requantize, Window
from harness.compiler.pipeline import optimized
from harness.compiler.program import FLAGS
from harness.roofline import SOURCE
from harness.toolchain import RUNNER, compiled
from targets.target import Target

Array = npt.NDArray[Any]
pytestmark = [pytest.mark.toolchain, pytest.mark.torch, pytest.mark.usefixtures("compiler_cache")]
DENSITIES = (1.0, 0.5, 0.25, 0.1)


class Layer(NamedTuple):
    channels: int
    outputs: int
    size: int
    kernel: int

    def __str__(self) -> str:
        return f"{self.channels}→{self.outputs}, {self.size}², {self.kernel}×{self.kernel}"

    @property
    def macs(self) -> int:
        return self.channels * self.outputs * self.size**2 * self.kernel**2


LAYERS = (
    Layer(16, 16, 8, 3),
    Layer(64, 64, 56, 3),
    Layer(128, 128, 28, 3),
    Layer(256, 256, 14, 3),
    Layer(512, 512, 7, 3),
    Layer(64, 256, 56, 1),
    Layer(1024, 256, 14, 1),
)
"""Of ResNet-18 and -50, and first one that takes no time."""


class Program:
    """A graph, compiled and loaded into this process."""

    def __init__(self, graph: Graph, given: dict[str, Array], folder: Path) -> None:
        made = emitted(graph)
        self.facts = made.facts
        folder.mkdir()
        (folder / "model.c").write_text(made.source)
        words = [sys.executable, "-m", "ziglang", "cc", "-O3", "-mcpu=native", "-shared", "-fPIC", *FLAGS, f"-I{RUNNER}"]
        subprocess.run([*words, str(folder / "model.c"), "-o", str(folder / "model.so"), "-lm"], check=True)
        self._library = ctypes.CDLL(str(folder / "model.so"))
        self._weights = aligned(np.frombuffer(made.weights, np.uint8))
        self._arena = aligned(np.zeros(made.facts["arena_bytes"], np.uint8))
        self._inputs = [aligned(given[name]) for name in graph.inputs]
        self.outputs = [aligned(np.zeros(graph.types[name].shape, graph.types[name].dtype)) for name in graph.outputs]
        assert self._library.model_init(address(self._weights), address(self._arena), 1) == 0
        self._arguments = [
            (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays]) for arrays in (self._inputs, self.outputs)
        ]

    def __call__(self) -> None:
        self._library.model_run(*self._arguments)


def aligned(array: Array) -> Array:
    memory = np.zeros(array.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    found = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    found[...] = array
    return found


def address(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def least_s(calls: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Seconds of each, timed in turns."""
    counts = []
    for call in calls:
        call()
        start = time.perf_counter()
        call()
        counts.append(max(1, int(2e-3 / (time.perf_counter() - start))) if rounds > 1 else 1)
    least = [float("inf")] * len(calls)
    for _ in range(rounds):
        for index, (call, count) in enumerate(zip(calls, counts, strict=True)):
            start = time.perf_counter()
            for _ in range(count):
                call()
            least[index] = min(least[index], (time.perf_counter() - start) / count)
    return least


def session(model: onnx.ModelProto, given: dict[str, Array]) -> Callable[[], list[Array]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    found = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: list(found.run(None, given))


def blocks(shape: tuple[int, ...], density: float, inputs: int, seed: int = 0) -> Array:
    """[kh, kw, channels, outputs]: that part of the blocks of 16 outputs x `inputs` channels."""
    kh, kw, channels, outputs = shape
    kept = np.random.default_rng(seed).random((kh, kw, -(-channels // inputs), -(-outputs // 16))) < density
    return kept.repeat(inputs, 2).repeat(16, 3)[:, :, :channels, :outputs]


def one_layer(layer: Layer, density: float, *, is_integer: bool) -> tuple[Graph, dict[str, Array], onnx.ModelProto]:
    """The layer over a padded image, channels last; and over the same image as ONNX has it."""
    rng, k = np.random.default_rng(0), layer.kernel
    shape = (k, k, layer.channels, layer.outputs)
    kept, edge = blocks(shape, density, 4 if is_integer else 1), k // 2
    image = (1, layer.size, layer.size, layer.channels)
    pads, around = [edge] * 4, ((0, 0), (edge, edge), (edge, edge), (0, 0))
    weights: Array
    x: Array
    constants: dict[str, Array]
    if is_integer:
        weights, x = rng.integers(-128, 128, shape).astype(np.int8) * kept, rng.integers(0, 256, image).astype(np.uint8)
        constants = {"w": weights, "b": np.zeros(layer.outputs, np.int32), "m": np.full(layer.outputs, 1e-4, np.float32)}
        node = Node(Conv(Window((k, k)), 1, requantize=Requantize(0, 0, "uint8", 0, 255)), ("x", "w", "b", "m"), "y", "layer")
        scales = {name: np.float32(value) for name, value in (("sx", 1), ("sw", 1e-4), ("sy", 1))}
        zeros = {"zx": np.uint8(0), "zw": np.int8(0), "zy": np.uint8(0)}
        stored = {"w": np.ascontiguousarray(weights.transpose(3, 2, 0, 1)), **scales, **zeros}
        names = ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy"]
        operator, dtype = helper.make_node("QLinearConv", names, ["y"], pads=pads), onnx.TensorProto.UINT8
    else:
        weights, x = (rng.standard_normal(shape, np.float32) * kept).astype(np.float32), rng.standard_normal(image, np.float32)
        constants = {"w": weights, "b": np.zeros(layer.outputs, np.float32)}
        node = Node(Conv(Window((k, k))), ("x", "w", "b"), "y", "layer")
        stored = {"w": np.ascontiguousarray(weights.transpose(3, 2, 0, 1))}
        operator, dtype = helper.make_node("Conv", ["x", "w"], ["y"], pads=pads), onnx.TensorProto.FLOAT
    values = [helper.make_tensor_value_info(name, dtype, None) for name in "xy"]
    values[0] = helper.make_tensor_value_info("x", dtype, [1, layer.channels, layer.size, layer.size])
    made = helper.make_graph(
        [operator], "g", values[:1], values[1:], [numpy_helper.from_array(np.asarray(a), n) for n, a in stored.items()]
    )
    padded = np.pad(x, around)
    graph = Graph.of({"x": Type(padded.dtype.name, padded.shape)}, ["y"], [node], constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return graph, {"x": padded, "nchw": np.ascontiguousarray(x.transpose(0, 3, 1, 2))}, model


@pytest.fixture
def either(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Graph, dict[str, Array], str], Program]:
    """(graph, inputs, `dense` | `list` | `chosen`) -> the program whose layers run so."""

    def make(graph: Graph, given: dict[str, Array], how: str) -> Program:
        with monkeypatch.context() as patched:
            for dtype in COSTS if how != "chosen" else ():
                patched.setitem(COSTS, dtype, Costs(0, 0) if how == "list" else Costs(1e9, 1e9))
            return Program(graph, given, tmp_path / str(len(list(tmp_path.iterdir()))))

    return make


def peaks() -> tuple[float, float]:
    """Operations a second of one core at best, in float32 and in bytes."""
    program = compiled([SOURCE], Target("local"))
    found = json.loads(subprocess.run([str(program), "1", "65536", "0.3"], capture_output=True, check=True).stdout)
    return found["peak_flops"], found["peak_int8_ops"] or float("nan")


@pytest.mark.parametrize("is_integer", [False, True], ids=["float32", "int8"])
def test_layers(either: Callable[..., Program], benchmark: Any, is_integer: bool) -> None:
    """Lists answer as the dense kernel does; where time counts, the table of both, and a row of pytest-benchmark's own for the last."""
    layers, densities = (LAYERS[1:], DENSITIES) if benchmark.enabled else (LAYERS[:1], (0.25,))
    peak = peaks()[is_integer] if benchmark.enabled else 1.0
    rows = []
    for layer in layers:
        for density in densities:
            graph, given, model = one_layer(layer, density, is_integer=is_integer)
            dense, sparse = (either(graph, given, how) for how in ("dense", "list"))
            theirs = session(model, {"x": given["nchw"]})
            times = least_s([dense, sparse, theirs], 25 if benchmark.enabled else 1)
            np.testing.assert_array_equal(sparse.outputs[0], dense.outputs[0])
            wanted = theirs()[0].transpose(0, 2, 3, 1)
            np.testing.assert_allclose(sparse.outputs[0], wanted, rtol=0, atol=1 if is_integer else 1e-4 * np.abs(wanted).max())
            computed = sparse.facts["layers"][0]["computed"]
            rates = [2 * layer.macs * part / seconds for part, seconds in zip((1, computed, 1), times, strict=True)]
            rows.append((layer, density, times, rates))
    benchmark.extra_info.update({"layer": str(rows[-1][0]), "density": rows[-1][1], "operations_per_s": rows[-1][3][1]})
    benchmark(sparse)
    if benchmark.enabled:
        print(f"\n\n{'int8' if is_integer else 'float32'}: peak {peak / 1e9:.0f} G/s\n")
        print(
            "| layer | density | dense µs (of peak) | list µs (of peak) | gain | of 1/density | ONNX Runtime µs | gain |\n|---|"
            + "---|" * 7
        )
        for layer, density, (a, b, c), (ra, rb, _) in rows:
            own = f"{a * 1e6:.0f} ({ra / peak:.0%}) | {b * 1e6:.0f} ({rb / peak:.0%}) | {a / b:.2f}× | {rb / ra:.2f}"
            print(f"| {layer} | {density:g} | {own} | {c * 1e6:.0f} | {c / b:.2f}× |")


def network_file(name: str, folder: Path) -> Path:
    import torch

    from harness.models.networks.resnet import Basic, ResNet
    from harness.models.networks.resnet_cifar import CifarResNet

    size = 224 if name == "resnet18" else 32
    module = (
        ResNet(Basic, (2, 2, 2, 2), 3, 1000, width=64, small=False)
        if name == "resnet18"
        else CifarResNet(3, 10, blocks=3 if name == "resnet20" else 1)
    )
    module.eval()
    exported = torch.onnx.export(module, (torch.zeros(1, 3, size, size),), dynamo=True, verbose=False, input_names=["x"])
    assert exported is not None
    path = folder / f"{name}.onnx"
    exported.save(str(path))
    return path


def pruned(path: Path, density: float, inputs: int) -> Path:
    """All convolutions but the first keep that part of the blocks of 16 outputs x `inputs` channels."""
    model = onnx.load(path)
    stored = {t.name: t for t in model.graph.initializer}
    for node in [n for n in model.graph.node if n.op_type == "Conv"][1:]:
        weights = numpy_helper.to_array(stored[node.input[1]])
        kept = blocks((*weights.shape[2:], weights.shape[1], weights.shape[0]), density, inputs)
        stored[node.input[1]].CopyFrom(numpy_helper.from_array(weights * kept.transpose(3, 2, 0, 1), node.input[1]))
    made = path.with_name(f"{path.stem}_{density:g}_{inputs}.onnx")
    onnx.save(model, made)
    return made


def quantized(path: Path, given: dict[str, Array]) -> Path:
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Once(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = [given]

        def get_next(self) -> dict[str, Array] | None:
            return self.left.pop() if self.left else None

    made = path.with_suffix(".int8.onnx")
    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(str(path), str(made), Once(), per_channel=True, **types, extra_options={"ActivationSymmetric": False})
    return made


@pytest.mark.parametrize("is_integer", [False, True], ids=["float32", "int8"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_networks(
    either: Callable[..., Program], benchmark: Any, tmp_path_factory: pytest.TempPathFactory, is_integer: bool
) -> None:
    """Whole networks, pruned by blocks but for their first layer: as they are chosen to run, all dense, and by ONNX Runtime."""
    rows = []
    for name in ("resnet20", "resnet18") if benchmark.enabled else ("tiny",):
        folder = tmp_path_factory.mktemp(name)
        path = network_file(name, folder)
        size = onnx.load(path).graph.input[0].type.tensor_type.shape.dim[2].dim_value
        given = {"x": np.random.default_rng(0).standard_normal((1, 3, size, size), np.float32)}
        for density in (0.25, 0.1) if benchmark.enabled else (0.25,):
            file = pruned(path, density, 4 if is_integer else 1)
            file = quantized(file, given) if is_integer else file
            graph = optimized(load_network(file))
            dense, chosen = (either(graph, given, how) for how in ("dense", "chosen"))
            theirs = session(onnx.load(file), given)
            times = least_s([dense, chosen, theirs], 25 if benchmark.enabled else 1)
            np.testing.assert_allclose(chosen.outputs[0], dense.outputs[0], rtol=1e-5, atol=1e-5)
            wanted = theirs()[0]
            np.testing.assert_allclose(
                chosen.outputs[0], wanted, rtol=0, atol=(0.1 if is_integer else 1e-4) * np.abs(wanted).max()
            )
            of_weights = [found for found in chosen.facts["layers"] if found["macs"]]
            bound = sum(f["macs"] for f in of_weights) / sum(f["macs"] * f["computed"] for f in of_weights)
            assert chosen.facts["kernels"].keys() & {"hk_f32_list_conv", "hk_q8_list_conv"} and bound > 1.5
            rows.append((name, density, times, bound))
    benchmark(chosen)
    if benchmark.enabled:
        print(f"\n\n{'int8' if is_integer else 'float32'}\n")
        print("| network | density | dense ms | chosen ms | gain | bound | ONNX Runtime ms | gain |\n|---|" + "---|" * 7)
        for name, density, (a, b, c), bound in rows:
            print(
                f"| {name} | {density:g} | {a * 1e3:.3f} | {b * 1e3:.3f} | {a / b:.2f}× | {bound:.2f}× | {c * 1e3:.3f} | {c / b:.2f}× |"
            )
