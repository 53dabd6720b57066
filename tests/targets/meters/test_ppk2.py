"""The real driver against a PPK2 of our own at the other end of a pseudo-terminal; and streams of known joules."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from peers.instruments import OHM, VOLT_A_COUNT, kit, words

from targets.meters import ppk2
from targets.meters.ppk2 import Ppk2, sample_numbers
from targets.power.integrate import Energy, Invalid, energy
from targets.power.listening import Heard, InstrumentError
from targets.power.trace import NoTrace, Trace
from targets.session import Session
from targets.target import Target
from targets.transports import connect


@pytest.fixture
def here() -> Iterator[Session]:
    with connect(Target("local")) as session:
        yield session


def test_the_driver_reads_the_kits_samples(here: Session) -> None:
    with kit() as (port, peer):
        with Ppk2(port, 3.3, supplies=True).window(here) as recording:
            time.sleep(0.3)
            recording.stop()
        deadline = time.monotonic() + 60
        while not peer.told.endswith(b"\x07") and time.monotonic() < deadline:  # it reads when it comes to it
            time.sleep(0.01)
    trace = recording.trace
    assert isinstance(trace, Trace), trace
    assert np.allclose(trace.values, 0.2 * 3.3, rtol=5e-3) and trace.dropped == 0 and len(trace.time_s) > 10
    assert np.allclose(np.diff(trace.time_s), 0.001) and trace.facts["samples"] > 10_000 * trace.time_s[-1]
    assert {b"\x11\x02", b"\x0c\x01"} <= {peer.told[i : i + 2] for i in range(len(peer.told))} and peer.told.endswith(b"\x07")


def test_a_kit_that_is_mute_or_absent_is_no_trace(here: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    with kit(speaks=False) as (port, _), Ppk2(port, 3.3).window(here) as recording:
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and "calibration" in recording.trace.reason
    with Ppk2("/dev/no-such-port", 3.3).window(here) as recording:
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and "cannot be opened" in recording.trace.reason
    monkeypatch.setitem(__import__("sys").modules, "ppk2_api.ppk2_api", None)
    with Ppk2("/dev/x", 3.3).window(here) as recording:
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and "assay[meters]" in recording.trace.reason


def test_a_kit_that_falls_silent_is_no_trace(here: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ppk2, "SILENCE_S", 0.1)
    with kit() as (port, peer), Ppk2(port, 3.3).window(here) as recording:
        peer.speaks = False
        time.sleep(0.5)
        recording.stop()
    assert isinstance(recording.trace, NoTrace) and "sends no samples" in recording.trace.reason


def test_a_kit_that_is_unplugged_is_no_trace(here: Session) -> None:
    with ExitStack() as plug:
        port, _ = plug.enter_context(kit())
        with Ppk2(port, 3.3).window(here) as recording:
            plug.close()
            time.sleep(0.2)
    assert isinstance(recording.trace, NoTrace) and "broke off" in recording.trace.reason


VOLTS = 2.0
METER = Ppk2("/dev/x", VOLTS)
SECONDS = 14


def plain(said: bytes) -> tuple[list[float], list[int]]:
    """What the driver makes of samples without a change of range, in microamperes."""
    counts = np.frombuffer(said, "<u4") & 0x3FFF
    return (counts * VOLT_A_COUNT / OHM * 1e6).tolist(), []


def stream(
    rng: np.random.Generator, *, drift: float = 0.0, late_s: float = 0.001, lost: slice = slice(0), most_a: float = 0.3
) -> list[Heard[bytes]]:
    """0.1 A, and 0.3 A from second 2 to second 12, in pieces of 1 ms as USB brings them to us, whose clock shows 50 s more."""
    sample_s = np.arange(SECONDS * 100_000) / 100_000 / (1 + drift)
    amperes = np.where((sample_s >= 2) & (sample_s < 12), most_a, 0.1)
    samples, kept = words(amperes), np.ones(len(amperes), bool)
    kept[lost] = False
    arrived_s = np.maximum.accumulate(sample_s[99::100] + 50 + rng.exponential(late_s, len(sample_s) // 100))
    return [
        Heard(0.0, float(arrived_s[i]), samples[i * 100 : (i + 1) * 100][kept[i * 100 : (i + 1) * 100]].tobytes())
        for i in range(len(arrived_s))
    ]


@pytest.mark.parametrize("more", [{}, {"drift": 5e-4}, {"late_s": 0.02}], ids=["plain", "drift", "late"])
def test_known_joules_are_found_on_our_clock(more: dict[str, float]) -> None:
    trace = METER._trace(stream(np.random.default_rng(3), **more), plain)  # type: ignore[arg-type]
    for begin_s, end_s, joules in ((51.0, 63.0, 0.4 + 6.0), (52.0, 62.0, 6.0)):
        found = energy(trace, begin_s, end_s)
        assert isinstance(found, Energy) and found.flags == ()
        own_j = (found.uncertainty_j**2 - (0.1 * found.joules) ** 2) ** 0.5  # without the sensor's own, which is perfect here
        assert abs(found.joules - joules) <= max(own_j, 0.001 * joules) and own_j < 0.01 * joules


def test_lost_samples_are_counted_and_clipped_ones_are_seen() -> None:
    trace = METER._trace(stream(np.random.default_rng(3), lost=slice(500_010, 500_050)), plain)
    assert trace.dropped == 40 and np.isclose(np.diff(trace.time_s).max(), 0.002)
    assert "drops" in energy(trace, 51.0, 63.0).flags
    clipped = energy(METER._trace(stream(np.random.default_rng(3), most_a=1.01), plain), 51.0, 63.0)
    assert isinstance(clipped, Invalid) and "clipped" in clipped.flags


def test_a_loss_that_the_counter_cannot_show_is_lost_sync() -> None:
    trace = METER._trace(stream(np.random.default_rng(3), lost=slice(600_000, 600_000 + 64 * 400)), plain)
    assert trace.dropped == 0 and trace.offset is not None and trace.offset.uncertainty_s > 0.1
    found = energy(trace, 51.0, 61.0)
    assert isinstance(found, Invalid) and "sync" in found.flags


def test_a_change_of_a_logic_input_is_an_edge_between_two_samples() -> None:
    samples = words(np.full(3000, 0.1))
    samples[1000:2000] |= np.uint32(1 << 24 + 3)
    heard = [Heard(0.0, 50 + i / 1000, samples[i * 100 : (i + 1) * 100].tobytes()) for i in range(30)]
    trace = replace(METER, input=3)._trace(heard, plain)
    assert trace.edges_s == pytest.approx(np.array([[999, 1000], [1999, 2000]]) / 100_000)
    assert not len(replace(METER, input=4)._trace(heard, plain).edges_s) and not len(METER._trace(heard, plain).edges_s)


def test_sample_numbers_leave_out_what_is_missing() -> None:
    assert sample_numbers(words(np.zeros(130)))[-1] == 129
    assert sample_numbers(np.delete(words(np.zeros(10)), [3, 4])).tolist() == [0, 1, 2, 5, 6, 7, 8, 9]


def test_too_few_samples_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InstrumentError, match="no 100 of them"):
        METER._trace([Heard(0.0, 1.0, words(np.zeros(50)).tobytes())], plain)
