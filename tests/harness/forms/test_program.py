from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import BuildError
from harness.forms.form import Source
from harness.forms.program import load_program, save_program, write

pytestmark = pytest.mark.torch


def test_a_saved_program_answers_any_batch_bit_for_bit(tmp_path: Path) -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(128, 5)).eval()
    save_program(module, np.zeros((1, 3, 6, 6), np.float32), tmp_path / "module.pt2")
    loaded = load_program(tmp_path / "module.pt2")
    assert not any(part.training for part in loaded.modules())
    for batch in (1, 2, 7):
        x = torch.randn(batch, 3, 6, 6)
        with torch.inference_mode():
            assert torch.equal(loaded(x), module(x))


def test_saving_does_not_edit_the_module(tmp_path: Path) -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    save_program(module, np.zeros((1, 3, 6, 6), np.float32), tmp_path / "module.pt2")
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_module_in_training_mode_is_refused(tmp_path: Path) -> None:
    from torch import nn

    with pytest.raises(ValueError, match="eval mode"):
        save_program(nn.Linear(3, 4), np.zeros((1, 3), np.float32), tmp_path / "module.pt2")


def test_a_network_for_one_batch_only_is_a_build_error(tmp_path: Path) -> None:
    import torch
    from torch import nn

    class TwoOnly(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(2, 12)

    with pytest.raises(BuildError, match=r"dynamic batch failed.*batch"):
        save_program(TwoOnly().eval(), np.zeros((1, 12), np.float32), tmp_path / "module.pt2")
    assert not (tmp_path / "module.pt2").exists()


def test_a_missing_program_is_a_build_error(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="incomplete"):
        load_program(tmp_path / "module.pt2")


def test_a_corrupt_program_is_a_build_error(tmp_path: Path) -> None:
    from torch import nn

    path = tmp_path / "module.pt2"
    save_program(nn.Linear(3, 4).eval(), np.zeros((1, 3), np.float32), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BuildError, match=r"loading a torch\.export program failed"):
        load_program(path)


def test_the_form_names_its_operators_and_holds_no_path_of_this_machine(tmp_path: Path) -> None:
    from torch import nn

    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU()).eval()
    written = write(Source(module, np.zeros((1, 3), np.float32), 5), tmp_path)
    assert written.facts["ops"] == {"aten.linear.default": 1, "aten.relu.default": 1}
    assert written.facts["outputs"] == [{"name": "output", "shape": [5, 4], "dtype": "float32"}]
    assert b"site-packages" not in written.path.read_bytes()
