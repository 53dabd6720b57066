"""The layers of an ONNX file as a network of PyTorch, so that methods can change it.

Every node becomes a call that PyTorch's own tracing understands: weights go into nn.Conv2d, nn.Linear and the like, under the names that the file
gives them, shapes that the file computes become numbers, and the first axis stays the batch, whatever number the file has there. What has no
such call is Unsupported, naming the node; what comes out is held to the file's own answers before it is used (`harness/own_file.py`).
"""

from __future__ import annotations

import functools
import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import fx, nn
from torch.nn import functional

from harness.errors import Unsupported

Array = npt.NDArray[Any]
Value = fx.Node | Array
"""What a name of the file stands for: a tensor of an inference, or a constant."""
BATCH = 2
"""With which shapes are inferred: a size that is 1 for other reasons than the batch must not be taken for it."""


def network_of(path: Path, channels_last: bool = False) -> fx.GraphModule:
    """A module [n, *input_shape] -> the file's first output; `channels_last`: where the file takes images as [n, h, w, c]."""
    return _Import(onnx.load(path), channels_last).module()


def answers(network: nn.Module, examples: Array) -> Array:
    """What it answers to examples [n, *input_shape]."""
    with torch.no_grad():
        found: Array = network(torch.from_numpy(examples)).numpy()
    return found


class _Import:
    """One pass over the file's nodes."""

    def __init__(self, model: onnx.ModelProto, channels_last: bool) -> None:
        self.opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
        self.shapes = _shapes(model)
        self.graph = fx.Graph()
        self.parts: dict[str, nn.Module | torch.Tensor] = {}
        self.values: dict[str, Value] = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.uses = Counter(name for node in model.graph.node for name in node.input)
        self.uses.update(value.name for value in model.graph.output)
        (given,) = (value for value in model.graph.input if value.name not in self.values)
        self.entrance = self.graph.placeholder("x")
        self.values[given.name] = (
            self.graph.call_function(torch.permute, (self.entrance, (0, 2, 3, 1))) if channels_last else self.entrance
        )
        for node in model.graph.node:
            self._add(_Node(node))
        answer = self.values[model.graph.output[0].name]
        if not isinstance(answer, fx.Node):
            raise Unsupported("the file answers with constants")
        self.graph.output(answer)

    def module(self) -> fx.GraphModule:
        """In eval mode; its calls are checked to hang together."""
        root = nn.Module()
        for name, part in self.parts.items():
            if isinstance(part, nn.Module):
                holder = root
                *path, last = name.split(".")
                for step in path:
                    if not hasattr(holder, step):
                        holder.add_module(step, nn.Module())
                    holder = getattr(holder, step)
                holder.add_module(last, part)
            else:
                root.register_buffer(name, part)
        network = fx.GraphModule(root, self.graph, "OnnxNetwork").eval()
        network.graph.eliminate_dead_code()
        network.graph.lint()
        network.recompile()
        return network

    def _add(self, node: _Node) -> None:
        given = [self.values[name] if name else None for name in node.inputs]
        if node.kind == "Shape" and node.inputs[0] in self.shapes:
            shape = self.shapes[node.inputs[0]]
            self.values[node.outputs[0]] = np.asarray(shape[node.get("start", 0) : node.get("end", len(shape))], np.int64)
        elif all(value is None or isinstance(value, np.ndarray) for value in given):
            constants = {name: value for name, value in zip(node.inputs, given, strict=True) if value is not None}
            found: Any = ReferenceEvaluator(_alone(node.proto, self.opset)).run(None, constants)
            self.values.update(zip(node.outputs, found, strict=True))
        elif node.kind not in CONVERT:
            raise node.unsupported("no call of PyTorch is known for it")
        else:
            try:
                made = CONVERT[node.kind](self, node, given)
            except (KeyError, ValueError, IndexError, TypeError) as error:
                raise node.unsupported(f"it is not as ONNX describes it: {type(error).__name__}: {error}") from error
            self.values.update(zip(node.outputs, made if isinstance(made, list) else [made], strict=False))

    def call(self, function: Callable[..., Any], *arguments: Any, **more: Any) -> fx.Node:
        return self.graph.call_function(function, arguments, more)

    def layer(self, node: _Node, part: nn.Module, *given: Any) -> fx.Node:
        """A call of a layer, which gets the name that the file has for its weights, or for the node."""
        weights = next((name for name in node.inputs[1:2] if name.endswith(".weight")), "")
        name = weights.removesuffix(".weight") or re.sub(r"[^\w]+", "_", node.name).strip("_") or node.kind
        name = re.sub(r"[^\w.]", "_", name)
        while any(name == other or name.startswith(f"{other}.") or other.startswith(f"{name}.") for other in self.parts):
            name += "_"
        self.parts[name] = part
        return self.graph.call_module(name, given)

    def shape(self, node: _Node, name: str) -> tuple[int, ...]:
        if name not in self.shapes:
            raise node.unsupported(f"the shape of `{name}` cannot be told")
        return self.shapes[name]

    def operand(self, value: Value | None) -> Any:
        """A tensor, a number, or a constant that the module keeps."""
        if value is None or isinstance(value, fx.Node):
            return value
        if value.size == 1 and value.ndim <= 1:
            return value.item()
        name = f"constant_{len(self.parts)}"
        self.parts[name] = torch.tensor(value)
        return self.graph.get_attr(name)

    def part_of(self, value: Value | None) -> Any:
        return self.parts[str(value.target)] if isinstance(value, fx.Node) and value.op == "call_module" else None


