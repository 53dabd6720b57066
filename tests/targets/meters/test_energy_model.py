"""The published table by hand, and what scales with what."""

from __future__ import annotations

import pytest

from targets.meters import models_of, spelled
from targets.meters.energy_model import DRAM_PJ_PER_BIT, METER, SRAM_PJ_PER_BIT, EnergyModel
from targets.power.work import Work
from targets.target import Target

INT8, FLOAT32 = Work(1e6, 2.5e5, 5000.0, "int8"), Work(1e6, 2.5e5, 20000.0, "float32")


def test_the_table_is_the_published_one() -> None:
    """45 nm: 8-bit multiply 0.2 pJ, 32-bit add 0.1; floats 3.7 and 0.9; 32 bits from 8 kB of SRAM 5 pJ, from DRAM 640."""
    parts = EnergyModel().joules(INT8)
    assert parts == {
        "arithmetic_j": pytest.approx(0.3e-6),
        "operands_j": pytest.approx(2 * 8 * (5 / 32) * 1e-6),
        "weights_j": pytest.approx(40_000 * 20e-12),
    }
    parts = EnergyModel().joules(FLOAT32)
    assert parts["arithmetic_j"] == pytest.approx(4.6e-6) and parts["operands_j"] == pytest.approx(10e-6)
    assert pytest.approx(128) == DRAM_PJ_PER_BIT / SRAM_PJ_PER_BIT


def test_each_parameter_changes_its_own_part() -> None:
    plain = EnergyModel().joules(INT8)
    reused = EnergyModel(reuse=4).joules(INT8)
    assert reused == pytest.approx({**plain, "operands_j": plain["operands_j"] / 4})
    near = EnergyModel(weights_in="sram").joules(INT8)
    assert near == pytest.approx({**plain, "weights_j": plain["weights_j"] / 128})
    sparse = EnergyModel(skips_zeros=True).joules(INT8)
    assert sparse["arithmetic_j"] == pytest.approx(plain["arithmetic_j"] / 4) and sparse["weights_j"] == plain["weights_j"]


def test_all_bytes_scale_only_the_weights() -> None:
    plain, twice = EnergyModel().joules(INT8), EnergyModel().joules(Work(1e6, 2.5e5, 10_000.0, "int8"))
    assert twice == pytest.approx({**plain, "weights_j": 2 * plain["weights_j"]})


def test_an_inventory_may_name_it() -> None:
    target = Target("bench", meters=(spelled("energy_model", {"reuse": 8.0}),))
    assert models_of(target) == {"energy_model": EnergyModel(reuse=8.0)} and METER is EnergyModel
