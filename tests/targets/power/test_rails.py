"""Rails by name, and what a chip's files say of its channels."""

from __future__ import annotations

from pathlib import Path

from targets.power.rails import Rail, hwmon_rails, named
from targets.power.trace import NoTrace
from targets.target import Target
from targets.transports import connect

FOUND = [Rail("a", "CPU", ("x",)), Rail("b", "CPU", ("y",)), Rail("b", "GPU", ("z",))]


def test_a_name_is_that_of_one_rail() -> None:
    assert named(FOUND, ["GPU", "a/CPU"], "m") == [FOUND[2], FOUND[0]]
    assert named(FOUND, [], "m") == []
    for name, said in (("CPU", "2 rails are called `CPU`"), ("c/CPU", "no rail `c/CPU`; there are a/CPU, b/CPU, b/GPU")):
        missing = named(FOUND, [name], "m")
        assert isinstance(missing, NoTrace) and said in missing.reason and missing.reason.startswith("m: ")


def chip(folder: Path, name: str, *files: str, **labels: str) -> list[tuple[str, list[str]]]:
    folder.mkdir()
    for file in files:
        (folder / file).write_text("1\n")
    for file, label in labels.items():
        (folder / file).write_text(label + "\n")
    with connect(Target("local")) as session:
        return [(rail.label, [Path(file).name for file in rail.files]) for rail in hwmon_rails(session, name, str(folder))]


def test_power_goes_before_a_product_and_a_sum_is_no_rail(tmp_path: Path) -> None:
    both = ("power1_input", "in1_input", "curr1_input", "in0_input")
    assert chip(tmp_path / "a", "ina226", *both) == [("power1", ["power1_input"])]
    assert chip(tmp_path / "b", "ina219", "in1_input", "curr1_input", curr1_label="5V") == [("5V", ["in1_input", "curr1_input"])]
    three = [f"{kind}{number}_input" for kind in ("in", "curr") for number in (1, 2, 3, 4)]
    rails = chip(tmp_path / "c", "ina3221", *three, in1_label="VDD_IN", in2_label="NC", in3_label="VDD_SOC")
    assert rails == [("VDD_IN", ["in1_input", "curr1_input"]), ("VDD_SOC", ["in3_input", "curr3_input"])]
    assert chip(tmp_path / "d", "ltc2992", "power1_average", "power2_input", "in5_input") == [
        ("power1", ["power1_average"]),
        ("power2", ["power2_input"]),
    ]
    assert chip(tmp_path / "e", "ina226", "curr1_input") == [], "a current alone is no power"
