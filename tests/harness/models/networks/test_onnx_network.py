from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from harness import plugins
from harness.compression.numerics.dependency import dependencies
from harness.compression.numerics.layers import weighted_layers
from harness.errors import Unsupported
from harness.models.networks.onnx_network import network_of

pytestmark = pytest.mark.torch

Array = npt.NDArray[Any]
RNG = np.random.default_rng(0)


def some(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def whole(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def number(value: float) -> Array:
    return np.array(value, np.float32)


def answers(path: Path, x: Array) -> Array:
    found: Array = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    return found


def written(path: Path, nodes: list[Any], constants: dict[str, Array], shape: tuple[int, ...], opset: int = 18) -> Path:
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [given], [made], [numpy_helper.from_array(a, name) for name, a in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), path)
    return path


IMAGE = (4, 9, 7)
NODES: list[tuple[str, tuple[int, ...], dict[str, Array], dict[str, Any]]] = [
    ("Conv", IMAGE, {"w": some(6, 4, 3, 3), "b": some(6)}, {"strides": [2, 1], "pads": [1, 2, 1, 2], "dilations": [2, 1]}),
    ("Conv", IMAGE, {"w": some(4, 1, 3, 3)}, {"group": 4, "pads": [0, 0, 1, 1], "strides": [2, 2]}),
    ("Conv", IMAGE, {"w": some(6, 2, 2, 3)}, {"group": 2, "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", IMAGE, {"w": some(6, 4, 2, 2)}, {"auto_pad": "SAME_LOWER"}),
    ("Conv", (3, 11), {"w": some(5, 3, 4), "b": some(5)}, {"pads": [2, 1]}),
    ("Gemm", (5,), {"w": some(5, 3), "b": some(1, 3)}, {"alpha": 0.5, "beta": 2.0}),
    ("Gemm", (5,), {"w": some(3, 5)}, {"transB": 1}),
    ("MatMul", (6, 5), {"w": some(5, 3)}, {}),
    ("BatchNormalization", IMAGE, {"s": some(4), "b": some(4), "m": some(4), "v": some(4) ** 2}, {"epsilon": 1e-3}),
    ("BatchNormalization", (4,), {"s": some(4), "b": some(4), "m": some(4), "v": some(4) ** 2}, {}),
    ("LayerNormalization", (3, 8), {"s": some(8), "b": some(8)}, {"axis": -1}),
    ("PRelu", IMAGE, {"s": some(4, 1, 1)}, {}),
    ("Clip", IMAGE, {"low": number(0), "high": number(6)}, {}),
    ("Clip", IMAGE, {"low": number(-0.5)}, {}),
    ("Relu", IMAGE, {}, {}),
    ("LeakyRelu", IMAGE, {}, {"alpha": 0.2}),
    ("Elu", IMAGE, {}, {"alpha": 0.7}),
    ("Sigmoid", IMAGE, {}, {}),
    ("Tanh", IMAGE, {}, {}),
    ("Softplus", IMAGE, {}, {}),
    ("HardSwish", IMAGE, {}, {}),
    ("HardSigmoid", IMAGE, {}, {"alpha": 1 / 6, "beta": 0.5}),
    ("HardSigmoid", IMAGE, {}, {}),
    ("Add", IMAGE, {"c": some(4, 1, 1)}, {}),
    ("Sub", IMAGE, {"c": number(2)}, {}),
    ("Mul", IMAGE, {"c": some(1, 4, 1, 7)}, {}),
    ("Div", IMAGE, {"c": some(7)}, {}),
    ("Abs", IMAGE, {}, {}),
    ("MaxPool", IMAGE, {}, {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 0]}),
    ("MaxPool", IMAGE, {}, {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("MaxPool", IMAGE, {}, {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ("AveragePool", IMAGE, {}, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("AveragePool", IMAGE, {}, {"kernel_shape": [3, 3], "pads": [0, 0, 1, 1], "count_include_pad": 1}),
    ("GlobalAveragePool", IMAGE, {}, {}),
    ("GlobalMaxPool", (4, 9), {}, {}),
    ("ReduceMean", IMAGE, {"axes": whole(2, 3)}, {"keepdims": 0}),
    ("ReduceSum", IMAGE, {"axes": whole(-1)}, {}),
    ("Flatten", IMAGE, {}, {}),
    ("Reshape", IMAGE, {"s": whole(0, 2, -1)}, {}),
    ("Reshape", IMAGE, {"s": whole(-1, 4, 63)}, {}),
    ("Squeeze", (4, 1, 1), {"axes": whole(2, 3)}, {}),
    ("Unsqueeze", IMAGE, {"axes": whole(1, -1)}, {}),
    ("Transpose", IMAGE, {}, {"perm": [0, 3, 1, 2]}),
    ("Softmax", IMAGE, {}, {"axis": 1}),
    ("LogSoftmax", (5,), {}, {}),
    ("Pad", IMAGE, {"p": whole(0, 1, 2, 0, 0, 0, 3, 1), "v": number(1.5)}, {}),
    ("Slice", IMAGE, {"s": whole(1, -3), "e": whole(2**62, -1), "a": whole(1, 3)}, {}),
    ("Gather", IMAGE, {"i": np.array(2)}, {"axis": 1}),
    ("Concat", IMAGE, {"zeros": np.zeros((3, 2, 9, 7), np.float32)}, {"axis": 1}),
    ("Expand", (1, 9, 1), {"s": whole(1, 4, 1, 7)}, {}),
    ("Identity", IMAGE, {}, {}),
]


@pytest.mark.parametrize(("kind", "shape", "constants", "attributes"), NODES, ids=[f"{n[0]}-{i}" for i, n in enumerate(NODES)])
def test_a_node_means_what_onnxruntime_says_of_it_for_any_batch(
    tmp_path: Path, kind: str, shape: tuple[int, ...], constants: dict[str, Array], attributes: dict[str, Any]
) -> None:
    path = written(tmp_path / "m.onnx", [helper.make_node(kind, ["x", *constants], ["y"], **attributes)], constants, shape)
    x = some(3, *shape)
    network = network_of(path)
    with torch.no_grad():
        found = network(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, answers(path, x), rtol=1e-5, atol=1e-5)
    assert not any(part.training for part in network.modules())
    pickle.loads(pickle.dumps(network))


def test_shapes_that_the_file_computes_are_numbers_and_the_batch_stays_open(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "first"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["y"]),
    ]
    path = written(tmp_path / "m.onnx", nodes, {"first": whole(0), "rest": whole(9, -1)}, IMAGE)
    for batch in (1, 2, 5):
        assert network_of(path)(torch.from_numpy(some(batch, *IMAGE))).shape == (batch, 9, 28)


def test_a_file_that_was_written_for_one_example_takes_more(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "s"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["sums"]),
        helper.make_node("Add", ["sums", "b"], ["y"]),
    ]
    path = written(tmp_path / "m.onnx", nodes, {"s": whole(1, 252), "w": some(252, 5), "b": some(5)}, IMAGE)
    x, network = some(3, *IMAGE), network_of(path)
    (layer,) = weighted_layers(network).values()
    assert layer.bias is not None and layer.weight.shape == (5, 252), "what is added to a linear layer is its bias"
    with torch.no_grad():
        found = network(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, np.concatenate([answers(path, x[i : i + 1]) for i in range(3)]), rtol=1e-4, atol=1e-5)


def test_images_with_channels_last_are_taken_as_pytorch_has_them(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["y"], name="head/conv"),
    ]
    path = written(tmp_path / "m.onnx", nodes, {"w": some(6, 4, 3, 3)}, (9, 7, 4))
    x, network = some(2, *IMAGE), network_of(path, channels_last=True)
    assert "permute" not in str(network.graph), "turned there and back is not turned"
    with torch.no_grad():
        found = network(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, answers(path, x.transpose(0, 2, 3, 1).copy()), rtol=1e-4, atol=1e-5)
    assert list(weighted_layers(network)) == ["head_conv"]


@pytest.mark.parametrize(
    ("node", "constants", "says"),
    [
        (("NonZero", ["x"], ["y"], {}), {}, "`y` \\(NonZero\\).*no call of PyTorch"),
        (("Softmax", ["x"], ["y"], {"axis": 1, "opset": 11}), {}, "several axes at once"),
        (("Transpose", ["x"], ["y"], {"perm": [1, 0, 2, 3]}), {}, "moves the batch"),
        (("ReduceMean", ["x", "a"], ["y"], {}), {"a": whole(0)}, "over the batch"),
        (("Concat", ["x", "c"], ["y"], {"axis": 1}), {"c": np.ones((3, 1, 9, 7), np.float32)}, "not all zeros"),
        (("QuantizeLinear", ["x", "s"], ["y"], {}), {"s": number(1)}, "no call of PyTorch"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_unsupported_by_name(
    tmp_path: Path, node: tuple[str, list[str], list[str], dict[str, Any]], constants: dict[str, Array], says: str
) -> None:
    kind, inputs, outputs, attributes = node
    opset = attributes.pop("opset", 18)
    path = written(tmp_path / "m.onnx", [helper.make_node(kind, inputs, outputs, **attributes)], constants, IMAGE, opset)
    with pytest.raises(Unsupported, match=says):
        network_of(path)


def test_an_answer_that_depends_on_nothing_is_no_network(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="answers with constants"):
        network_of(written(tmp_path / "m.onnx", [helper.make_node("Relu", ["c"], ["y"])], {"c": some(2, 3)}, IMAGE))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[nn.Module, torch.Tensor, Path]]:
    """A network of the zoo, untrained, two examples, and its file."""

    def make(name: str) -> tuple[nn.Module, torch.Tensor, Path]:
        model = plugins.instantiate("models", plugins.parse_choice("models", name))
        spec = plugins.named("data", model.data).spec
        torch.manual_seed(0)
        module = model.build(spec).eval()
        size = (2, *spec.input_shape)
        x = torch.randn(size) if spec.vocabulary is None else torch.randint(0, spec.vocabulary, size)
        path = tmp_path_factory.mktemp("zoo") / "m.onnx"
        batch = ({0: torch.export.Dim("batch")},)
        torch.onnx.export(module, (x,), str(path), dynamo=True, dynamic_shapes=batch, verbose=False)
        return module, x, path

    return make


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2:width=0.35", "ds_cnn", "fc_autoencoder", "text_transformer"])
def test_networks_of_the_zoo_come_back_from_their_files(
    exported: Callable[[str], tuple[nn.Module, torch.Tensor, Path]], name: str
) -> None:
    module, x, path = exported(name)
    network = network_of(path)
    with torch.no_grad():
        wanted, found = module(x), network(x)
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    if (
        name != "text_transformer"
    ):  # whose projections of queries, keys and values are one matrix of nn.MultiheadAttention, and no layer
        shapes = [[tuple(layer.weight.shape) for layer in weighted_layers(net).values()] for net in (network, module)]
        assert sorted(shapes[0]) == sorted(shapes[1])
    if name == "resnet20":
        ours, theirs = dependencies(network, x[:1].numpy()), dependencies(module, x[:1].numpy())
        assert len(ours.groups) == len(theirs.groups), "filters leave it as they leave the network it was written from"
