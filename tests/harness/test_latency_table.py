"""Latency tables: written, read, looked up between what was measured, and nowhere else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.latency_table import DENSE, LatencyTable, Layer, Network, Timing, load_table, read_table, write_table


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


def test_a_network_takes_its_layers_and_the_rest() -> None:
    assert table().rest_s == pytest.approx(1e-5)
    assert table().latency_s({}) == pytest.approx(1e-5 + 1.1e-4 + 1e-5)
    assert table().latency_s({"conv": ("block-punched 16x1", 0.5)}) == pytest.approx(1e-5 + 6e-5 + 1e-5)
    with pytest.raises(UserError, match="no layer `other`"):
        table().latency_s({"other": (DENSE, 1.0)})


def test_predictions_are_held_against_what_was_measured() -> None:
    dense, blocks = table().predictions()
    assert dense.error == pytest.approx(1.3e-4 / 1.3e-4 - 1)
    assert blocks.predicted_s == pytest.approx(8e-5) and blocks.measured_s == 8e-5


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
