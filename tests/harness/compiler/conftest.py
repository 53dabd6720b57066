"""Small ONNX networks, what ONNX Runtime and the interpreter make of them, and generated C run under the sanitizers."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

from harness.compiler.choice import ANY_VECTORS, Vectors
from harness.compiler.emit import Program, emitted
from harness.compiler.frontend.network import load_network
from harness.compiler.interpret import interpret
from harness.compiler.ir import Graph
from harness.compiler.pipeline import PASSES

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
MODEL_H = Path(__file__).resolve().parents[3] / "harness" / "runners" / "program"
MAIN = r"""
#include "model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static size_t size(const model_tensor *t) {
    static const size_t widths[] = {4, 1, 1, 2, 2, 4, 8, 1};
    size_t found = widths[t->type];
    for (int i = 0; i < t->rank; i++) found *= (size_t)t->shape[i];
    return found;
}
static void *memory(size_t bytes, const char *file) { /* of just this size, so that a sanitizer sees a step beyond it */
    void *found = NULL;
    if (posix_memalign(&found, 64, bytes ? bytes : 1)) exit(1);
    memset(found, 0xa5, bytes);
    if (file) {
        FILE *f = fopen(file, "rb");
        if (!f || fread(found, 1, bytes, f) != bytes) exit(2);
        fclose(f);
    }
    return found;
}
int main(int count, char **names) { /* weights inputs... -> outputs on standard output, facts on standard error */
    if (count != 2 + model_input_count) return 3;
    const void *inputs[256];
    void *outputs[256], *weights = memory(model_weights_bytes, names[1]), *arena = memory(model_arena_bytes, NULL);
    for (int i = 0; i < model_input_count; i++) inputs[i] = memory(size(&model_inputs[i]), names[2 + i]);
    for (int i = 0; i < model_output_count; i++) outputs[i] = memory(size(&model_outputs[i]), NULL);
    if (model_init(weights, arena, getenv("THREADS") ? atoi(getenv("THREADS")) : 1)) return 4;
    model_run(inputs, outputs);
    model_profiling = 1;
    model_run(inputs, outputs); /* again: nothing may be left of the first time */
    uint64_t ns[4096] = {0};
    model_profile(ns);
    for (int i = 0; i < model_output_count; i++) fwrite(outputs[i], 1, size(&model_outputs[i]), stdout);
    fputs(model_facts, stderr);
    for (int i = 0; i < model_input_count; i++) free((void *)inputs[i]);
    for (int i = 0; i < model_output_count; i++) free(outputs[i]);
    free(weights), free(arena);
    return 0;
}
"""
WARNINGS = ("-std=gnu11", "-Wall", "-Wextra", "-Werror")
SANITIZED = ("gcc", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
GCC_FUNCTIONS = ("gcc", "-O1", "-Wno-psabi", "-DHK_INLINE=static __attribute__((unused))", "-Wno-unused-function")
"""Kernels are functions, not inlined with their sizes as constants, which takes GCC long: what they compute is the same."""
ZIG = (sys.executable, "-m", "ziglang", "cc", "-O2", "-static", "-target")
NIGHTLY = pytest.mark.nightly
MACHINES = [
    pytest.param(((*GCC_FUNCTIONS, "-DHK_LANES=1"), "", ""), id="portable"),
    pytest.param((GCC_FUNCTIONS, "", ""), id="sse2"),
    pytest.param(((*GCC_FUNCTIONS, "-mavx2", "-mfma"), "", "avx2"), id="avx2"),
    pytest.param(((*GCC_FUNCTIONS, "-mavx2", "-mfma", "-mavxvnni"), "", "avx_vnni"), id="avx vnni"),
    pytest.param(((*GCC_FUNCTIONS, "-mavx512f", "-mavx512bw"), "", "avx512bw"), id="avx512"),
    pytest.param(((*GCC_FUNCTIONS, "-mavx512f", "-mavx512bw", "-mavx512vnni"), "", "avx512_vnni"), id="avx512 vnni"),
    pytest.param(((*ZIG, "aarch64-linux-musl", "-mcpu=cortex_a72"), "qemu-aarch64", ""), id="neon"),
    pytest.param(((*ZIG, "aarch64-linux-musl", "-mcpu=cortex_a76"), "qemu-aarch64", ""), id="neon dot product", marks=NIGHTLY),
    pytest.param(((*ZIG, "arm-linux-musleabihf", "-mcpu=cortex_a7"), "qemu-arm", ""), id="armv7", marks=NIGHTLY),
    pytest.param(((*ZIG, "riscv64-linux-musl"), "qemu-riscv64", ""), id="riscv64", marks=NIGHTLY),
]
"""Compiler, emulator and flag of /proc/cpuinfo of every instruction set whose kernels differ."""
Network = Callable[..., Path]
Run = Callable[..., list[Array]]


@pytest.fixture
def network(tmp_path: Path) -> Network:
    """(nodes, inputs, constants, outputs, opset) -> an ONNX file; a node is (kind, inputs, outputs, attributes)."""

    def make(
        nodes: Sequence[tuple[str, Sequence[str], Sequence[str], Mapping[str, Any]]],
        inputs: Mapping[str, tuple[str, Sequence[int | str]]],
        constants: Mapping[str, Array] | None = None,
        outputs: Sequence[str] = ("y",),
        opset: int = 20,
    ) -> Path:
        made = []
        for index, (kind, reads, writes, attributes) in enumerate(nodes):
            domain, _, short = kind.rpartition(".")
            made.append(helper.make_node(short, reads, writes, name=f"{short}_{index}", domain=domain, **attributes))
        values = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
            for name, (dtype, shape) in inputs.items()
        ]
        stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
        graph = helper.make_graph(made, "g", values, [onnx.ValueInfoProto(name=name) for name in outputs], stored)
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        path = tmp_path / f"{zlib.crc32(graph.SerializeToString())}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
        return path

    return make


def made_inputs(graph: Graph, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    return {
        name: rng.standard_normal(t.shape).astype(np.float32)
        if t.dtype == "float32"
        else rng.integers(0, 2 if t.dtype == "bool" else 5, t.shape).astype(t.dtype)
        for name, t in graph.inputs.items()
    }


@pytest.fixture
def inputs_of() -> Callable[..., Arrays]:
    return made_inputs


def onnxruntime_answers(path: Path, inputs: Arrays) -> list[Array]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    if not any("Quantize" in node.op_type or "QLinear" in node.op_type for node in onnx.load(path).graph.node):
        # Its rewriting is not always right: padding by zeros before a MaxPool becomes the pool's own padding, which is never the greatest.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    found: list[Array] = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, inputs)
    return found


def compare(got: Array, wanted: Array, what: str, tolerance: float) -> None:
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype), what
    if wanted.dtype.kind == "f":
        scale = float(np.max(np.abs(wanted), initial=1e-3, where=np.isfinite(wanted)))
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * scale, err_msg=what)
    else:
        np.testing.assert_array_equal(got, wanted, err_msg=what)


@pytest.fixture
def agrees() -> Callable[..., Graph]:
    """Every stage of a file, from import to the last pass, answers as ONNX Runtime does; the graph after the last."""

    def check(path: Path, *, inputs: Arrays | None = None, tolerance: float = 1e-5) -> Graph:
        graph = load_network(path)
        given = inputs or made_inputs(graph)
        wanted = onnxruntime_answers(path, given)
        stages: list[tuple[str, Callable[[Graph], Graph]]] = [("import", lambda g: g), *((p.run.__name__, p.run) for p in PASSES)]
        for name, stage in stages:
            graph = stage(graph)
            for got, reference in zip(interpret(graph, given).values(), wanted, strict=True):
                compare(got, reference, f"after {name}", tolerance)
        return graph

    return check


def built(program: Program, folder: Path, compiler: Sequence[str]) -> Path:
    model, binary, source = folder / "model.c", folder / "model", f"// {' '.join(compiler)}\n{program.source}"
    if binary.exists() and model.read_text() == source:
        return binary
    model.write_text(source)
    (folder / "main.c").write_text(MAIN)
    linker = [word for word in compiler if not word.startswith("-mcpu=")]  # as harness/toolchain.py does: one libc for every CPU
    objects = [[*compiler, *WARNINGS, f"-I{MODEL_H}", "-c", f"{name}.c", "-o", f"{name}.o"] for name in ("model", "main")]
    for command in (*objects, [*linker, "-s", "model.o", "main.o", "-o", "model", "-lm"]):
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr[-4000:]
    return binary


@pytest.fixture
def run_c(tmp_path: Path, zig_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """(graph, inputs) -> what its C answers: compiled without a warning, run twice over, by default under two sanitizers."""
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(zig_cache))
    monkeypatch.setenv("ZIG_LOCAL_CACHE_DIR", str(zig_cache))

    def run(
        graph: Graph,
        inputs: Arrays,
        compiler: Sequence[str] = SANITIZED,
        runner: Sequence[str] = (),
        vectors: Vectors = ANY_VECTORS,
    ) -> list[Array]:
        if shutil.which(compiler[0]) is None:
            pytest.skip(f"no {compiler[0]} here")
        folder = tmp_path / "c"
        folder.mkdir(exist_ok=True)
        program = emitted(graph, vectors)
        binary = built(program, folder, compiler)
        (folder / "weights").write_bytes(program.weights)
        names = []
        for index, name in enumerate(graph.inputs):
            (folder / f"input{index}").write_bytes(np.ascontiguousarray(inputs[name]).tobytes())
            names.append(str(folder / f"input{index}"))
        command = [*runner, str(binary), str(folder / "weights"), *names]
        ended = subprocess.run(command, capture_output=True, check=False, timeout=300)
        assert ended.returncode == 0, ended.stderr[-3000:].decode()
        rest, found = ended.stdout, []
        for name in graph.outputs:
            wanted = graph.types[name]
            found.append(np.frombuffer(rest[: wanted.size_bytes], wanted.dtype).reshape(wanted.shape))
            rest = rest[wanted.size_bytes :]
        assert not rest
        return found

    return run


@pytest.fixture(params=MACHINES)
def on_machine(request: pytest.FixtureRequest, run_c: Run) -> Run:
    """(graph, inputs) -> what its C answers on one of MACHINES."""
    compiler, runner, needs = request.param
    if runner and shutil.which(runner) is None:
        pytest.skip(f"no {runner} here")
    if needs and needs not in Path("/proc/cpuinfo").read_text().split():
        pytest.skip(f"no {needs} here")
    return lambda graph, inputs: run_c(graph, inputs, compiler, (runner,) if runner else ())


@pytest.fixture
def answers() -> Callable[..., list[Array]]:
    """(file, inputs) -> what ONNX Runtime answers."""
    return onnxruntime_answers


@pytest.fixture
def same() -> Callable[..., None]:
    return compare
