"""In DeepSparse's own environment, where there is one: `assay setup deepsparse`, with ASSAY_ENVIRONMENTS naming the folder for these tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.backends.deepsparse import BACKEND
from harness.errors import Unsupported
from harness.export import Exported
from targets.target import Target


@pytest.mark.torch
@pytest.mark.parametrize(("batch", "threads"), [(1, 1), (4, 2)])
def test_it_answers_as_the_network_does(answered: Callable[..., Any], batch: int, threads: int) -> None:
    given = answered("deepsparse", batch=batch, threads=threads)
    assert np.abs(given.answer.outputs[0] - given.reference).max() <= 1e-5 * np.abs(given.reference).max()
    assert given.facts["threads"] == threads and given.facts["share"] > 0.5
    assert dict(given.answer.reply.versions)["numpy"].startswith("1.26.")


@pytest.mark.torch
def test_a_network_that_it_would_hand_to_another_runtime_is_unsupported(answered: Callable[..., Any]) -> None:
    with pytest.raises(Unsupported, match="kernels for no operator"):
        answered("deepsparse", numeric="int8")


def test_another_form_is_unsupported(tmp_path: Path) -> None:
    exported = Exported("tflite", tmp_path / "model.tflite", "float32", 1, "NHWC", None, {})
    with pytest.raises(Unsupported, match="not form `tflite`"):
        BACKEND().build(exported, Target("t"), tmp_path)
