"""How fast layers run whose weights have empty blocks, against this compiler's dense kernels and ONNX Runtime's, on one thread.

`nox -s bench` runs it in full and prints the tables of docs/performance.md; nothing is asserted about time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph, Node, Type
from harness.compiler.operators import Conv, Requantize, Window
from harness.compiler.passes import regions
from harness.compiler.passes.padding import explicit_padding

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
    def shape(self) -> tuple[int, int, int, int]:
        """Of its weights."""
        return self.kernel, self.kernel, self.channels, self.outputs

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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`layer`: the one that takes no time, or, where time counts, some of those that networks have."""
    if "layer" in metafunc.fixturenames:
        is_timed = metafunc.config.getoption("benchmark_enable")
        metafunc.parametrize("layer", (LAYERS[1], LAYERS[3], LAYERS[4]) if is_timed else LAYERS[:1], ids=str)


def session(model: onnx.ModelProto, given: dict[str, Array]) -> Callable[[], list[Array]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    found = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: list(found.run(None, given))


def one_layer(layer: Layer, kept: Array, *, is_integer: bool) -> tuple[Graph, dict[str, Array], onnx.ModelProto]:
    """The layer over a padded image, channels last; and over the same image as ONNX has it."""
    rng, k = np.random.default_rng(0), layer.kernel
    shape = layer.shape
    edge = k // 2
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


@pytest.mark.parametrize("is_integer", [False, True], ids=["float32", "int8"])
def test_layers(
    either: Callable[..., Any],
    in_turns: Callable[..., list[float]],
    kept_blocks: Callable[..., Array],
    peak: Callable[..., float],
    benchmark: Any,
    is_integer: bool,
) -> None:
    """Lists answer as the dense kernel does; where time counts, the table of both, and a row of pytest-benchmark's own for the last."""
    layers, densities = (LAYERS[1:], DENSITIES) if benchmark.enabled else (LAYERS[:1], (0.25,))
    best = peak(is_integer=is_integer)
    rows = []
    for layer in layers:
        for density in densities:
            kept = kept_blocks(layer.shape, density, 4 if is_integer else 1)
            graph, given, model = one_layer(layer, kept, is_integer=is_integer)
            dense, sparse = (either(graph, given, how) for how in ("dense", "list"))
            theirs = session(model, {"x": given["nchw"]})
            times = in_turns([dense, sparse, theirs], 25 if benchmark.enabled else 1)
            np.testing.assert_array_equal(sparse.outputs[0], dense.outputs[0])
            wanted = theirs()[0].transpose(0, 2, 3, 1)
            np.testing.assert_allclose(sparse.outputs[0], wanted, rtol=0, atol=1 if is_integer else 1e-4 * np.abs(wanted).max())
            computed = sparse.facts["layers"][0]["computed"]
            rates = [2 * layer.macs * part / seconds for part, seconds in zip((1, computed, 1), times, strict=True)]
            rows.append((layer, density, times, rates))
    benchmark.extra_info.update({"layer": str(rows[-1][0]), "density": rows[-1][1], "operations_per_s": rows[-1][3][1]})
    benchmark(sparse)
    if benchmark.enabled:
        print(f"\n\n{'int8' if is_integer else 'float32'}: peak {best / 1e9:.0f} G/s\n")
        print(
            "| layer | density | dense µs (of peak) | list µs (of peak) | gain | of 1/density | ONNX Runtime µs | gain |\n|---|"
            + "---|" * 7
        )
        for layer, density, (a, b, c), (ra, rb, _) in rows:
            own = f"{a * 1e6:.0f} ({ra / best:.0%}) | {b * 1e6:.0f} ({rb / best:.0%}) | {a / b:.2f}× | {rb / ra:.2f}"
            print(f"| {layer} | {density:g} | {own} | {c * 1e6:.0f} | {c / b:.2f}× |")


def whole_kernels(rng: np.random.Generator, layer: Layer, density: float) -> Array:
    """Those of 16 outputs and an input together."""
    kept = rng.random((layer.channels, -(-layer.outputs // 16))) < density
    return np.broadcast_to(kept.repeat(16, 1)[:, : layer.outputs], layer.shape)


def of_groups(rng: np.random.Generator, layer: Layer, n: int, m: int) -> Array:
    """n of m neighbouring channels, for each output and place its own."""
    groups = rng.random((layer.kernel, layer.kernel, layer.channels // m, m, layer.outputs))
    return np.asarray(groups.argsort(3) < n).reshape(layer.shape)


def test_kernels(either: Callable[..., Any], in_turns: Callable[..., list[float]], benchmark: Any) -> None:
    """1x16: the kernels of 16 outputs and an input are kept or dropped whole; where time counts, the table."""
    rows = []
    for layer in LAYERS[1:5] if benchmark.enabled else LAYERS[:1]:
        for density in DENSITIES[1:] if benchmark.enabled else (0.25,):
            kept = whole_kernels(np.random.default_rng(0), layer, density)
            graph, given, model = one_layer(layer, kept, is_integer=False)
            dense, chosen = (either(graph, given, how) for how in ("dense", "chosen"))
            times = in_turns([dense, chosen, session(model, {"x": given["nchw"]})], 25 if benchmark.enabled else 1)
            np.testing.assert_allclose(chosen.outputs[0], dense.outputs[0], rtol=0, atol=1e-4 * np.abs(dense.outputs[0]).max())
            rows.append((layer, float(kept.mean()), chosen.facts["layers"][0]["format"], times))
    benchmark(chosen)
    if benchmark.enabled:
        print(
            "\n\n| layer | density | runs as | dense µs | µs | gain | of 1/density | ONNX Runtime µs | gain |\n|---|" + "---|" * 8
        )
        for layer, density, form, (a, b, c) in rows:
            own = f"{a * 1e6:.0f} | {b * 1e6:.0f} | {a / b:.2f}× | {a / b * density:.2f}"
            print(f"| {layer} | {density:.2f} | {form} | {own} | {c * 1e6:.0f} | {c / b:.2f}× |")


GROUPS = ((2, 4), (1, 4), (2, 8), (1, 8))


def test_groups(either: Callable[..., Any], in_turns: Callable[..., list[float]], benchmark: Any) -> None:
    """N:M of the input channels in float32: each output has its own places, which a vector selects; where time counts, the table."""
    layers = (LAYERS[1], LAYERS[3], LAYERS[6]) if benchmark.enabled else LAYERS[:1]
    rows = []
    for layer in layers:
        for n, m in GROUPS if benchmark.enabled else ((1, 4),):
            graph, given, _ = one_layer(layer, of_groups(np.random.default_rng(0), layer, n, m), is_integer=False)
            dense, chosen = (either(graph, given, how) for how in ("dense", "chosen"))
            times = in_turns([dense, chosen], 25 if benchmark.enabled else 1)
            np.testing.assert_allclose(chosen.outputs[0], dense.outputs[0], rtol=0, atol=1e-4 * np.abs(dense.outputs[0]).max())
            rows.append((layer, f"{n}:{m}", chosen.facts["layers"][0]["format"], m / n, times))
    benchmark(chosen)
    if benchmark.enabled:
        print("\n\n| layer | kept | runs as | dense µs | µs | gain | of M/N |\n|---|" + "---|" * 6)
        for layer, kept, form, ideal, (a, b) in rows:
            print(f"| {layer} | {kept} | {form} | {a * 1e6:.0f} | {b * 1e6:.0f} | {a / b:.2f}× | {a / b / ideal:.2f} |")


ZEROS: dict[str, Callable[[np.random.Generator, Layer], Array]] = {
    "single weights 10 %": lambda rng, layer: rng.random(layer.shape) < 0.1,
    "block-punched 8×4 45 %": lambda rng, layer: punched(rng, layer, 0.45),
    "block-punched 8×4 25 %": lambda rng, layer: punched(rng, layer, 0.25),
    "pattern 4 of 9": lambda rng, layer: patterns(rng, layer, 1.0),
    "pattern 4 of 9, kernels 56 %": lambda rng, layer: patterns(rng, layer, 0.5625),
}


def punched(rng: np.random.Generator, layer: Layer, density: float) -> Array:
    """[kh, kw, channels, outputs]: the same places of a kernel in blocks of 8 outputs x 4 channels."""
    kh, kw, channels, outputs = layer.shape
    kept = rng.random((kh, kw, channels // 4, outputs // 8)) < density
    return kept.repeat(4, 2).repeat(8, 3)


def patterns(rng: np.random.Generator, layer: Layer, kernels: float) -> Array:
    """Of eight patterns that keep four of nine weights, one for each kernel that is kept."""
    ways = (rng.random((8, 9)).argsort(1) < 4).reshape(8, 3, 3)
    kept = ways[rng.integers(0, 8, layer.shape[2:])] & (rng.random((*layer.shape[2:], 1, 1)) < kernels)
    return np.asarray(kept.transpose(2, 3, 0, 1))


def test_single_zeros(
    either: Callable[..., Any], in_turns: Callable[..., list[float]], benchmark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Convolutions over regions, without what moves images there and back; where time counts, the table."""
    monkeypatch.setattr(regions, "MOVE", 0.0)
    rows = []
    for layer in LAYERS[1:5] if benchmark.enabled else LAYERS[:1]:
        for what, kept_of in ZEROS.items() if benchmark.enabled else list(ZEROS.items())[:1]:
            kept = kept_of(np.random.default_rng(0), layer)
            graph, given = padding_itself(layer, kept)
            dense, chosen = (either(graph, given, how) for how in ("dense", "chosen"))
            in_turns([dense, chosen], 5 if benchmark.enabled else 1)
            np.testing.assert_allclose(chosen.outputs[0], dense.outputs[0], rtol=0, atol=1e-4 * np.abs(dense.outputs[0]).max())
            least = [np.inf, np.inf]
            for _ in range(25 if benchmark.enabled else 1):
                for index, program in enumerate((dense, chosen)):
                    seconds = zip(program.layer_seconds(4 if benchmark.enabled else 1), program.facts["layers"], strict=True)
                    least[index] = min(least[index], sum(s for s, found in seconds if found["macs"]))
            form = next(found["format"] for found in chosen.facts["layers"] if found["macs"])
            rows.append((layer, what, float(kept.mean()), form, *least))
    benchmark(chosen)
    if benchmark.enabled:
        print("\n\n| layer | kept | runs as | dense µs | µs | gain | of 1/density |\n|---|" + "---|" * 6)
        for layer, what, density, form, a, b in rows:
            print(f"| {layer} | {what} | {form} | {a * 1e6:.0f} | {b * 1e6:.0f} | {a / b:.2f}× | {a / b * density:.2f} |")


KEPT: dict[str, Callable[[np.random.Generator, Layer], Array]] = {
    "dense": lambda _, layer: np.ones(layer.shape, bool),
    "1x16 at 50 %": lambda rng, layer: whole_kernels(rng, layer, 0.5),
    "1x16 at 75 %": lambda rng, layer: whole_kernels(rng, layer, 0.25),
    "1x16 at 90 %": lambda rng, layer: whole_kernels(rng, layer, 0.1),
    "2:4": lambda rng, layer: of_groups(rng, layer, 2, 4),
    **ZEROS,
}
"""Pruned how -> of a layer's weights, those that stay."""


@pytest.mark.parametrize(
    ("kept", "is_integer"),
    [*((kept, False) for kept in KEPT), ("dense", True), ("blocks 16x4 at 75 %", True)],
    ids=lambda value: value if isinstance(value, str) else ("float32", "int8")[value],
)
def test_one_layer_by_one_kernel(
    either: Callable[..., Any],
    kept_blocks: Callable[..., Array],
    peak: Callable[..., float],
    benchmark: Any,
    layer: Layer,
    kept: str,
    is_integer: bool,
) -> None:
    """What pytest-benchmark's own table shows, and `assay import-benchmarks` keeps: a layer of `layer_of`, as it runs in networks."""
    rng = np.random.default_rng(0)
    if is_integer:
        stays = kept_blocks(layer.shape, 1.0 if kept == "dense" else 0.25, 4)
        graph, given, _ = one_layer(layer, stays, is_integer=True)
        given = {"x": given["x"]}
    else:
        stays = KEPT[kept](rng, layer)
        graph, given = padding_itself(layer, stays)
    program = either(graph, given, "dense" if kept == "dense" else "chosen")
    program()
    (wanted,) = interpret(graph, given).values()
    tolerance = 0 if is_integer else 1e-4 * float(np.abs(wanted).max())
    np.testing.assert_allclose(program.outputs[0], wanted, rtol=0, atol=tolerance)
    (facts,) = (found for found in program.facts["layers"] if found["macs"])
    benchmark.extra_info["assay"] = {
        "model": f"{layer}, {'int8' if is_integer else 'float32'}",
        "method": kept,
        "backend": "native",
        "operator": {
            "op": "Conv",
            "macs": facts["macs"] * facts["computed"],
            "bytes": facts["bytes"],
            "format": facts["format"],
            "sparsity": 1 - facts["density"],
        },
        "roofline": {"peak_flops": peak(is_integer=is_integer)},
    }
    benchmark(program)


def random_layer(rng: np.random.Generator) -> tuple[Layer, Array]:
    """A layer's sizes, and which of its weights stay: scattered, or by blocks of some width."""
    channels, outputs = (int(rng.choice([16, 24, 32, 64, 128, 256])) for _ in range(2))
    layer = Layer(channels, outputs, int(rng.integers(4, 57)), int(rng.choice([1, 3])))
    width, density = int(rng.choice([1, 4, 8, 16])), rng.uniform(0.02, 1)
    kept = rng.random((*layer.shape[:3], -(-outputs // width))) < density
    return layer, kept.repeat(width, 3)[..., :outputs]


def padding_itself(layer: Layer, kept: Array) -> tuple[Graph, dict[str, Array]]:
    """As layers are in networks: what goes into regions needs no padded image, and has to be moved."""
    rng, edge = np.random.default_rng(0), layer.kernel // 2
    x = rng.standard_normal((1, layer.size, layer.size, layer.channels), np.float32)
    weights = (rng.standard_normal(layer.shape, np.float32) * kept).astype(np.float32)
    node = Node(Conv(Window((layer.kernel, layer.kernel), pads=(edge,) * 4)), ("x", "w", "b"), "y", "layer")
    constants = {"w": weights, "b": np.zeros(layer.outputs, np.float32)}
    return explicit_padding(Graph.of({"x": Type("float32", x.shape)}, ["y"], [node], constants)), {"x": x}


def test_what_is_chosen_is_not_slower_than_dense(
    either: Callable[..., Any], in_turns: Callable[..., list[float]], benchmark: Any
) -> None:
    """Layers of any size, zeros of any pattern; where time counts, how many were slower by more than 5 %, and the slowest."""
    rng, rows = np.random.default_rng(0), []
    for _ in range(60 if benchmark.enabled else 1):
        layer, kept = random_layer(rng)
        graph, given = padding_itself(layer, kept)
        dense, chosen = (either(graph, given, how) for how in ("dense", "chosen"))
        times = in_turns([dense, chosen], 25 if benchmark.enabled else 1)
        np.testing.assert_allclose(chosen.outputs[0], dense.outputs[0], rtol=0, atol=1e-4 * np.abs(dense.outputs[0]).max())
        forms = sorted({found["format"] for found in chosen.facts["layers"] if found["macs"]})
        rows.append((times[0] / times[1], layer, float(kept.mean()), " ".join(forms)))
    benchmark(chosen)
    if benchmark.enabled:
        sparse = [row for row in rows if row[3] != "dense"]
        print(
            f"\n\n{len(rows)} layers, {len(sparse)} not dense, {sum(row[0] < 0.95 for row in sparse)} slower than dense by more than 5 %\n"
        )
        print("| gain | layer | density | runs as |\n|---|---|---|---|")
        for gain, layer, density, how in sorted(rows)[:5]:
            print(f"| {gain:.2f}× | {layer} | {density:.2f} | {how} |")
