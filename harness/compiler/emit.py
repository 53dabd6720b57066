"""A graph as one C file that implements `harness/runners/program/model.h`, and its weights as one blob."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.compiler import lower_layers, lower_regions  # noqa: F401 - importing them fills lower_operator
from harness.compiler.choice import ANY_VECTORS, Vectors
from harness.compiler.frames import NO_FRAME, frames_of
from harness.compiler.ir import Array, Graph, Node, Type
from harness.compiler.lower import ALONE, Lowered, lowered
from harness.compiler.memory import ALIGNMENT
from harness.compiler.operators import Conv, Dense, MatMul, Reshape
from harness.compiler.passes.regions import in_regions
from harness.compiler.regions import RegionConv
from harness.compiler.sparsity import zeros_of
from harness.compiler.storage import Storage, stored
from harness.compiler.text import TYPES
from harness.compiler.threads import Call, is_worth_sharing, products, running

KERNELS = Path(__file__).resolve().parent.parent / "kernels"
MODEL_TYPES = {
    "float32": "MODEL_F32",
    "int8": "MODEL_I8",
    "uint8": "MODEL_U8",
    "int32": "MODEL_I32",
    "int64": "MODEL_I64",
    "bool": "MODEL_BOOL",
}


@dataclass(frozen=True)
class Program:
    """C99 and a blob; no other file is needed but model.h."""

    source: str
    weights: bytes
    facts: Mapping[str, Any]
    """`kernels` (layers that each does), `macs`, `integer_macs`, `arena_bytes`, `arena_live_bytes`, `arena_naive_bytes`, `weights_bytes`."""
    inputs: Mapping[str, Type]
    outputs: Mapping[str, Type]


@dataclass
class Blob:
    """Arrays one after the other, each aligned, none twice."""

    content: bytearray = field(default_factory=bytearray)
    offsets: dict[bytes, int] = field(default_factory=dict)

    def place(self, array: Array) -> int:
        data = np.ascontiguousarray(array).tobytes()
        if data not in self.offsets:
            self.content += bytes(-len(self.content) % ALIGNMENT)
            self.offsets[data] = len(self.content)
            self.content += data
        return self.offsets[data]


def emitted(graph: Graph, vectors: Vectors = ANY_VECTORS) -> Program:
    graph = in_regions(graph, vectors)
    frames = frames_of(graph)
    storage, blob = stored(graph, frames), Blob()
    layers = [
        (node, lowered(graph, node, vectors, frames))
        for node in graph.nodes
        if not (isinstance(node.op, Reshape) and storage.holder[node.output] == storage.holder[node.inputs[0]])
    ]
    functions, calls = [], []
    for index, (node, code) in enumerate(layers):
        functions.append(_function(graph, storage, index, node, code))
        calls.append(Call(_call(graph, storage, blob, index, node, code), is_worth_sharing(graph, node, code)))
    facts = _facts(graph, storage, layers, len(blob.content))
    text = "\n".join(
        (
            *_head(layers, vectors, is_threaded=any(call.is_shared for call in calls)),
            *_tensors("model_inputs", graph, graph.inputs),
            *_tensors("model_outputs", graph, graph.outputs),
            *_tables(facts, layers, storage),
            *functions,
            *running(calls),
            "",
        )
    )
    return Program(text, bytes(blob.content), facts, graph.inputs, {name: graph.types[name] for name in graph.outputs})


def _address(graph: Graph, storage: Storage, blob: Blob, given: str | Array) -> str:
    if not isinstance(given, str):
        return f"(const {TYPES[given.dtype.name]} *)(weights + {blob.place(given)})"
    place, ctype = storage.holder[given], TYPES[graph.types[given].dtype]
    begins = storage.frames.get(given, NO_FRAME).begins(graph.types[given].shape)
    within = f" + {begins}" if begins else ""
    if place in graph.constants:
        return f"(const {ctype} *)(weights + {blob.place(graph.constants[place])})"
    if place in graph.inputs:
        return f"(const {ctype} *)inputs[{list(graph.inputs).index(place)}]"
    if place in graph.outputs:
        return f"({ctype} *)outputs[{graph.outputs.index(place)}]{within}"
    return f"({ctype} *)(arena + {storage.offset[place]}){within}"


def _overwrites(storage: Storage, node: Node, given: str | Array) -> bool:
    return isinstance(given, str) and storage.holder[given] == storage.holder[node.output]


def _call(graph: Graph, storage: Storage, blob: Blob, index: int, node: Node, code: Lowered) -> str:
    given = [i for i in code.inputs if not _overwrites(storage, node, i)]
    share = ["share"] if is_worth_sharing(graph, node, code) else []
    return f"layer_{index}({', '.join([*share, *(_address(graph, storage, blob, i) for i in (*given, node.output))])});"


def _function(graph: Graph, storage: Storage, index: int, node: Node, code: Lowered) -> str:
    """What computes one layer. An input that it overwrites is y: so the compiler knows that nothing else is."""
    found = graph.types[node.output]
    parameters, same = [], []
    if is_worth_sharing(graph, node, code):
        parameters.append("hk_share share")
    elif code.can_share:
        same.append(f"    {ALONE}")
    for number, given in enumerate(code.inputs):
        dtype = graph.types[given].dtype if isinstance(given, str) else given.dtype.name
        if _overwrites(storage, node, given):
            same.append(f"    const {TYPES[dtype]} *x{number} = y;")
        else:
            parameters.append(f"const {TYPES[dtype]} *restrict x{number}")
    title = f"/* {comment(node.origin)}: {type(node.op).__name__} -> {found} */"
    opening = f"HK_LAYER void layer_{index}({', '.join([*parameters, f'{TYPES[found.dtype]} *restrict y'])}) {{"
    return "\n".join((title, opening, *same, *(f"    {line}" for line in code.body), "}", ""))


def _head(layers: Sequence[tuple[Node, Lowered]], vectors: Vectors, *, is_threaded: bool) -> list[str]:
    seen: dict[str, str] = {}
    for header in sorted({code.header for _, code in layers} | {"threads.h" if is_threaded else "share.h"}):
        _included(header, seen)
    posix = "#if !defined(_POSIX_C_SOURCE) && !defined(_GNU_SOURCE)\n#define _POSIX_C_SOURCE 200112L /* clock_gettime, threads */\n#endif"
    pragma = "#if defined(__clang__)\n#pragma STDC FP_CONTRACT OFF /* element-wise results are the same everywhere */\n#endif"
    lanes = f"#define HK_MOST_LANES {vectors.lanes}"
    return [posix, lanes, '#include "model.h"', "#include <time.h>", "", *seen.values(), pragma, ""]


def _included(header: str, seen: dict[str, str]) -> None:
    """The text of a kernel's file after that of the files it includes."""
    if header in seen:
        return
    text = (KERNELS / header).read_text(encoding="utf-8")
    for other in re.findall(r'^#include "(.+)"$', text, re.MULTILINE):
        _included(other, seen)
    seen[header] = re.sub(r'^#include ".+"\n', "", text, flags=re.MULTILINE)


