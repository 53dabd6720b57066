"""Latency tables: how long each layer of a network takes on a device, by how its weights are pruned and how many of them stay.

`assay latency-table` measures one (`harness/tabulate.py`); methods look times up in it. What it does not hold is refused, never guessed.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

from harness.errors import UserError, nearest
from harness.weights import named_file
from results.record import Origin

SCHEMA: Literal[1] = 1
Chosen = Mapping[str, tuple[str, float]]
"""(scheme, density) of layers; those that are not named are dense."""
DENSE = "dense"
"""The scheme of a layer whose weights all stay."""
CLOSE = 1e-6
"""Densities that differ by less are one."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One layer under one scheme at one strength."""

    scheme: str
    sparsity: float
    """That was asked for."""
    density: float
    """Weights that really stayed, of all."""
    samples_s: tuple[float, ...]
    """The layer's time in the runtime's own profile of a whole inference, one a round."""

    @property
    def time_s(self) -> float:
        return median(self.samples_s)

    @property
    def most_s(self) -> float:
        """Upper end: two standard errors above the median."""
        return self.time_s + 2 * standard_error(self.samples_s)


@dataclass(frozen=True, slots=True)
class Layer:
    shape: tuple[int, ...]
    """Of its weights: [out, in/groups, *kernel]."""
    timings: tuple[Timing, ...]

    def schemes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(timing.scheme for timing in self.timings))


@dataclass(frozen=True, slots=True)
class Network:
    """The whole network with one scheme in all layers that take it: what the sum over layers is held against."""

    scheme: str
    sparsity: float
    latency_s: tuple[float, ...]
    """Median latency of each round's launch."""
    rest_s: tuple[float, ...]
    """Sum over the operators that are no layers, in the profile of the same round."""
    records: tuple[str, ...]
    """In the store, with all samples."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A scheme and a strength that could not be measured."""

    scheme: str
    sparsity: float
    reason: str


class Gap(NamedTuple):
    """What whole networks took, as a share of what their layers and the rest add up to: the profile's own cost, and what it does not see."""

    typical: float
    most: float
    """Of all networks that the table was made of."""


class Prediction(NamedTuple):
    network: Network
    predicted_s: float
    measured_s: float

    @property
    def error(self) -> float:
        """Share of the measured latency by which the prediction is above it."""
        return self.predicted_s / self.measured_s - 1


