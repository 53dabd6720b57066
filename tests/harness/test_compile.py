"""What `assay compile` leaves: built by a user's own tools and called by a user's own program, it answers as ONNX Runtime does."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.compile import CompiledFile, compile_to, target_of
from harness.errors import BuildError, UserError
from targets.target import Target

Array = npt.NDArray[Any]
USER = r"""
#include "network.h"
#include <stdio.h>
#include <string.h>
static _Alignas(64) char weights[NETWORK_WEIGHTS_BYTES], arena[NETWORK_ARENA_BYTES];
static _Alignas(64) float image[NETWORK_INPUT_0_BYTES / 4], scores[NETWORK_OUTPUT_0_BYTES / 4];
int main(void) {
    const void *inputs[] = {image};
    void *outputs[] = {scores};
    FILE *file = fopen("weights.bin", "rb");
    if (!file || fread(weights, 1, sizeof weights, file) != sizeof weights || model_init(weights, arena, 1)) return 1;
    if (fread(image, 1, sizeof image, stdin) != sizeof image) return 2;
    for (int times = 0; times < 3; times++) model_run(inputs, outputs);
    return fwrite(scores, 1, sizeof scores, stdout) != sizeof scores;
}
"""


@pytest.fixture
def image_network(tmp_path: Path) -> Path:
    """[n, 3, size, size] -> [n, 5]: a convolution whose weights are mostly zeros, by blocks, and a dense layer."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((16, 3, 3, 3)).astype(np.float32)
    weights[:, 1:] = 0
    constants = [
        numpy_helper.from_array(weights, "w"),
        numpy_helper.from_array(rng.standard_normal((16, 5)).astype(np.float32), "v"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "v"], ["y"], name="dense"),
    ]
    return saved(tmp_path / "image.onnx", nodes, ["n", 3, "size", "size"], ["n", 5], constants)


def saved(path: Path, nodes: Sequence[Any], given: list[Any], found: list[Any], constants: Sequence[Any] = ()) -> Path:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", given), ("y", found))]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def expected(path: Path, x: Array) -> Array:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: Array = session.run(None, {"x": x})[0]
    return found


def answer(command: Sequence[str | Path], folder: Path, given: bytes = b"") -> Array:
    ended = subprocess.run(list(map(str, command)), cwd=folder, input=given, capture_output=True, check=True, timeout=120)
    return np.frombuffer(ended.stdout, np.float32)


@pytest.mark.toolchain
def test_the_sources_build_with_make_and_a_program_of_ones_own_calls_them(
    image_network: Path, tmp_path: Path, compiler_cache: None
) -> None:
    if not (shutil.which("make") and shutil.which("cc")):
        pytest.skip("no make or cc here")
    folder = tmp_path / "out"
    made = compile_to(image_network, Target("local"), folder, batch=2, dims={"size": 6})
    x = np.random.default_rng(1).standard_normal((2, 3, 6, 6)).astype(np.float32)
    (folder / "x.bin").write_bytes(x.tobytes())
    (folder / "user.c").write_text(USER)
    wanted = expected(image_network, x).ravel()
    strict = "CFLAGS=-O2 -Wall -Wextra -Werror"
    for machine in ("MACHINE=-march=native", "MACHINE="):  # the kernels' formats suit vectors of any width
        subprocess.run(["make", "-s", "clean"], cwd=folder, check=True)
        subprocess.run(["make", "-s", strict, machine], cwd=folder, check=True, timeout=300)
        np.testing.assert_allclose(answer([folder / "network", "weights.bin", "x.bin"], folder), wanted, rtol=1e-4, atol=1e-5)
    build = [
        "cc",
        "-std=c11",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fsanitize=address,undefined",
        "user.c",
        "libnetwork.a",
        "-lm",
        "-o",
        "user",
    ]
    subprocess.run(build, cwd=folder, check=True)
    np.testing.assert_allclose(answer([folder / "user"], folder, x.tobytes()), wanted, rtol=1e-4, atol=1e-5)
    program = answer([folder / made.program, "weights.bin", "x.bin"], folder)
    np.testing.assert_allclose(program, wanted, rtol=1e-4, atol=1e-5)
    assert made.files[made.program] == (folder / made.program).stat().st_size
    assert made.facts["macs"] == 2 * (36 * 16 * 27 + 16 * 5)