def _tensors(name: str, graph: Graph, tensors: Sequence[str] | Mapping[str, Type]) -> list[str]:
    lines = []
    for index, tensor in enumerate(tensors):
        shape = graph.types[tensor].shape or (1,)
        lines.append(f"static const int64_t {name}_shape_{index}[] = {{{', '.join(map(str, shape))}}};")
    lines.append(f"const model_tensor {name}[] = {{")
    for index, tensor in enumerate(tensors):
        found = graph.types[tensor]
        lines.append(f"    {{{_string(tensor)}, {MODEL_TYPES[found.dtype]}, {len(found.shape)}, {name}_shape_{index}, 0.0f, 0}},")
    return [*lines, "};", f"const int {name[:-1]}_count = {len(tensors)};", ""]


def _tables(facts: Mapping[str, Any], layers: Sequence[tuple[Node, Lowered]], storage: Storage) -> list[str]:
    rows = [
        f"    {{{_string(layer['name'])}, {_string(type(node.op).__name__)}}},"
        for layer, (node, _) in zip(facts["layers"], layers, strict=True)
    ]
    count = len(layers)
    document = json.dumps(facts, sort_keys=True)[1:]
    return [
        f"const size_t model_weights_bytes = {facts['weights_bytes']};",
        f"const size_t model_arena_bytes = {storage.plan.arena_bytes};",
        f'const char model_facts[] = "{{\\"isa\\": \\"" HK_ISA "\\", "\n    {_string(document)};',
        "",
        f"const int model_layer_count = {count};",
        *(["const model_layer model_layers[] = {", *rows, "};"] if rows else ["const model_layer model_layers[1];"]),
        "int model_profiling = 0;",
        f"static uint64_t begun, took[{max(count, 1)}];",
        "static uint64_t now(void) {",
        "    struct timespec t;",
        "    clock_gettime(CLOCK_MONOTONIC, &t);",
        "    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;",
        "}",
        "static inline void done(int layer) {",
        "    if (!model_profiling) return;",
        "    const uint64_t end = now();",
        "    took[layer] = end - begun;",
        "    begun = end;",
        "}",
        "void model_profile(uint64_t *ns) {",
        "    for (int i = 0; i < model_layer_count; i++) ns[i] += took[i];",
        "}",
        "",
        "static const char *weights;",
        "static char *arena;",
        "",
    ]


