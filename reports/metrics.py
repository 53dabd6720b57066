"""How each metric is headed and judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from results.printable import printable


class Metric(NamedTuple):
    title: str
    better: Literal["low", "high"] | None = None
    """None: never bold, for a claim is not a result."""
    exact: bool = False
    """Counted, not sampled: any difference is a real one."""
    meaning: str = ""
    """A sentence for the legend; empty where the title says it all."""


METRICS: Mapping[str, Metric] = {
    "latency": Metric("latency", "low", meaning="time of one inference (one batch), typical over process launches"),
    "speedup": Metric("speed-up", "high", meaning="the baseline's latency over this cell's"),
    "claimed_speedup": Metric(
        "claimed MAC ratio", meaning="the baseline's non-zero multiply-accumulates over this network's: what the method promises"
    ),
    "claimed_size_ratio": Metric("claimed bytes ratio", meaning="the same for the bytes of the weights"),
    "claimed_bits_ratio": Metric("claimed bits ratio", meaning="the same for the bits of one weight"),
    "claimed_params_ratio": Metric("claimed parameters ratio", meaning="the same for the parameters that are not zero"),
    "quality": Metric(
        "quality", "high", meaning="of the answers of the very artifact that was timed, by the network's own metric"
    ),
    "quality_change": Metric(
        "quality change", "high", meaning="against the baseline over the same examples, in percentage points"
    ),
    "top1": Metric("top-1", "high", meaning="share of test examples whose largest output is the label"),
    "top5": Metric("top-5", "high", meaning="share of test examples whose label is among the five largest outputs"),
    "auc": Metric("AUC", "high", meaning="area under the ROC curve: how often a positive example scores above a negative one"),
    "f1": Metric("F1", "high", meaning="harmonic mean of precision and recall, averaged over classes"),
    "peak_memory": Metric("peak memory", "low"),
    "model_memory": Metric("model memory", "low"),
    "artifact_size": Metric("artifact size", "low", exact=True, meaning="bytes of the files that were pushed to the device"),
    "instructions": Metric(
        "instructions",
        "low",
        exact=True,
        meaning="what one inference (one batch) executes, counted by the CPU: no time, nor a hint at one",
    ),
    "energy": Metric(
        "energy", "low", meaning="that one inference (one batch) takes while it is repeated steadily, idle draw included (gross)"
    ),
    "energy_net": Metric("net energy", "low", meaning="the same less what the device draws when it idles"),
    "power": Metric("average power", "low", meaning="over the windows that energy was measured in, idle draw included"),
    "peak_power": Metric("peak power", "low", meaning="the largest reading in those windows: what the meter's rate shows of it"),
    "power_trace": Metric("power over time"),
    "sustained_latency": Metric("sustained latency"),
    "temperature_trace": Metric("temperature over time"),
    "clock_trace": Metric("clock over time"),
    "residency_trace": Metric("mean clock over time"),
    "macs": Metric("MACs"),
    "nonzero_macs": Metric("non-zero MACs"),
    "params": Metric("parameters"),
    "nonzero_params": Metric("non-zero parameters"),
    "weight_bits": Metric("bits a weight"),
    "weight_bytes": Metric("weight bytes"),
}


def title_of(metric: str) -> str:
    return METRICS[metric].title if metric in METRICS else printable(metric.replace("_", " "))