class _Node:
    """A node of the file, its attributes as Python's."""

    def __init__(self, proto: onnx.NodeProto) -> None:
        self.proto = proto
        self.kind = proto.op_type if proto.domain in ("", "ai.onnx") else f"{proto.domain}.{proto.op_type}"
        self.name = proto.name or next(iter(proto.output), proto.op_type)
        self.inputs, self.outputs = tuple(proto.input), tuple(proto.output)
        self.attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}

    def get(self, attribute: str, otherwise: Any = None) -> Any:
        value = self.attributes.get(attribute, otherwise)
        return value.decode() if isinstance(value, bytes) else value

    def unsupported(self, why: str) -> Unsupported:
        return Unsupported(
            f"node `{self.name}` ({self.kind}) cannot become a layer that methods change: {why}; method `float32` measures the file as it is"
        )

    def constant(self, value: Value | None, what: str) -> Array:
        if not isinstance(value, np.ndarray):
            raise self.unsupported(f"its {what} are computed")
        return value

    def ints(self, attribute: str, given: Sequence[Value | None], place: int) -> list[int] | None:
        """Whole numbers that older files have as an attribute, newer ones as an input."""
        if len(given) > place and given[place] is not None:
            return [int(i) for i in self.constant(given[place], attribute).reshape(-1)]
        found = self.get(attribute)
        return None if found is None else [found] if isinstance(found, int) else list(found)


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Of all tensors whose shape follows from a batch of BATCH; the file's own batch, symbolic or a number, is replaced."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in weights and value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_value = BATCH
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    return {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
        if all(dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim)
    }


def _alone(node: onnx.NodeProto, opset: int) -> onnx.ModelProto:
    """A model of one node, for what the file computes of constants."""
    inputs = [helper.make_value_info(name, onnx.TypeProto()) for name in dict.fromkeys(node.input) if name]
    outputs = [helper.make_value_info(name, onnx.TypeProto()) for name in node.output]
    return helper.make_model(
        helper.make_graph([node], "constant", inputs, outputs), opset_imports=[helper.make_opsetid("", opset)]
    )


def _tensor(array: Array) -> nn.Parameter:
    return nn.Parameter(torch.tensor(np.asarray(array, np.float32)))


