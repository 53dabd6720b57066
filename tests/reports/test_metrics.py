from __future__ import annotations

from harness.paper import METRICS as ASKABLE
from reports.metrics import METRICS, title_of


def test_every_metric_a_suite_may_ask_for_has_a_title() -> None:
    assert [name for name in ASKABLE if name not in METRICS] == []


def test_claims_are_never_judged() -> None:
    for claim in ("macs", "nonzero_macs", "params", "nonzero_params", "weight_bits", "weight_bytes", "claimed_speedup"):
        assert METRICS[claim].better is None


def test_an_unknown_metric_is_titled_by_its_name() -> None:
    assert title_of("cache_misses") == "cache misses"