@pytest.mark.toolchain
def test_the_program_says_what_it_takes_and_refuses_anything_else(
    image_network: Path, tmp_path: Path, compiler_cache: None
) -> None:
    folder = tmp_path / "out"
    program = folder / compile_to(image_network, Target("local"), folder, batch=1, dims={"size": 4}).program
    ended = subprocess.run([program], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "input x: float32 [1, 3, 4, 4], 192 bytes\n" in ended.stderr and "output y: float32 [1, 5]" in ended.stderr
    (folder / "short").write_bytes(bytes(191))
    (folder / "long").write_bytes(bytes(193))
    for name in ("short", "long", "absent"):
        ended = subprocess.run([program, "weights.bin", name], cwd=folder, capture_output=True, text=True, check=False)
        assert ended.returncode == 1 and f"{name} is not a file of 192 bytes" in ended.stderr


@pytest.mark.toolchain
def test_a_program_for_another_instruction_set_answers_the_same(
    image_network: Path, tmp_path: Path, compiler_cache: None
) -> None:
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("no qemu-aarch64 here")
    folder = tmp_path / "out"
    made = compile_to(image_network, target_of("aarch64", {}), folder, batch=1, dims={"size": 5})
    assert made.program == "network-aarch64"
    assert 'cc -target aarch64-linux-musl" MACHINE=-mcpu=baseline' in (folder / "Makefile").read_text()
    x = np.random.default_rng(2).standard_normal((1, 3, 5, 5)).astype(np.float32)
    (folder / "x.bin").write_bytes(x.tobytes())
    found = answer(["qemu-aarch64", folder / made.program, "weights.bin", "x.bin"], folder)
    np.testing.assert_allclose(found, expected(image_network, x).ravel(), rtol=1e-4, atol=1e-5)


Refuse = Callable[..., None]


@pytest.fixture
def refuses(tmp_path: Path) -> Refuse:
    def check(path: Path, error: type[Exception], says: str, **sizes: Any) -> None:
        given: dict[str, Any] = {"batch": None, "dims": {}} | sizes
        with pytest.raises(error, match=says):
            compile_to(path, Target("local"), tmp_path / "out", **given)
        assert not list(tmp_path.glob("out/*"))

    return check


def test_sizes_that_a_file_leaves_open_must_be_said(image_network: Path, refuses: Refuse) -> None:
    refuses(image_network, UserError, r"`x` is \[n, 3, size, size\].*Say --dim n=SIZE --dim size=SIZE, or --batch N")
    refuses(image_network, UserError, r"Say --dim size=SIZE$", batch=1)
    refuses(image_network, UserError, "no input has a symbolic dimension `sise`", batch=1, dims={"size": 4, "sise": 3})


def test_another_batch_than_the_file_has_is_refused(tmp_path: Path, refuses: Refuse) -> None:
    path = saved(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], [2, 3], [2, 3])
    refuses(path, UserError, "written for batch 2, not for 3", batch=3)


@pytest.mark.toolchain
def test_an_operator_that_is_not_compiled_is_named_with_its_node(tmp_path: Path, refuses: Refuse, compiler_cache: None) -> None:
    path = saved(tmp_path / "m.onnx", [helper.make_node("Det", ["x"], ["y"], name="odd_one")], [3, 3], [])
    refuses(path, BuildError, r"m.onnx cannot be compiled: node `odd_one` \(Det\): Det is not among")


def test_what_is_no_network_is_refused(tmp_path: Path, refuses: Refuse) -> None:
    (tmp_path / "text.onnx").write_text("no network\n" * 9)
    (tmp_path / "m.tflite").write_bytes(b"")
    refuses(tmp_path / "text.onnx", UserError, "text.onnx: ")
    refuses(tmp_path / "absent.onnx", UserError, "there is no such file")
    refuses(tmp_path / "m.tflite", UserError, "ONNX files are compiled")


def test_a_target_is_a_device_or_an_instruction_set(tmp_path: Path) -> None:
    inventory = {"shed": Target("shed", isa="aarch64", cpu="cortex_a72")}
    assert target_of("shed", inventory).cpu == "cortex_a72"
    assert target_of("riscv64", inventory) == Target("riscv64", isa="riscv64", cpu="baseline")
    with pytest.raises(UserError, match=r"unknown target `aarch65`\. Did you mean `aarch64`"):
        target_of("aarch65", inventory)
    with pytest.raises(UserError, match="is a gpu"):
        compile_to(tmp_path / "m.onnx", Target("card", kind="gpu"), tmp_path, batch=None, dims={})


def test_what_was_made_reads_as_text_and_as_json(tmp_path: Path) -> None:
    facts = {"kernels": {"hk_f32_conv": 2}, "macs": 9, "weights_bytes": 8, "arena_bytes": 7}
    made = CompiledFile(tmp_path, {"model.c": 5, "network-x86_64": 6}, "network-x86_64", facts)
    assert f"{tmp_path}/model.c  5 bytes\n" in made.text() and "layers by kernel: 2 hk_f32_conv" in made.text()
    assert made.to_json() == {"folder": str(tmp_path), "files": dict(made.files), "program": "network-x86_64", "facts": facts}
