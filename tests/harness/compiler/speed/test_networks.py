"""How fast whole networks run, dense and pruned by blocks, against ONNX Runtime, OpenVINO (float32 forced) and LiteRT, on one thread.

`nox -s bench` runs it in full and prints the tables of docs/performance.md; nothing is asserted about time. Peers run what their backends
in `harness/backends/` would be given. They are timed on the dense network: what its weights are makes no difference to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

from harness.compiler.frontend.network import load_network
from harness.compiler.pipeline import optimized
from harness.plugins import Choice

if TYPE_CHECKING:
    from harness.forms.form import Source, Written

Array = npt.NDArray[Any]
pytestmark = [pytest.mark.toolchain, pytest.mark.torch, pytest.mark.usefixtures("compiler_cache")]
PEERS = {"onnxruntime": ("onnx", "onnx_qdq_u8s8"), "openvino": ("onnx", "onnx_qdq_u8s8"), "litert": ("tflite", "tflite_int8")}
"""Backend -> the forms that it takes in float32 and in int8."""


@dataclass(frozen=True, slots=True)
class Case:
    model: str
    size: int | None = None
    """Of square images of 3 channels, 1000 classes from 224 on; None: what the model's own data has."""
    densities: tuple[float, ...] = ()
    """At which it is pruned too, by blocks."""
    scattered: tuple[float, ...] = ()
    """At which single weights are, in float32."""

    def __str__(self) -> str:
        return f"{self.model}{f', {self.size}²' if self.size else ''}"


CASES = (
    Case("resnet20", 32, (0.5, 0.25, 0.1)),
    Case("resnet8"),
    Case("ds_cnn"),
    Case("mobilenet_v1"),
    Case("fc_autoencoder"),
    Case("mobilenet_v2", 32),
    Case("resnet18", 32),
    Case("vgg16", 32, (0.5, 0.25, 0.1)),
    Case("mobilenet_v2", 224),
    Case("resnet18", 224, (0.5, 0.25, 0.1), (0.1,)),
    Case("resnet50", 224, (0.25, 0.1), (0.1,)),
    Case("vgg16", 224, (0.25, 0.1), (0.1,)),
)
QUICK = Case("resnet8", 8, (0.25,), (0.1,))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Where time does not count, a network that takes none."""
    cases = CASES if metafunc.config.getoption("benchmark_enable") else (QUICK,)
    metafunc.parametrize("case", cases, ids=[f"{case.model}_{case.size or 0}" for case in cases])


def source_of(case: Case) -> Source:
    """The network with random weights and batch-norm statistics that are not those of nothing."""
    import torch

    from harness import plugins
    from harness.compression import Quantization
    from harness.forms.form import Source

    model = plugins.instantiate("models", Choice(case.model))
    spec = plugins.named("data", model.data).spec
    if case.size:
        spec = replace(spec, input_shape=(3, case.size, case.size), classes=1000 if case.size >= 224 else 10)
    torch.manual_seed(0)
    module = model.build(spec).eval()
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            assert layer.running_var is not None and layer.running_mean is not None
            torch.nn.init.uniform_(layer.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(layer.running_mean, -0.1, 0.1)
    x = np.random.default_rng(0).standard_normal((1, *spec.input_shape), np.float32)
    return Source(module, x, 1, Quantization(8, 8, True, 1, ""), x)


KERNELS = "1×16 kernels"


class Pruning(NamedTuple):
    """What all convolutions keep but the first, and those of one input channel a group."""

    what: str
    density: float

    def kept(self, kept_blocks: Callable[..., Array], shape: tuple[int, ...], inputs: int) -> Array:
        """Of weights [kh, kw, channels, outputs]: single ones, the kernels of 16 outputs and an input, or blocks of 16 outputs x `inputs`."""
        if self.what == "single weights":
            return np.random.default_rng(0).random(shape) < self.density
        if self.what == KERNELS:
            return np.broadcast_to(kept_blocks((1, 1, *shape[2:]), self.density, inputs), shape)
        return kept_blocks(shape, self.density, inputs)


NOTHING = Pruning("", 1.0)


def pruned(path: Path, folder: Path, pruning: Pruning, kept_blocks: Callable[..., Array], inputs: int) -> Path:
    model = onnx.load(path)
    stored = {t.name: t for t in model.graph.initializer}
    for node in [n for n in model.graph.node if n.op_type == "Conv"][1:]:
        weights = numpy_helper.to_array(stored[node.input[1]])
        if weights.shape[1] > 1:
            kept = pruning.kept(kept_blocks, (*weights.shape[2:], weights.shape[1], weights.shape[0]), inputs)
            stored[node.input[1]].CopyFrom(numpy_helper.from_array(weights * kept.transpose(3, 2, 0, 1), node.input[1]))
    made = folder / f"{pruning.what} {pruning.density:g}.onnx"
    onnx.save(model, made)
    return made


def quantized(path: Path, x: Array) -> Path:
    """As `harness/forms/onnx.py` writes it, of a file."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Once(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = [{"input": x}]

        def get_next(self) -> dict[str, Array] | None:
            return self.left.pop() if self.left else None

    made = path.with_suffix(".int8.onnx")
    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(str(path), str(made), Once(), per_channel=True, **types, extra_options={"ActivationSymmetric": False})
    return made


def peers(written: dict[str, Written], x: Array, *, is_integer: bool) -> dict[str, Any]:
    """Backend -> its network, with the input set."""
    from harness.forms.form import channels_last

    found = {}
    for name, forms in PEERS.items():
        form = written[forms[is_integer]]
        network = import_module(f"harness.backends.{name}").load(str(form.path.parent), form.path.name, {"threads": 1})
        network.set_inputs([channels_last(x) if form.input_layout == "NHWC" else x])
        found[name] = network
    return found


