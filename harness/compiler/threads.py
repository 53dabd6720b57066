"""Which layers several threads do together, and the C in which they meet after each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from harness.compiler.ir import Graph, Node
from harness.compiler.lower import Lowered
from harness.compiler.operators import Conv, Dense
from harness.compiler.regions import FromRegions, RegionConv

LEAST_PRODUCTS = {"float32": 1 << 17, "int8": 1 << 19}
"""Of a layer that is shared: about a microsecond's, where threads take half of one to meet."""
LEAST_BYTES = 1 << 16
"""Written by a layer without products that is shared."""


class Call(NamedTuple):
    text: str
    is_shared: bool


def is_worth_sharing(graph: Graph, node: Node, code: Lowered) -> bool:
    if not code.can_share:
        return False
    if macs := products(graph, node):
        return code.computed * macs >= LEAST_PRODUCTS[graph.types[node.inputs[1]].dtype]
    return graph.types[node.output].size_bytes >= LEAST_BYTES


def products(graph: Graph, node: Node) -> int:
    """With weights, zeros among them."""
    if not isinstance(node.op, Conv | Dense | RegionConv):
        return 0
    weights, results = graph.types[node.inputs[1]].shape, graph.types[node.output]
    if isinstance(node.op, RegionConv):
        results = FromRegions(node.op.made).infer([results])
    return results.elements * math.prod(weights[:-1])


def running(calls: Sequence[Call]) -> list[str]:
    """`model_init` and `model_run`."""
    if not any(call.is_shared for call in calls):
        return [
            *_init("(void)threads", "0"),
            *_run("(void)inputs, (void)outputs", "if (model_profiling) begun = now()"),
            *(f"    {line}" for index, call in enumerate(calls) for line in (call.text, f"done({index});")),
            "}",
        ]
    share = "const hk_share share = "
    return [
        "static void layers(const void *const inputs[], void *const outputs[], hk_share share) {",
        "    (void)inputs, (void)outputs;",
        *_layers(calls),
        "}",
        "",
        "static const void *const *all_inputs;",
        "static void *const *all_outputs;",
        "static void *work(void *given) {",
        f"    {share}*(const hk_share *)given;",
        "    for (;;) {",
        "        hk_meet(share);",
        "        layers(all_inputs, all_outputs, share);",
        "    }",
        "    return NULL;",
        "}",
        "",
        *_init("", "hk_start(threads, work)"),
        *_run(
            f"{share}{{0, hk_threads.count}}", "all_inputs = inputs, all_outputs = outputs", "if (model_profiling) begun = now()"
        ),
        "    hk_meet(share);",
        "    layers(inputs, outputs, share);",
        "}",
    ]


def _init(first: str, result: str) -> list[str]:
    return [
        "int model_init(const void *given_weights, void *given_arena, int threads) {",
        *([f"    {first};"] if first else []),
        "    weights = given_weights;",
        "    arena = given_arena;",
        f"    return {result};",
        "}",
        "",
    ]


def _run(*lines: str) -> list[str]:
    return ["void model_run(const void *const inputs[], void *const outputs[]) {", *(f"    {line};" for line in lines)]


def _layers(calls: Sequence[Call]) -> list[str]:
    """Every thread goes through them, does its share of those that are shared, and waits for the others after it; the caller's thread,
    the first, does the rest."""
    lines: list[str] = []
    for index, call in enumerate(calls):
        if call.is_shared:
            lines += [f"    {call.text}", "    hk_meet(share);", f"    if (share.index == 0) done({index});"]
            continue
        if index == 0 or calls[index - 1].is_shared:
            lines.append("    if (share.index == 0) {")
        lines += [f"        {call.text}", f"        done({index});"]
        if index + 1 == len(calls):
            lines.append("    }")
        elif calls[index + 1].is_shared:
            lines += ["    }", "    hk_meet(share);"]
    return lines
