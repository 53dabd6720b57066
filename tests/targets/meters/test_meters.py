"""Every meter is a file whose parameters an inventory may set, checked before any device is touched."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import pytest

from targets import meters
from targets.errors import UserError
from targets.inventory import entry_text, load_inventory
from targets.power.trace import TIERS
from targets.target import Target


@pytest.mark.parametrize("name", meters.names())
def test_every_meter_keeps_the_contract(name: str) -> None:
    kind: Any = importlib.import_module(f"targets.meters.{name}").METER
    assert vars(kind)["__dataclass_params__"].frozen and hasattr(kind, "window") != hasattr(kind, "joules")
    tiers = [field.default for field in dataclasses.fields(kind) if field.name == "tier"] or [kind.tier]
    assert set(tiers) <= set(TIERS)
    assert meters.summary(name)


def load(tmp_path: Path, given: str) -> Target:
    path = tmp_path / "devices.yaml"
    path.write_text(f"targets:\n  bench:\n    meters: {given}\n")
    return load_inventory(path)["bench"]


def test_names_and_parameters_are_read_and_written_back(tmp_path: Path) -> None:
    target = load(tmp_path, "[rapl, {hwmon: {rate_hz: 50, rails: [VDD_IN]}}, {energy_model: {}}]")
    assert target.meters == ("rapl", 'hwmon {"rails": ["VDD_IN"], "rate_hz": 50}', "energy_model")
    assert list(meters.meters_of(target)) == ["rapl", "hwmon"] and list(meters.models_of(target)) == ["energy_model"]
    again = tmp_path / "again.yaml"
    again.write_text("targets:\n" + "".join(f"  {line}\n" for line in entry_text(target, "").splitlines()))
    assert load_inventory(again)["bench"] == target


def test_two_of_one_name_are_both_there(tmp_path: Path) -> None:
    target = load(tmp_path, "[{hwmon: {chip: ina219}}, {hwmon: {chip: ina226}}]")
    assert list(meters.meters_of(target)) == ['hwmon {"chip": "ina219"}', 'hwmon {"chip": "ina226"}']


def test_sysfs_is_where_the_target_says_it_is() -> None:
    for text, root in (("rapl", "/tmp/sys"), ('rapl {"sysfs": "/other"}', "/other")):
        (meter,) = meters.meters_of(Target("bench", meters=(text,), sysfs="/tmp/sys")).values()
        assert vars(type(meter))["sysfs"].__get__(meter) == root


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("[rpal]", "unknown meter `rpal`. Did you mean `rapl`?"),
        ("[{rapl: {rate: 5}}]", "unknown parameter `rate` of meter `rapl`"),
        ("[{rapl: {rate_hz: fast}}]", "meter `rapl`: rate_hz: "),
        ("[{rapl: {rate_hz: 0}}]", "meter `rapl`: rate_hz: "),
        ("[{rapl: {}, hwmon: {}}]", "expected `name` or"),
        ("[[rapl]]", "expected `name` or"),
        ("[{rapl: 5}]", "expected `name` or"),
        ("rapl", "expected a list of meters"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, given: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        load(tmp_path, given)
    assert said in str(error.value) and "devices.yaml:3" in str(error.value)
