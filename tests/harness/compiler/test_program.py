from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.compiler.choice import Vectors
from harness.compiler.program import program_for, vectors_of
from harness.errors import Unsupported
from targets.target import Target


@pytest.mark.toolchain
def test_a_file_becomes_c_with_its_inputs_sizes_inside(network: Callable[..., Path], compiler_cache: None) -> None:
    path = network([("Relu", ["x"], ["y"], {})], {"x": ("float32", ["n", 3])})
    made = program_for(path, {"x": (4, 3)}, Target("phone", isa="aarch64", cpu="cortex_a72"))
    assert made.inputs["x"].shape == made.outputs["y"].shape == (4, 3)
    assert "static const int64_t model_inputs_shape_0[] = {4, 3};" in made.source


@pytest.mark.toolchain
@pytest.mark.parametrize(
    ("isa", "cpu", "vectors"),
    [
        ("x86_64", "x86_64_v4", Vectors(16, 28)),
        ("x86_64", "x86_64_v3", Vectors(8, 12)),
        ("x86_64", "sandybridge", Vectors(8, 12, can_look_up=False)),
        ("x86_64", "baseline", Vectors(4, 12, can_look_up=False)),
        ("aarch64", "cortex_a72", Vectors(4, 28, can_look_up=False, by_lane=True)),
        ("armv7l", "cortex_a7", Vectors(4, 12, can_look_up=False, by_lane=True)),
    ],
)
def test_the_compiler_says_which_vectors_a_device_has(isa: str, cpu: str, vectors: Vectors, compiler_cache: None) -> None:
    assert vectors_of(Target("device", isa=isa, cpu=cpu)) == vectors


@pytest.mark.toolchain
def test_a_device_that_no_compiler_builds_for_is_named(network: Callable[..., Path]) -> None:
    path = network([("Relu", ["x"], ["y"], {})], {"x": ("float32", [3])})
    with pytest.raises(Unsupported, match="no compiler here builds for `mips`"):
        program_for(path, {"x": (3,)}, Target("router", isa="mips"))