def _padding(net: _Import, node: _Node, x: Any, spatial: int, value: float = 0.0) -> tuple[Any, tuple[int, ...]]:
    """The tensor and what a layer pads it by on both sides alike: what differs between sides is padded before."""
    kernel = node.get("kernel_shape")
    strides, dilations = node.get("strides", [1] * spatial), node.get("dilations", [1] * spatial)
    automatic = node.get("auto_pad", "NOTSET")
    pads = list(node.get("pads", [0] * 2 * spatial))
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        sizes = net.shape(node, node.inputs[0])[2:]
        sums = [
            max((math.ceil(size / s) - 1) * s + d * (k - 1) + 1 - size, 0)
            for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True)
        ]
        less, more = [total // 2 for total in sums], [total - total // 2 for total in sums]
        pads = less + more if automatic == "SAME_UPPER" else more + less
    before, after = pads[:spatial], pads[spatial:]
    if before == after and all(2 * pad <= size for pad, size in zip(before, kernel, strict=True)):
        return x, tuple(before)
    both = [pad for pair in reversed(list(zip(before, after, strict=True))) for pad in pair]
    return net.call(functional.pad, x, both, "constant", value), (0,) * spatial


def _convolution(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
    weight = node.constant(given[1], "weights")
    bias = node.constant(given[2], "biases") if len(given) > 2 and given[2] is not None else None
    spatial, groups = weight.ndim - 2, node.get("group", 1)
    if spatial not in (1, 2, 3):
        raise node.unsupported(f"it has {spatial} dimensions")
    node.attributes.setdefault("kernel_shape", list(weight.shape[2:]))
    x, padding = _padding(net, node, given[0], spatial)
    convolution: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[spatial - 1]
    part = convolution(
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(weight.shape[2:]),
        tuple(node.get("strides", [1] * spatial)),
        padding,
        tuple(node.get("dilations", [1] * spatial)),
        groups,
        bias is not None,
    )
    part.weight = _tensor(weight)
    part.bias = None if bias is None else _tensor(bias)
    return net.layer(node, part, x)


def _linear(net: _Import, node: _Node, weight: Array, bias: Array | None, x: Any) -> fx.Node:
    """`weight`: [out, in]."""
    part = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    part.weight = _tensor(weight)
    if bias is not None:
        part.bias = _tensor(bias)
    return net.layer(node, part, x)


def _gemm(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
    x, weight = given[0], node.constant(given[1], "weights")
    bias = node.constant(given[2], "biases") if len(given) > 2 and given[2] is not None else np.zeros(1, np.float32)
    if node.get("transA", 0) or not isinstance(x, fx.Node):
        raise node.unsupported("its first matrix is transposed or constant")
    outputs = weight if node.get("transB", 0) else weight.T
    try:
        bias = np.broadcast_to(bias.reshape(-1), (len(outputs),))
    except ValueError:
        raise node.unsupported("its biases differ from example to example") from None
    return _linear(net, node, node.get("alpha", 1.0) * outputs, node.get("beta", 1.0) * bias if np.any(bias) else None, x)


def _matmul(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
    x, weight = given
    if isinstance(x, fx.Node) and isinstance(weight, np.ndarray) and weight.ndim == 2:
        return _linear(net, node, weight.T, None, x)
    return net.call(torch.matmul, net.operand(x), net.operand(weight))


def _batch_norm(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
    scale, bias, mean, variance = (node.constant(value, "statistics") for value in given[1:5])
    rank = len(net.shape(node, node.inputs[0]))
    if node.get("training_mode", 0) or not 2 <= rank <= 5:
        raise node.unsupported("it is left in training mode, or has no channels")
    part = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[rank - 2](len(scale), node.get("epsilon", 1e-5))
    part.weight, part.bias = _tensor(scale), _tensor(bias)
    part.running_mean, part.running_var = torch.tensor(mean), torch.tensor(variance)
    return net.layer(node, part, given[0])


def _layer_norm(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
    scale = node.constant(given[1], "gains")
    if node.get("axis", -1) not in (-1, len(net.shape(node, node.inputs[0])) - 1):
        raise node.unsupported("it goes over more than the last axis")
    part = nn.LayerNorm(len(scale), node.get("epsilon", 1e-5))
    part.weight = _tensor(scale)
    part.bias = _tensor(node.constant(given[2], "biases") if len(given) > 2 else np.zeros_like(scale))
    return net.layer(node, part, given[0])


def _clip(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
    bounds = [
        node.constant(given[place], "bounds").item()
        if len(given) > place and given[place] is not None
        else node.get(name, otherwise)
        for place, name, otherwise in ((1, "min", -math.inf), (2, "max", math.inf))
    ]
    if bounds == [0, 6]:
        return net.layer(node, nn.ReLU6(), given[0])
    return net.layer(node, nn.ReLU() if bounds == [0, math.inf] else nn.Hardtanh(*bounds), given[0])


def _hard_sigmoid(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
    slope, middle = node.get("alpha", 0.2), node.get("beta", 0.5)
    if math.isclose(slope, 1 / 6, rel_tol=1e-4) and middle == 0.5:
        return net.layer(node, nn.Hardsigmoid(), given[0])
    return net.call(torch.clamp, net.call(operator.add, net.call(operator.mul, given[0], slope), middle), 0, 1)


def _prelu(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
    slopes = node.constant(given[1], "slopes").reshape(-1)
    part = nn.PReLU(len(slopes))
    part.weight = _tensor(slopes)
    return net.layer(node, part, given[0])


def _elementwise(function: Callable[..., Any]) -> Convert:
    def convert(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:  # noqa: ARG001
        return net.call(function, *(net.operand(value) for value in given))

    return convert


def _add(net: _Import, node: _Node, given: Sequence[Value | None]) -> Any:
    """What is added to a linear layer's result alone is its bias."""
    for name, one, other in zip(node.inputs, given, reversed(given), strict=True):
        part = net.part_of(one) if net.uses[name] == 1 else None
        if not isinstance(part, nn.Linear) or part.bias is not None or not isinstance(one, fx.Node):
            continue
        if isinstance(other, np.ndarray) and other.shape == (part.out_features,):
            part.bias = _tensor(other)
            return one
    return _elementwise(operator.add)(net, node, given)


def _sum(net: _Import, node: _Node, given: Sequence[Value | None]) -> Any:  # noqa: ARG001
    return functools.reduce(functools.partial(net.call, operator.add), (net.operand(value) for value in given))


def _pool(kind: str) -> Convert:
    def convert(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
        kernel = node.get("kernel_shape")
        spatial, ceil = len(kernel), bool(node.get("ceil_mode", 0))
        if spatial not in (1, 2) or (kind == "mean" and max(node.get("dilations", [1])) > 1):
            raise node.unsupported(f"windows of {spatial} dimensions, or means with dilation")
        counts = bool(node.get("count_include_pad", 0))
        x, padding = _padding(net, node, given[0], spatial, -math.inf if kind == "max" else 0.0)
        if kind == "mean" and x is not given[0] and not counts:
            raise node.unsupported("its mean leaves out padding that differs between sides")
        size, strides = tuple(kernel), tuple(node.get("strides", [1] * spatial))
        if kind == "max":
            dilations = tuple(node.get("dilations", [1] * spatial))
            return net.layer(
                node, (nn.MaxPool1d, nn.MaxPool2d)[spatial - 1](size, strides, padding, dilations, ceil_mode=ceil), x
            )
        mean: Any = (nn.AvgPool1d, nn.AvgPool2d)[spatial - 1]
        return net.layer(node, mean(size, strides, padding, ceil, counts), x)

    return convert


def _global_pool(*parts: type[nn.Module]) -> Convert:
    def convert(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
        spatial = len(net.shape(node, node.inputs[0])) - 2
        if not 1 <= spatial <= len(parts):
            raise node.unsupported(f"it has {spatial} dimensions")
        return net.layer(node, parts[spatial - 1](1), given[0])

    return convert


def _reduce(function: Callable[..., Any]) -> Convert:
    def convert(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
        axes = node.ints("axes", given, 1) or list(range(len(net.shape(node, node.inputs[0]))))
        if 0 in axes:
            raise node.unsupported("it goes over the batch")
        return net.call(function, given[0], axes, bool(node.get("keepdims", 1)))

    return convert


def _reshape(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
    """The batch is what is left over, whatever the file has in its place."""
    shape = net.shapes.get(node.outputs[0])
    if shape is None:
        before, asked = net.shape(node, node.inputs[0]), [int(i) for i in node.constant(given[1], "sizes")]
        shape = tuple(before[at] if size == 0 else size for at, size in enumerate(asked))
        if -1 in shape[1:]:
            if shape[0] == -1:
                raise node.unsupported("the size of its first axis cannot be told")
            known = math.prod(size for size in shape[1:] if size != -1)
            each = math.prod(before[1:])
            shape = (shape[0], *(each // known if size == -1 else size for size in shape[1:]))
    if len(shape) == 2 and shape[1] == math.prod(net.shape(node, node.inputs[0])[1:]):
        return net.call(torch.flatten, given[0], 1)
    return net.call(torch.reshape, given[0], (-1, *shape[1:]))


def _flatten(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
    if node.get("axis", 1) != 1:
        raise node.unsupported("it keeps another axis than the batch")
    return net.call(torch.flatten, given[0], 1)


def _squeeze(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
    axes = node.ints("axes", given, 1)
    shape = net.shape(node, node.inputs[0])
    axes = [at for at, size in enumerate(shape) if size == 1 and at] if axes is None else [axis % len(shape) for axis in axes]
    return net.call(torch.squeeze, given[0], axes)


def _unsqueeze(net: _Import, node: _Node, given: Sequence[Value | None]) -> Any:
    found, rank = given[0], len(net.shape(node, node.outputs[0]))
    for axis in sorted(axis % rank for axis in node.ints("axes", given, 1) or ()):
        found = net.call(torch.unsqueeze, found, axis)
    return found


def _transpose(net: _Import, node: _Node, given: Sequence[Value | None]) -> Any:
    x, axes = given[0], node.get("perm") or list(reversed(range(len(net.shape(node, node.inputs[0])))))
    if axes[0] != 0:
        raise node.unsupported("it moves the batch")
    if isinstance(x, fx.Node) and x.target is torch.permute and [x.args[1][axis] for axis in axes] == list(range(len(axes))):  # type: ignore[index]
        return x.args[0]  # images as the file takes them, turned back into PyTorch's
    return net.call(torch.permute, x, tuple(axes))


def _concatenate(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
    """Zeros before and after a tensor are padding, as shortcuts between blocks of other widths have it."""
    tensors = [at for at, value in enumerate(given) if isinstance(value, fx.Node)]
    axis = node.get("axis")
    if len(tensors) < len(given):
        rank = next(value.ndim for value in given if isinstance(value, np.ndarray))
        widths = [0 if isinstance(value, fx.Node) else node.constant(value, "parts").shape[axis] for value in given]
        if len(tensors) > 1 or axis % rank == 0 or any(np.any(value) for value in given if isinstance(value, np.ndarray)):
            raise node.unsupported("it joins a constant that is not all zeros")
        both = sum(widths[: tensors[0]]), sum(widths[tensors[0] :])
        return net.call(functional.pad, given[tensors[0]], [0] * 2 * (rank - 1 - axis % rank) + list(both))
    return net.call(torch.cat, list(given), axis)


def _softmax(function: Callable[..., Any]) -> Convert:
    def convert(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
        rank = len(net.shape(node, node.inputs[0]))
        axis = node.get("axis", 1 if net.opset < 13 else -1) % rank
        if net.opset < 13 and axis != rank - 1:
            raise node.unsupported("it goes over several axes at once, as opsets before 13 have it")
        return net.call(function, given[0], axis)

    return convert


def _pad(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
    pads = node.ints("pads", given, 1) or []
    rank = len(net.shape(node, node.inputs[0]))
    axes = node.ints("axes", given, 3) or list(range(rank))
    sizes = {axis % rank: (pads[at], pads[at + len(axes)]) for at, axis in enumerate(axes)}
    if node.get("mode", "constant") != "constant" or min(pads, default=0) < 0 or any(sizes.get(0, ())):
        raise node.unsupported("it reflects, cuts, or pads the batch")
    filled = node.constant(given[2], "value").item() if len(given) > 2 and given[2] is not None else node.get("value", 0.0)
    return net.call(
        functional.pad, given[0], [pad for axis in range(rank - 1, 0, -1) for pad in sizes.get(axis, (0, 0))], "constant", filled
    )


def _slice(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
    starts, ends = node.ints("starts", given, 1) or [], node.ints("ends", given, 2) or []
    rank = len(net.shape(node, node.inputs[0]))
    axes = node.ints("axes", given, 3) or list(range(len(starts)))
    steps = node.ints("steps", given, 4) or [1] * len(starts)
    cuts = [slice(None)] * rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 1 or (axis % rank == 0 and (start, step) != (0, 1)):
            raise node.unsupported("it goes backwards, or cuts the batch")
        if axis % rank:
            cuts[axis] = slice(start, min(end, 2**31), step)
    return net.call(operator.getitem, given[0], tuple(cuts))


def _gather(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
    x, indices = given
    axis = node.get("axis", 0)
    if isinstance(x, np.ndarray) and isinstance(indices, fx.Node) and axis == 0 and x.ndim == 2:
        return net.layer(node, nn.Embedding(x.shape[0], x.shape[1], _weight=_tensor(x)), indices)
    index = node.constant(indices, "places")
    if index.ndim or not axis or not isinstance(x, fx.Node):
        raise node.unsupported("it takes more than one place of an axis, or of the batch")
    return net.call(torch.select, x, axis, int(index))


def _split(net: _Import, node: _Node, given: Sequence[Value | None]) -> list[fx.Node]:
    size = net.shape(node, node.inputs[0])[node.get("axis", 0)]
    sizes = node.ints("split", given, 1) or [math.ceil(size / len(node.outputs))] * len(node.outputs)
    sizes[-1] = size - sum(sizes[:-1])
    parts = net.call(torch.split, given[0], sizes, node.get("axis", 0))
    return [net.call(operator.getitem, parts, at) for at in range(len(sizes))]


def _cast(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
    dtype = torch.from_numpy(np.empty(0, helper.tensor_dtype_to_np_dtype(node.get("to")))).dtype
    return net.graph.call_method("to", (net.operand(given[0]), dtype))


def _expand(net: _Import, node: _Node, given: Sequence[Value | None]) -> fx.Node:
    return net.call(torch.broadcast_to, given[0], (-1, *net.shape(node, node.outputs[0])[1:]))


def _same(net: _Import, node: _Node, given: Sequence[Value | None]) -> Any:  # noqa: ARG001
    return given[0]


def _module(part: Callable[[_Node], nn.Module]) -> Convert:
    return lambda net, node, given: net.layer(node, part(node), given[0])


Convert = Callable[[_Import, _Node, Sequence[Value | None]], Any]
CONVERT: Mapping[str, Convert] = {
    "Conv": _convolution,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Relu": _module(lambda _: nn.ReLU()),
    "LeakyRelu": _module(lambda node: nn.LeakyReLU(node.get("alpha", 0.01))),
    "Elu": _module(lambda node: nn.ELU(node.get("alpha", 1.0))),
    "Gelu": _module(lambda node: nn.GELU(node.get("approximate", "none"))),
    "Sigmoid": _module(lambda _: nn.Sigmoid()),
    "Tanh": _module(lambda _: nn.Tanh()),
    "Softplus": _module(lambda _: nn.Softplus()),
    "HardSwish": _module(lambda _: nn.Hardswish()),
    "HardSigmoid": _hard_sigmoid,
    "PRelu": _prelu,
    "Clip": _clip,
    "Add": _add,
    "Sum": _sum,
    "Sub": _elementwise(operator.sub),
    "Mul": _elementwise(operator.mul),
    "Div": _elementwise(operator.truediv),
    "Pow": _elementwise(torch.pow),
    "Sqrt": _elementwise(torch.sqrt),
    "Exp": _elementwise(torch.exp),
    "Erf": _elementwise(torch.erf),
    "Neg": _elementwise(torch.neg),
    "Abs": _elementwise(torch.abs),
    "Equal": _elementwise(torch.eq),
    "Less": _elementwise(torch.lt),
    "Greater": _elementwise(torch.gt),
    "Not": _elementwise(torch.logical_not),
    "And": _elementwise(torch.logical_and),
    "Or": _elementwise(torch.logical_or),
    "Where": _elementwise(torch.where),
    "Cast": _cast,
    "Expand": _expand,
    "MaxPool": _pool("max"),
    "AveragePool": _pool("mean"),
    "GlobalAveragePool": _global_pool(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d),
    "GlobalMaxPool": _global_pool(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d),
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum),
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Concat": _concatenate,
    "Softmax": _softmax(torch.softmax),
    "LogSoftmax": _softmax(torch.log_softmax),
    "Pad": _pad,
    "Slice": _slice,
    "Gather": _gather,
    "Split": _split,
    "Identity": _same,
    "Dropout": _same,
}
"""By the node's kind; older and newer files both."""
