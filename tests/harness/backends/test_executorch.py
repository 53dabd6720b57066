"""Through the runner, a process of its own: its import warns, and it sets threads for the whole process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.backends.executorch import BACKEND
from harness.check import check
from harness.errors import Unsupported
from harness.export import Exported
from targets.target import Target


@pytest.mark.torch
@pytest.mark.parametrize(("numeric", "batch", "threads"), [("float32", 1, 1), ("int8", 4, 2)])
def test_it_answers_as_the_network_does_all_of_it_by_xnnpack(
    answered: Callable[..., Any], numeric: Any, batch: int, threads: int
) -> None:
    given = answered("executorch", numeric=numeric, batch=batch, threads=threads)
    found = check([given.answer.outputs[0]], [given.reference], numeric)
    assert found.passed, found
    assert found.relative_error is not None and (found.relative_error > 1e-4) == (
        numeric == "int8"
    )  # integers, and not pairs that were folded away
    facts = given.facts
    assert (facts["delegate"], facts["share"], facts["operators_left"], facts["threads"]) == ("xnnpack", 1.0, {}, threads)
    assert facts["operators_delegated"] >= 6


@pytest.mark.torch
def test_what_the_delegate_leaves_is_counted(tmp_path: Path) -> None:
    """XNNPACK does not reverse an axis."""
    pytest.importorskip("executorch", reason="executorch is not installed")
    import torch
    from torch import Tensor, nn

    from harness.export import Examples, export, save_program

    class Flip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.after = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.after(self.before(x).flip(1))
            return found

    torch.manual_seed(0)
    network = Flip().eval()
    inputs = np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32)
    save_program(network, np.zeros((1, 2, 4, 4), np.float32), tmp_path / "module.pt2")
    examples = Examples(inputs, network(torch.from_numpy(inputs)).detach().numpy())
    settings: dict[str, Any] = {"numeric": "float32", "quantization": None, "calibration": None}
    made = export(tmp_path / "module.pt2", form="pt2", batch=1, examples=examples, folder=tmp_path, **settings)
    facts = BACKEND().build(made, Target("t"), tmp_path).facts
    assert (facts["operators_delegated"], facts["operators_left"]) == (2, {"aten_flip_default": 1})
    assert facts["share"] == pytest.approx(2 / 3)


def test_another_form_is_unsupported(tmp_path: Path) -> None:
    exported = Exported("onnx", tmp_path / "model.onnx", "float32", 1, "NCHW", None, {})
    with pytest.raises(Unsupported, match="not `onnx`"):
        BACKEND().build(exported, Target("t"), tmp_path)
