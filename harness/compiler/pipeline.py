"""The passes in their order."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from harness.compiler.ir import Graph
from harness.compiler.passes.constants import fold_constants
from harness.compiler.passes.dequantize import sink_dequantize
from harness.compiler.passes.epilogues import fuse_epilogues
from harness.compiler.passes.integers import recognise_integers
from harness.compiler.passes.maps import fuse_maps
from harness.compiler.passes.padding import explicit_padding
from harness.compiler.passes.simplify import simplify
from harness.compiler.passes.transposes import sink_transposes


class Pass(NamedTuple):
    run: Callable[[Graph], Graph]
    why_here: str


PASSES = (
    Pass(simplify, "what nobody reads makes others look as if they had several readers"),
    Pass(sink_transposes, "layers meet what follows them"),
    Pass(sink_dequantize, "bytes stay bytes from layer to layer"),
    Pass(simplify, "quantize meets the dequantize that was moved down to it"),
    Pass(fuse_epilogues, "clamping stands between an integer layer and its quantize"),
    Pass(recognise_integers, "while weights are still dequantized constants"),
    Pass(fold_constants, "weights that stay real become constants"),
    Pass(fuse_epilogues, "their layers take scales and shifts"),
    Pass(simplify, "what integer layers read before has no reader any more"),
    Pass(fuse_maps, "what no layer took"),
    Pass(explicit_padding, "no pass after it looks at windows"),
    Pass(simplify, "what is left over"),
)


def optimized(graph: Graph) -> Graph:
    """Each pass makes a Graph, which cannot be made unless it is valid and has the same outputs."""
    for step in PASSES:
        graph = step.run(graph)
    return graph
