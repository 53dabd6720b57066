"""Latency tables: written, read, looked up between what was measured, and nowhere else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from harness.errors import UserError
from harness.latency_table import DENSE, LatencyTable, Layer, LeftOut, Network, Timing, load_table, read_table, write_table


def table(**changes: object) -> LatencyTable:
    """Two layers; 10 µs beside them."""
    blocks = tuple(Timing("block-punched 16x1", 1 - d, d, (t, t, 9.0)) for d, t in ((0.5, 6e-5), (0.25, 3e-5)))
    conv = Layer((16, 16, 3, 3), (Timing(DENSE, 0.0, 1.0, (1e-4, 1.2e-4, 1.1e-4)), *blocks))
    fc = Layer((10, 16), (Timing(DENSE, 0.0, 1.0, (1e-5, 1e-5, 1e-5)),))
    networks = (
        Network(DENSE, 0.0, (1.3e-4, 1.3e-4, 1.4e-4), (1e-5, 1e-5, 1e-5), ("a", "b", "c")),
        Network("block-punched 16x1", 0.5, (8e-5, 8e-5, 8e-5), (1e-5, 1e-5, 2e-5), ("d", "e", "f")),
    )
    made = LatencyTable(
        "net", "digits", "native", "local", 1, "measured", "key", {"python": "3.11"}, {"min_s": 0.1}, 0, {"conv": conv, "fc": fc}, networks
    )  # fmt: skip
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_table(table(), tmp_path / "table.json")
    assert read_table(tmp_path / "table.json") == table()


def test_a_time_is_the_median_of_its_rounds() -> None:
    assert table().time_s("conv", DENSE, 1.0) == 1.1e-4
    assert table().time_s("conv", "block-punched 16x1", 0.5) == 6e-5


@pytest.mark.parametrize(("density", "time_s"), [(0.25, 3e-5), (0.375, 4.5e-5), (0.5, 6e-5), (0.75, 8.5e-5), (1.0, 1.1e-4)])
def test_between_two_densities_times_are_in_proportion_up_to_dense(density: float, time_s: float) -> None:
    assert table().time_s("conv", "block-punched 16x1", density) == pytest.approx(time_s)


@pytest.mark.parametrize(
    ("layer", "scheme", "density", "says"),
    [
        ("conv", "block-punched 16x1", 0.2, "measured at densities 0.25 to 1, not at 0.2; measure a sparsity of 0.8 too"),
        ("conv", "block-punched 16x1", 1.1, "not at 1.1"),
        ("conv", "block-punched 16x4", 0.5, "no `block-punched 16x4` for layer `conv`. Did you mean `block-punched 16x1`"),
        ("fc", "block-punched 16x1", 0.5, "Measured are dense"),
        ("conv2", DENSE, 1.0, "no layer `conv2`. Did you mean `conv`"),
        ("conv", DENSE, 0.5, "measured at densities 1 to 1"),
    ],
)
def test_what_the_table_does_not_hold_is_refused(layer: str, scheme: str, density: float, says: str) -> None:
    with pytest.raises(UserError) as error:
        table().time_s(layer, scheme, density)
    assert says in str(error.value)


def test_what_could_not_be_measured_is_told_from_what_was_not_asked_for() -> None:
    left = (LeftOut("block-punched 16x1", 0.9, "failed: it did not answer"),)
    with_reason = table(left_out=left)
    assert with_reason.was_left_out("conv", "block-punched 16x1", 0.1)
    assert with_reason.was_left_out("fc", "block-punched 16x1", 0.5)
    assert not with_reason.was_left_out("conv", "block-punched 16x1", 0.25)
    assert not with_reason.was_left_out("conv", "block-punched 16x1", 0.7)
    assert not with_reason.was_left_out("conv", "unstructured", 0.1)
    assert not with_reason.was_left_out("conv", DENSE, 1.0)
    assert not table().was_left_out("conv", "block-punched 16x1", 0.1)


def test_a_network_takes_its_layers_and_the_rest_and_what_the_profile_adds() -> None:
    """Dense took 1.3e-4, the sum of its parts; with blocks it took 8e-5, again the sum."""
    assert table().rest_s == pytest.approx(1e-5) and table().gap == pytest.approx((1.0, 1.0))
    assert table().latency_s({}) == pytest.approx(1e-5 + 1.1e-4 + 1e-5)
    assert table().latency_s({"conv": ("block-punched 16x1", 0.5)}) == pytest.approx(1e-5 + 6e-5 + 1e-5)
    with pytest.raises(UserError, match="no layer `other`"):
        table().latency_s({"other": (DENSE, 1.0)})
    with pytest.raises(UserError, match="no layer `other`"):
        table().most_s({"other": (DENSE, 1.0)})


def test_predictions_are_held_against_what_was_measured() -> None:
    dense, blocks = table().predictions()
    assert dense.error == pytest.approx(1.3e-4 / 1.3e-4 - 1)
    assert blocks.predicted_s == pytest.approx(8e-5) and blocks.measured_s == 8e-5


def test_the_gap_of_the_networks_is_known_and_a_plan_counts_the_greatest() -> None:
    """Dense took 0.9 of its sum, blocks 0.95."""
    dense, blocks = table().networks
    dense = dataclasses.replace(dense, latency_s=(0.9 * 1.3e-4,) * 3)
    found = table(networks=(dense, dataclasses.replace(blocks, latency_s=(0.95 * 8e-5,) * 3)))
    assert found.gap == pytest.approx((0.925, 0.95)) and found.dense_s == pytest.approx(0.9 * 1.3e-4)
    assert found.latency_s({}) == pytest.approx(0.925 * 1.3e-4)
    error = 1.2533 * 1.4826 * 1e-5 / 3**0.5  # of the median of 1e-4, 1.1e-4 and 1.2e-4
    assert found.most_s({}) == pytest.approx(0.95 * (1.3e-4 + 2 * error))
    assert found.most_s({"conv": ("block-punched 16x1", 0.5)}) == pytest.approx(0.95 * 8e-5), (
        "one disturbed round of three moves nothing"
    )


def test_a_plan_with_the_upper_end_keeps_a_budget_that_one_with_medians_breaks() -> None:
    """200 tables of 20 layers with two ways each, equally fast in truth: whoever takes what seemed faster is above its plan by medians nearly always."""
    rng = np.random.default_rng(0)
    kept_by_medians = kept = 0
    for _ in range(200):
        samples = 1e-5 * (1 + 0.03 * rng.standard_normal((20, 2, 5)))
        layers = {
            str(n): Layer((1,), (Timing(DENSE, 0.0, 1.0, (2e-5,)), *(Timing(f"{w}:2", 0.5, 0.5, tuple(own[w])) for w in (0, 1))))
            for n, own in enumerate(samples)
        }
        networks = (Network(DENSE, 0.0, (4e-4,), (0.0,), ("a",)),)
        found = table(layers=layers, networks=networks)
        truth = 20 * 1e-5
        by_medians = sum(min(found.time_s(name, way, 0.5) for way in ("0:2", "1:2")) for name in layers)
        planned = sum(min(found.layer_most_s(name, way, 0.5) for way in ("0:2", "1:2")) for name in layers)
        kept_by_medians += truth <= by_medians
        kept += truth <= planned
    assert kept_by_medians < 20 and kept > 190


def test_another_network_is_refused() -> None:
    table().check_fits({"conv": (16, 16, 3, 3)})
    with pytest.raises(UserError, match=r"its layer `conv` is \[32, 16, 3, 3\], there it is \[16, 16, 3, 3\]"):
        table().check_fits({"conv": (32, 16, 3, 3)})
    with pytest.raises(UserError, match=r"`stem` is .*, there is none"):
        table().check_fits({"stem": (16, 3, 3, 3)})


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda d: d.pop("layers"), "layers: Field required"),
        (lambda d: d.update(schema=2), "schema"),
        (lambda d: d.update(threads="1"), "threads"),
        (lambda d: d.update(networks=[]), "without a measurement"),
        (lambda d: d["networks"][0].update(latency_s=[-1.0]), "negative or not finite"),
        (lambda d: d["networks"].pop(0), "the dense network was not measured"),
        (lambda d: d["layers"]["conv"]["timings"].pop(0), "`conv` was not measured dense"),
    ],
)
def test_a_file_that_is_no_table_is_refused(spoil: object, says: str, tmp_path: Path) -> None:
    document = json.loads(json.dumps(table().to_json()))
    spoil(document)  # type: ignore[operator]
    path = tmp_path / "table.json"
    path.write_text(json.dumps(document))
    with pytest.raises(UserError) as error:
        read_table(path)
    assert says in str(error.value) and str(path) in str(error.value)


def test_a_table_that_is_not_there_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; `assay latency-table` makes one"):
        load_table(str(tmp_path / "none.json"))
    (tmp_path / "text.json").write_text("hello")
    with pytest.raises(UserError, match="not a latency table"):
        load_table(str(tmp_path / "text.json"))
