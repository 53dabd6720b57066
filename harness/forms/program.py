"""torch.export programs: the cache's own format for a compressed module, and the form that the torch backend takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.errors import BuildError
from harness.forms.conversion import conversion, versions
from harness.forms.form import Floats, Source, Written, tensor_fact

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

FILE = "model.pt2"
_VARYING = ("stack_trace", "from_node")
"""Node metadata that holds this machine's paths and object ids; a saved program must be the same bytes everywhere."""


def save_program(module: nn.Module, example: npt.NDArray[Any], path: Path) -> None:
    """Save an eval-mode module as a torch.export program that takes any batch of inputs like `example` [1, *input_shape]."""
    import torch

    if module.training:
        raise ValueError("the module must be in eval mode before it is saved")
    with conversion("torch.export with a dynamic batch"):
        # Batch 2: torch.export would take a batch of 1 for a constant.
        sample = torch.from_numpy(np.repeat(example, 2, axis=0))
        program = torch.export.export(module, (sample,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
        _save(program, path)


def load_program(path: Path) -> nn.Module:
    """The module of a saved program, in eval mode."""
    with conversion("loading a torch.export program"):
        return _module(read_program(path))


def write(source: Source, folder: Path) -> Written:
    """The network with a static batch."""
    return write_program(source.module, source, folder, versions("torch"))


def write_program(module: nn.Module, source: Source, folder: Path, tools: Mapping[str, str]) -> Written:
    """A module that takes what `source` takes, with a static batch."""
    import torch

    path = folder / FILE
    with conversion("torch.export") as chatter:
        program = torch.export.export(module, (source.sample(),))
        _save(program, path)
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    results = [node.meta["val"] for node in program.graph.output_node().args[0]]
    facts = {
        "tools": tools,
        "ops": dict(sorted(Counter(str(node.target) for node in calls).items())),
        "warnings": chatter.warnings,
        "inputs": [tensor_fact("input", (source.batch, *source.example.shape[1:]), source.example.dtype.name)],
        "outputs": [tensor_fact("output", result.shape, str(result.dtype).removeprefix("torch.")) for result in results],
    }
    return Written(path, facts)


def answer(path: Path, chunks: Iterable[Floats]) -> list[Floats]:
    """Batches through torch, eager."""
    import torch

    with conversion("torch check"), torch.inference_mode():
        module = _module(read_program(path))
        return [np.asarray(module(torch.from_numpy(chunk)).numpy(), dtype=np.float32) for chunk in chunks]


def read_program(path: Path) -> ExportedProgram:
    """A saved program; BuildError if its file is gone."""
    import torch

    if not path.is_file():
        raise BuildError(f"{path} is not there: the cache entry it belongs to is incomplete; delete that entry and run again")
    return torch.export.load(path)


def in_eval_mode(module: nn.Module) -> nn.Module:
    """GraphModule.eval() is refused after export; the graph itself was captured in eval mode."""
    for part in module.modules():
        part.training = False
    return module


def _save(program: ExportedProgram, path: Path) -> None:
    import torch

    for graph in program.graph_module.modules():
        if isinstance(graph, torch.fx.GraphModule):
            for node in graph.graph.nodes:
                for key in _VARYING:
                    node.meta.pop(key, None)
    torch.export.save(program, path)


def _module(program: ExportedProgram) -> nn.Module:
    """Without the guards that torch.export puts before a program: shapes are ours to check."""
    return in_eval_mode(program.module(check_guards=False))
