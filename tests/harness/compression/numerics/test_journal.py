from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.compression.numerics.journal import once

pytestmark = pytest.mark.torch


def test_what_was_computed_is_read_again_and_what_a_kill_cut_short_is_computed_again(tmp_path: Path) -> None:
    journal, computed = tmp_path / "journal", []

    def compute() -> list[torch.Tensor]:
        computed.append(1)
        return [torch.arange(1000.0), torch.tensor([True])]

    first = once(journal, "fit of `a/b`", compute)
    again = once(journal, "fit of `a/b`", compute)
    assert len(computed) == 1 and torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    (file,) = journal.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(once(journal, "fit of `a/b`", compute)[0], torch.arange(1000.0)) and len(computed) == 2
    once(journal, "fit of `c`", compute)
    assert len(computed) == 3
