from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.data import DataSpec
from harness.models import Model
from harness.models.efficientnet_lite0 import MODEL

pytestmark = pytest.mark.torch


def test_counts_are_the_published_ones(counted: Callable[[Model, DataSpec], tuple[int, ...]]) -> None:
    """4.7 M parameters in tensorflow/tpu, efficientnet/lite/README (batch-norm statistics counted), where 407 M counts more than products."""
    assert counted(MODEL(), DataSpec((3, 224, 224), 1000, "")) == (4_652_008, 4_694_024, 385_187_552)


def test_its_published_head_is_refused_for_other_classes() -> None:
    assert "1000 classes" in str(MODEL().accepts(DataSpec((3, 224, 224), 10, "")))
    assert MODEL(head="ridge").accepts(DataSpec((3, 224, 224), 10, "")) is None
    assert MODEL(weights="").accepts(DataSpec((3, 224, 224), 10, "")) is None
    assert MODEL(head="ridge").recipe().ridge_head in dict(MODEL().build(DataSpec((3, 64, 64), 10, "")).named_modules())