def _facts(graph: Graph, storage: Storage, layers: Sequence[tuple[Node, Lowered]], weights_bytes: int) -> dict[str, Any]:
    kernels: dict[str, int] = {}
    for _, code in layers:
        kernels[code.kernel] = kernels.get(code.kernel, 0) + 1
    macs = {node.output: products(graph, node) for node, _ in layers}
    integer = sum(macs[n.output] for n, _ in layers if isinstance(n.op, Conv | Dense) and n.op.requantize is not None)
    return {
        "kernels": dict(sorted(kernels.items())),
        "layers": [_layer_facts(graph, name, node, code) for name, (node, code) in zip(_names(layers), layers, strict=True)],
        "macs": sum(macs.values()),
        "integer_macs": integer,
        "arena_bytes": storage.plan.arena_bytes,
        "arena_live_bytes": storage.plan.live_bytes,
        "arena_naive_bytes": storage.plan.naive_bytes,
        "weights_bytes": weights_bytes,
    }


def _names(layers: Sequence[tuple[Node, Lowered]]) -> list[str]:
    """Of the file's node that a layer comes from; of several layers that come from one, that with products is called so, else the last."""
    owner: dict[str, tuple[bool, int]] = {}
    for index, (node, _) in enumerate(layers):
        owner[node.origin] = max(
            owner.get(node.origin, (False, 0)), (isinstance(node.op, Conv | Dense | MatMul | RegionConv), index)
        )
    return [
        node.origin if owner[node.origin][1] == index else f"{node.origin} ({type(node.op).__name__})"
        for index, (node, _) in enumerate(layers)
    ]


def _layer_facts(graph: Graph, name: str, node: Node, code: Lowered) -> dict[str, Any]:
    """With the bytes that it reads and writes, each once, and whether threads share it. Of a layer with constant weights also what their
    zeros look like, how they are kept, and which part of the products is computed."""
    moved = (
        sum(graph.types[i].size_bytes if isinstance(i, str) else i.nbytes for i in code.inputs)
        + graph.types[node.output].size_bytes
    )
    if code.kernel == "hk_border":
        moved -= graph.types[node.inputs[0]].size_bytes
    is_shared = is_worth_sharing(graph, node, code)
    found = {"name": name, "kernel": code.kernel, "macs": products(graph, node), "bytes": moved, "shared": is_shared}
    weights = graph.constants.get(node.inputs[1]) if isinstance(node.op, Conv | Dense | RegionConv) else None
    if weights is None:
        return found
    zeros = zeros_of(weights if weights.ndim == 4 else weights[None, None])
    kept = {
        "pattern": zeros.pattern,
        "density": round(zeros.density, 6),
        "format": code.format,
        "computed": round(code.computed, 6),
    }
    return {**found, **kept}


def _string(text: str) -> str:
    """A C string literal; bytes that are not printable ASCII in octal, which ends after three digits."""
    return (
        '"' + "".join(c if " " <= c <= "~" and c not in '"\\?' else "".join(f"\\{b:03o}" for b in c.encode()) for c in text) + '"'
    )


def comment(text: str) -> str:
    """As part of a C comment that it cannot end."""
    return "".join(c if " " <= c <= "~" else "?" for c in text).replace("*/", "* /").replace("/*", "/ *").rstrip("\\")
