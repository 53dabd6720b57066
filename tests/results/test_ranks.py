"""Ranks against the definition, one number after another."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from results.ranks import ranked


@pytest.mark.parametrize(("size", "most"), [(0, 1), (1, 1), (9, 3), (200, 20), (50, 10**9)])
def test_a_rank_is_the_mean_place_among_equals(size: int, most: int) -> None:
    values = np.random.default_rng(size).integers(0, most, size) - 0.5
    expected = [
        1 + sum(other < value for other in values) + (sum(other == value for other in values) - 1) / 2 for value in values
    ]
    assert ranked(values).tolist() == expected


def test_a_run_starts_without_scipys_statistics() -> None:
    code = "import sys, harness.models.mlp, harness.run, reports.report; print('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