@dataclass(frozen=True)
class LatencyTable:
    model: str
    """Label of the model that it was measured on."""
    data: str
    backend: str
    target: str
    threads: int
    origin: Origin
    machine_key: str
    software: Mapping[str, Any]
    """What the networks were made and measured with."""
    sampling: Mapping[str, Any]
    seed: int
    layers: Mapping[str, Layer]
    """By dotted module name."""
    networks: tuple[Network, ...]
    left_out: tuple[LeftOut, ...] = ()
    schema: Literal[1] = SCHEMA

    def facts(self) -> dict[str, Any]:
        """What a time that is looked up here is a time of."""
        return {"origin": self.origin, "target": self.target, "backend": self.backend, "threads": self.threads}

    @property
    def dense_s(self) -> float:
        """What the dense network took, whole."""
        return next(median(network.latency_s) for network in self.networks if network.scheme == DENSE)

    @functools.cached_property
    def gap(self) -> Gap:
        shares = [median(network.latency_s) / self._sum_s(self._chosen(network)) for network in self.networks]
        return Gap(median(shares), max(shares))

    @functools.cached_property
    def rest_s(self) -> float:
        """What an inference takes in operators that are no layers: the median over all networks and rounds."""
        return median(self._rests_s)

    @property
    def most_rest_s(self) -> float:
        """As a plan counts it (`layer_most_s`)."""
        return self.gap.most * (self.rest_s + 2 * standard_error(self._rests_s))

    def time_s(self, layer: str, scheme: str, density: float) -> float:
        """Of one layer, between two measured densities of its scheme in proportion. UserError for anything beyond them."""
        return self._between(layer, scheme, density, lambda timing: timing.time_s)

    def layer_most_s(self, layer: str, scheme: str, density: float) -> float:
        """As a plan counts it that must keep a budget: the upper end of its time, times the greatest gap.

        A search finds the options whose times erred downwards: a sum of medians that it chose is nearly always too low.
        """
        return self.gap.most * self._between(layer, scheme, density, lambda timing: timing.most_s)

    def was_left_out(self, layer: str, scheme: str, density: float) -> bool:
        """Whether it has no such time because a strength of that scheme could not be measured (`left_out`), and for no other reason."""
        least = min((timing.density for timing in self._layer(layer).timings if timing.scheme == scheme), default=1.0)
        return any(left.scheme == scheme for left in self.left_out) and density < least - CLOSE

    def latency_s(self, chosen: Chosen) -> float:
        """Of the whole network, as is to be expected."""
        return self.gap.typical * self._sum_s(chosen)

    def most_s(self, chosen: Chosen) -> float:
        """Of the whole network, as a plan counts it that must keep a budget."""
        self._check_known(chosen)
        return self.most_rest_s + math.fsum(self.layer_most_s(name, *chosen.get(name, (DENSE, 1.0))) for name in self.layers)

    def check_fits(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """UserError unless it was measured on a network of these layers [out, in/groups, *kernel]."""
        other = [name for name in shapes if name not in self.layers or self.layers[name].shape != shapes[name]]
        if other:
            known = self.layers.get(other[0])
            raise UserError(
                f"the latency table was measured on {self.model}, not on this network: its layer `{other[0]}` is {list(shapes[other[0]])}, "
                f"there {'is none' if known is None else f'it is {list(known.shape)}'}"
            )

    def predictions(self) -> list[Prediction]:
        """Of each network that the table was made of, in its order: how well its layers add up to the whole."""
        return [
            Prediction(network, self.latency_s(self._chosen(network)), median(network.latency_s)) for network in self.networks
        ]

    @property
    def _rests_s(self) -> list[float]:
        return [time for network in self.networks for time in network.rest_s]

    def _sum_s(self, chosen: Chosen) -> float:
        """Layers and the rest as the profiles say; layers that are not named are dense."""
        self._check_known(chosen)
        return self.rest_s + math.fsum(self.time_s(name, *chosen.get(name, (DENSE, 1.0))) for name in self.layers)

    def _between(self, layer: str, scheme: str, density: float, seconds: Callable[[Timing], float]) -> float:
        found = self._layer(layer)
        points = sorted((t.density, seconds(t)) for t in found.timings if t.scheme in (scheme, DENSE))
        if scheme not in found.schemes():
            raise UserError(
                f"the latency table of {self.model} has no `{scheme}` for layer `{layer}`.{nearest(scheme, found.schemes())} "
                f"Measured are {', '.join(found.schemes())}{self._why_not(scheme)}"
            )
        at = bisect_left([d for d, _ in points], density - 1e-9)
        if at == len(points) or (at == 0 and not math.isclose(points[0][0], density, abs_tol=CLOSE)):
            raise UserError(
                f"the latency table of {self.model} has `{scheme}` of layer `{layer}` measured at densities "
                f"{points[0][0]:.4g} to {points[-1][0]:.4g}, not at {density:.4g}; measure a sparsity of {1 - density:.4g} too"
                f"{self._why_not(scheme)}"
            )
        above, time = points[at]
        if at == 0 or math.isclose(above, density, abs_tol=CLOSE):
            return time
        below, before = points[at - 1]
        return before + (time - before) * (density - below) / (above - below)

    def _why_not(self, scheme: str) -> str:
        reasons = [f"; {left.sparsity:g} could not be: {left.reason}" for left in self.left_out if left.scheme == scheme]
        return "".join(reasons)

    def _chosen(self, network: Network) -> dict[str, tuple[str, float]]:
        timings = ((name, timing) for name, layer in self.layers.items() for timing in layer.timings)
        asked = (network.scheme, network.sparsity)
        return {name: (t.scheme, t.density) for name, t in timings if (t.scheme, t.sparsity) == asked}

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        document["layers"] = {name: dataclasses.asdict(layer) for name, layer in self.layers.items()}
        document["networks"] = [dataclasses.asdict(network) for network in self.networks]
        document["left_out"] = [dataclasses.asdict(left) for left in self.left_out]
        return document

    def _check_known(self, chosen: Chosen) -> None:
        for layer in chosen:
            self._layer(layer)

    def _layer(self, name: str) -> Layer:
        if name not in self.layers:
            raise UserError(f"the latency table of {self.model} has no layer `{name}`.{nearest(name, self.layers)}")
        return self.layers[name]


def standard_error(samples: Sequence[float]) -> float:
    """Of their median, were they normal: 1.2533 sigma / sqrt(n), sigma by the median absolute deviation, which one disturbed round does not move."""
    middle = median(samples)
    return 1.2533 * 1.4826 * median(abs(sample - middle) for sample in samples) / math.sqrt(len(samples))


def load_table(table: str) -> LatencyTable:
    """From the file that a method's parameter names. UserError where it is no latency table."""
    return read_table(named_file("table", table, "`assay latency-table` makes one"))


def read_table(path: Path) -> LatencyTable:
    from pydantic import TypeAdapter, ValidationError

    try:
        table = TypeAdapter(LatencyTable).validate_json(path.read_bytes(), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise UserError(f"{path}: not a latency table: {where}: {first['msg']}; `assay latency-table` makes one") from None
    _check(table, path)
    return table


def _check(table: LatencyTable, path: Path) -> None:
    timings = [timing for layer in table.layers.values() for timing in layer.timings]
    samples = [s for t in timings for s in t.samples_s] + [s for n in table.networks for s in (*n.latency_s, *n.rest_s)]
    if not table.networks or not table.layers or not all(timing.samples_s for timing in timings):
        raise UserError(f"{path}: a latency table without a measurement; make it again with `assay latency-table`")
    if not all(math.isfinite(sample) and sample >= 0 for sample in samples):
        raise UserError(f"{path}: a time in it is negative or not finite; make it again with `assay latency-table`")
    if not any(network.scheme == DENSE for network in table.networks):
        raise UserError(f"{path}: the dense network was not measured; make it again with `assay latency-table`")
    for name, layer in table.layers.items():
        if DENSE not in layer.schemes():
            raise UserError(f"{path}: layer `{name}` was not measured dense; make it again with `assay latency-table`")


def write_table(table: LatencyTable, path: Path) -> None:
    path.write_text(json.dumps(table.to_json(), indent=1) + "\n", encoding="utf-8")