class Row(NamedTuple):
    case: Case
    pruning: Pruning
    seconds: float
    dense: float
    peers: dict[str, float]
    bound: float
    """1 / the part of the products that is computed."""
    share: float
    """Of the machine's peak that the layers with products reach, of those that they compute."""


def measured(
    case: Case,
    folder: Path,
    either: Callable[..., Any],
    in_turns: Callable[..., list[float]],
    kept_blocks: Callable[..., Array],
    peak: float,
    rounds: int,
    *,
    is_integer: bool,
) -> list[Row]:
    from harness.export import FORMS

    source, written = source_of(case), {}
    for form in {forms[is_integer] for forms in PEERS.values()} | {"onnx"}:
        (folder / form).mkdir()
        written[form] = FORMS[form].write(source, folder / form)
    files = {NOTHING: written[PEERS["onnxruntime"][is_integer]].path}
    blocks = ("16×4 blocks",) if is_integer else (KERNELS, "16×1 blocks")
    prunings = [Pruning(what, d) for what in blocks for d in case.densities]
    prunings += [Pruning("single weights", d) for d in case.scattered if not is_integer]
    for pruning in prunings:
        file = pruned(written["onnx"].path, folder, pruning, kept_blocks, 4 if is_integer else 1)
        files[pruning] = quantized(file, source.example) if is_integer else file
    programs = {
        pruning: either(optimized(load_network(file)), {"input": source.example}, "chosen") for pruning, file in files.items()
    }
    others = peers(written, source.example, is_integer=is_integer)
    times = in_turns([*programs.values(), *(network.invoke for network in others.values())], rounds)
    _check(programs[NOTHING], others, is_integer=is_integer)
    of_peers = dict(zip(others, times[len(programs) :], strict=True))
    return [
        Row(case, pruning, seconds, times[0], of_peers, *_layers(program, peak, rounds))
        for (pruning, program), seconds in zip(programs.items(), times, strict=False)
    ]


def _check(program: Any, others: dict[str, Any], *, is_integer: bool) -> None:
    """LiteRT's integer networks have other scales, and are held to their own reference where they are made."""
    (found,) = program.outputs
    for name, network in others.items():
        if not (is_integer and name == "litert"):
            wanted = network.outputs()[0].reshape(found.shape)
            np.testing.assert_allclose(
                found, wanted, rtol=0, atol=(0.2 if is_integer else 1e-3) * np.abs(wanted).max(), err_msg=name
            )


def _layers(program: Any, peak: float, rounds: int) -> tuple[float, float]:
    layers = program.facts["layers"]
    computed = [layer["macs"] * layer.get("computed", 1.0) for layer in layers]
    seconds = sum(s for s, macs in zip(program.layer_seconds(rounds), computed, strict=True) if macs)
    return sum(layer["macs"] for layer in layers) / max(1.0, sum(computed)), 2 * sum(computed) / max(seconds, 1e-9) / peak


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> Iterator[dict[bool, list[Row]]]:
    """Of float32 and of int8; printed when all are there."""
    found: dict[bool, list[Row]] = {False: [], True: []}
    yield found
    for is_integer, of in found.items() if request.config.getoption("benchmark_enable") else ():
        print(f"\n\n{'int8' if is_integer else 'float32'}\n")
        print("\n".join(dense_table([row for row in of if row.pruning == NOTHING])), end="\n\n")
        print("\n".join(sparse_table([row for row in of if row.pruning != NOTHING])))


@pytest.mark.parametrize("is_integer", [False, True], ids=["float32", "int8"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_networks(
    either: Callable[..., Any],
    in_turns: Callable[..., list[float]],
    kept_blocks: Callable[..., Array],
    peak: Callable[..., float],
    benchmark: Any,
    tmp_path_factory: pytest.TempPathFactory,
    rows: dict[bool, list[Row]],
    case: Case,
    is_integer: bool,
) -> None:
    pytest.importorskip("openvino")
    best, rounds = peak(is_integer=is_integer), 25 if benchmark.enabled else 1
    found = measured(case, tmp_path_factory.mktemp("network"), either, in_turns, kept_blocks, best, rounds, is_integer=is_integer)
    assert all(row.bound > 1.2 for row in found if row.pruning != NOTHING) and all(
        row.peers.keys() == PEERS.keys() for row in found
    )
    rows[is_integer] += found
    benchmark.extra_info.update(
        {f"{row.pruning.what or 'dense'} {row.pruning.density:g} s": row.seconds for row in found} | found[0].peers
    )
    benchmark(lambda: None)


def dense_table(rows: Sequence[Row]) -> list[str]:
    head = f"| network | ms | layers' share of peak | {' ms | '.join(PEERS)} ms | fastest peer / ours |"
    return [head, "|---|" + "---|" * (3 + len(PEERS))] + [
        f"| {row.case} | {row.seconds * 1e3:.3f} | {row.share:.0%} | "
        f"{' | '.join(f'{s * 1e3:.3f}' for s in row.peers.values())} | {min(row.peers.values()) / row.seconds:.2f}× |"
        for row in rows
    ]


def sparse_table(rows: Sequence[Row]) -> list[str]:
    head = "| network | kept | ms | over our dense | over the fastest dense peer | bound | of the bound |"
    return [head, "|---|" + "---|" * 6] + [
        f"| {row.case} | {row.pruning.what}, {row.pruning.density:.0%} | {row.seconds * 1e3:.3f} | {row.dense / row.seconds:.2f}× | "
        f"{min(row.peers.values()) / row.seconds:.2f}× | {row.bound:.2f}× | {min(row.peers.values()) / row.seconds / row.bound:.2f} |"
        for row in rows
    ]
