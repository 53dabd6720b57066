"""How many instructions an inference takes on a Cortex-A72 as its weights get fewer: counted by QEMU, to the last one, and never a time.

`nox -s bench` prints the table of docs/performance.md.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

from harness import measure
from harness.backends.native import BACKEND
from harness.export import from_file
from harness.plugins import Choice
from harness.suite import Sampling
from targets.target import Target
from targets.transports import connect

Array = npt.NDArray[Any]
pytestmark = [
    pytest.mark.toolchain,
    pytest.mark.torch,
    pytest.mark.usefixtures("compiler_cache"),
    pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="no qemu-aarch64 here"),
]
ONCE = Sampling(launches=1, warmup_samples=0, warmup_s=0, min_samples=1, min_s=0, min_sample_s=0, check_inputs=1)
LAYERS = {"64→64, 28², 3×3": (64, 28, 3), "256→256, 14², 3×3": (256, 14, 3), "256→256, 28², 1×1": (256, 28, 1)}


KINDS = {"4×1 blocks": 4, "16×1 blocks": 16, "single weights": 1, "channels": None}
"""How many outputs keep the same weights; None: all of them, at every place of the window."""


def layer(channels: int, size: int, kernel: int, kind: str, density: float, path: Path) -> Path:
    """A convolution that keeps that part of its blocks, exactly."""
    outputs = KINDS[kind]
    shape = (channels // outputs, channels, kernel, kernel) if outputs else (1, channels, 1, 1)
    order = np.random.default_rng(0).permutation(int(np.prod(shape)))
    kept = (order < round(density * len(order))).reshape(shape)
    mask = np.broadcast_to(kept.repeat(outputs or channels, 0), (channels, channels, kernel, kernel))
    weights = numpy_helper.from_array((np.random.default_rng(1).uniform(0.5, 1, mask.shape) * mask).astype(np.float32), "w")
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, size, size]) for name in "xy"]
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", pads=[kernel // 2] * 4)
    graph = helper.make_graph([node], "g", values[:1], values[1:], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.fixture
def instructions(tmp_path: Path) -> Callable[[Path], int]:
    """Of one inference of a file."""
    target = Target("a72", transport="qemu", isa="aarch64", cpu="cortex_a72", python="none", counts_instructions=True)

    def count(path: Path) -> int:
        folder = path.with_suffix("")
        folder.mkdir()
        exported = from_file(path)
        artifact = BACKEND().build(exported, target, folder)
        shape = exported.facts["inputs"][0]["shape"]
        with connect(target) as session:
            deployed = measure.deploy_backend(session, artifact, Choice("native"), target, 1)
            inputs = [np.random.default_rng(0).standard_normal(shape, np.float32)]
            samples = measure.time_launch(session, deployed, inputs, batch=1, sampling=ONCE).reply.samples
        assert samples is not None and samples.instructions is not None
        return min(n // loops for n, loops in zip(samples.instructions, samples.loops, strict=True))

    return count


def test_products_that_are_left_out_are_not_executed(instructions: Callable[[Path], int], benchmark: Any, tmp_path: Path) -> None:
    """Counts follow density, the layer without any weight taken off: what moves and pads its image is there at every density."""
    layers, densities = (LAYERS, (0.5, 0.25, 0.1)) if benchmark.enabled else ({"64→64, 14², 3×3": (64, 14, 3)}, (0.25,))
    rows: list[tuple[str, str, dict[float, int]]] = []
    for name, sizes in layers.items():
        for kind in KINDS if benchmark.enabled else list(KINDS)[:1]:
            counts = {
                density: instructions(layer(*sizes, kind, density, tmp_path / f"{len(rows)}_{density}.onnx"))
                for density in (1.0, *densities, 0.0)
            }
            rows.append((name, kind, counts))
            left = {density: (counts[density] - counts[0.0]) / (counts[1.0] - counts[0.0]) for density in densities}
            assert benchmark.enabled or all(share <= 1.5 * density for density, share in left.items()), left
    benchmark(lambda: None)
    if benchmark.enabled:
        print(
            "\n\n| layer | kept | density | instructions | of dense | of dense, both less the empty layer | over density |\n|---|"
            + "---|" * 6
        )
        for name, kind, counts in rows:
            for density, count in counts.items():
                part = (count - counts[0.0]) / (counts[1.0] - counts[0.0])
                over = f"{part / density:.2f}" if density else ""
                print(f"| {name} | {kind} | {density:g} | {count:,} | {count / counts[1.0]:.3f} | {part:.3f} | {over} |")
