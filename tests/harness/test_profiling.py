"""A network's time, operator by operator, from a real runtime and with what the file says of each operator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from harness import measure, plugins, profiling
from harness.errors import BuildError
from harness.export import Examples, Exported, export, save_program
from harness.profiling import profiled
from harness.runners.reply import OperatorTime
from results.profile import Roofline, parse_profile
from targets.session import Session
from targets.target import Target
from targets.transports import connect

pytestmark = pytest.mark.torch

EXAMPLE = np.zeros((1, 3, 8, 8), np.float32)


@pytest.fixture
def exported(tmp_path: Path) -> Exported:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5)).eval()
    save_program(network, EXAMPLE, tmp_path / "module.pt2")
    with torch.no_grad():
        examples = Examples(EXAMPLE, network(torch.from_numpy(EXAMPLE)).numpy())
    return export(
        tmp_path / "module.pt2",
        form="onnx",
        batch=1,
        numeric="float32",
        quantization=None,
        calibration=None,
        examples=examples,
        folder=tmp_path / "form",
    )


def profile(exported: Exported, tmp_path: Path) -> dict[str, object]:
    target = Target("desk", work_dir=str(tmp_path / "desk"))
    backend = plugins.load("backends", "onnxruntime")
    artifact = backend().build(exported, target, tmp_path / "artifact")
    with connect(target) as session:
        path = plugins.path("backends", "onnxruntime")
        deployed = measure.deploy(session, artifact, path, {"threads": 1}, backend.requires)
        return profiled(session, deployed, [EXAMPLE], exported, target, numeric="float32", batch=1, timeout_s=60)


def test_operators_carry_time_and_cost(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def roofline(_session: Session, _target: Target, threads: int, touched: float, numeric: str) -> Roofline:
        asked.append(touched)
        assert (threads, numeric) == (1, "float32")
        return Roofline(1e11, 1e10)

    monkeypatch.setattr(profiling, "measured_roofline", roofline)
    (tmp_path / "artifact").mkdir()
    found = parse_profile(profile(exported, tmp_path))
    by_layer = {operator.layer: operator for operator in found.operators if operator.layer}
    assert {name: operator.macs for name, operator in by_layer.items()} == {"0": 64 * 4 * 27, "3": 256 * 5}
    assert all(operator.time_s is not None and operator.time_s >= 0 for operator in found.operators)
    assert sum(operator.time_s or 0 for operator in found.operators) > 0
    assert found.roofline == Roofline(1e11, 1e10)
    assert asked[0] > exported.path.stat().st_size


def test_a_profile_without_a_roofline_says_why(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def roofline(*_: object) -> Roofline:
        raise BuildError("no compiler")

    monkeypatch.setattr(profiling, "measured_roofline", roofline)
    (tmp_path / "artifact").mkdir()
    found = profile(exported, tmp_path)
    assert found["remark"] == "no roofline: no compiler"
    assert found["roofline"] is None and found["operators"]


def test_what_a_compiler_says_of_its_own_layers_goes_before_what_the_file_says(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Products with zeros that were skipped are none, and weights are as large as they are kept."""
    import onnx

    conv, dense = (node.name for node in onnx.load(exported.path).graph.node if node.op_type in ("Conv", "Gemm"))
    times = [OperatorTime(name=name, op="?", time_s=1e-6) for name in (conv, f"{conv} (Pad)", dense)]
    monkeypatch.setattr(measure, "operators", lambda *_, **__: times)
    monkeypatch.setattr(profiling, "measured_roofline", lambda *_: Roofline(1e11, 1e10))
    layers: list[dict[str, object]] = [
        {"macs": 1000, "computed": 0.25, "density": 0.125, "format": "list 16x1", "bytes": 77},
        {"macs": 0, "bytes": 5},
        {"macs": 8, "computed": 1.0, "density": 1.0, "format": "dense", "bytes": 9},
    ]
    deployed = measure.Deployed("", "", (), (), "", {"threads": 1})
    with connect(Target("desk", work_dir=str(tmp_path))) as session:
        document = profiled(
            session, deployed, [EXAMPLE], exported, Target("desk"), numeric="float32", batch=1, timeout_s=60, layers=layers
        )
    found = parse_profile(document).operators
    assert [(o.layer, o.macs, o.bytes, o.format, o.sparsity) for o in found] == [
        ("0", 250, 77, "float32, list 16x1", 0.875),
        (None, None, 5, None, None),
        ("3", 8, 9, "float32", 0),
    ]
