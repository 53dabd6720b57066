"""The ceilings hold: what is done here in another way does not go above them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from harness import roofline
from harness.errors import RunnerError
from harness.roofline import measured_roofline
from targets.target import Target
from targets.transports import connect

pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("compiler_cache")]


def test_a_matrix_product_stays_below_the_ceiling(tmp_path: Path) -> None:
    """NumPy's own product on the same machine, best of many."""
    target = Target("desk", work_dir=str(tmp_path / "desk"))
    with connect(target) as session:
        found = measured_roofline(session, target, 1, 1 << 16, "float32")
    a = np.ones((256, 256), np.float32)
    best = 0.0
    for _ in range(50):
        begin = time.perf_counter()
        a @ a
        best = max(best, 2 * 256**3 / (time.perf_counter() - begin))
    assert found.peak_flops is not None and found.bandwidth_bytes_per_s is not None
    assert found.bandwidth_bytes_per_s > 1e8
    assert best < 3 * found.peak_flops  # a busy moment may hide a part of the ceiling, but no more


def test_nonsense_from_the_device_is_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\necho \'{"peak_flops": "many"}\'\n')
    program.chmod(0o755)
    monkeypatch.setattr(roofline, "compiled", lambda _sources, _target: program)
    target = Target("desk", work_dir=str(tmp_path / "desk"))
    with connect(target) as session, pytest.raises(RunnerError, match="many"):
        measured_roofline(session, target, 1, 1 << 16, "float32")
