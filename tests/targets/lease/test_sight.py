"""What a device says of its lease is believed only in its own form."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.lease.sight import MAX_HOLDER, Sight, parse_sight, parse_ticket, written
from targets.session import CommandFailed

BOOT, OTHER = "8ea67384-35b2-44d6-b384-07c48280904e", "00000000-0000-0000-0000-000000000000"
LINE = f"assay1 0123456789abcdef {BOOT} fedcba9876543210 1795256148123 held 100 1795256148 4026531836.77.2430034 0 ann@desk%20(process%207)"
SIGHT = Sight("/var/tmp/assay-lease", BOOT, 90, "3d1219c7 shed", "1.2.3", "000000000007", "alive", LINE)


def said(sight: Sight) -> bytes:
    return (
        f"place {sight.place}\nboot {sight.boot}\nuptime {sight.uptime_s}\nmachine {sight.machine}\nsession {sight.session}\n"
        f"top {sight.top} {sight.life}\nline {sight.line}\n"
    ).encode()


def test_a_look_is_read() -> None:
    assert parse_sight("shed", said(SIGHT)) == SIGHT
    ticket = SIGHT.ticket
    assert ticket is not None
    assert (ticket.token, ticket.expires, ticket.uid, ticket.holder) == (1795256148123, 100, 0, "ann@desk (process 7)")
    nothing = SIGHT._replace(top="", life="", line="")
    assert parse_sight("shed", said(nothing)) == nothing
    assert nothing.is_free and nothing.next_generation == "000000000001" and SIGHT.next_generation == "000000000008"


@pytest.mark.parametrize(
    ("change", "is_free"),
    [
        ({}, False),
        ({"uptime_s": 100}, False),
        ({"uptime_s": 101}, True),
        ({"boot": OTHER}, True),
        ({"life": "gone"}, True),
        ({"line": LINE.replace(" held ", " free ")}, True),
        ({"line": LINE.replace(" held ", " mine ")}, False),
        ({"line": ""}, False),
        ({"line": LINE + " more"}, False),
    ],
)
def test_a_lease_ends_by_uptime_reboot_and_the_end_of_its_session(change: dict[str, object], is_free: bool) -> None:
    assert SIGHT._replace(**change).is_free is is_free  # type: ignore[arg-type]


def test_a_device_is_known_by_what_it_was_installed_with_or_by_what_its_leases_pass_on() -> None:
    assert SIGHT.device == SIGHT._replace(line="", boot=OTHER).device != SIGHT._replace(machine="3d1219c7 barn").device
    nameless = SIGHT._replace(machine=" shed")
    assert nameless.device == "fedcba9876543210"
    assert nameless._replace(line="").device != nameless._replace(line="").device, "drawn by lot"


@pytest.mark.parametrize(
    "noise",
    [
        b"",
        said(SIGHT)[:-1],
        said(SIGHT) * 2,
        said(SIGHT._replace(place="../x")),
        said(SIGHT._replace(boot="x" * 36)),
        said(SIGHT._replace(top="7")),
        said(SIGHT._replace(top="٠٠٠٠٠٠٠٠٠٠٠٧")),
        said(SIGHT._replace(session="1.2")),
        said(SIGHT).replace(b"uptime 90", b"uptime 99999999999"),
    ],
)
def test_what_cannot_be_understood_is_told_and_bounded(noise: bytes) -> None:
    with pytest.raises(CommandFailed, match=r"target shed: it says of its lease what cannot be understood: b.{0,900}$"):
        parse_sight("shed", noise)


@given(st.binary(max_size=400))
def test_no_bytes_are_more_than_refused(noise: bytes) -> None:
    with pytest.raises(CommandFailed):
        parse_sight("shed", noise)
    assert parse_ticket(noise.decode("latin-1")) is None


@given(st.text())
def test_a_holders_name_is_one_word_there_and_harmless_here(name: str) -> None:
    word = written(name)
    assert 1 <= len(word) <= MAX_HOLDER and word.isascii() and word.isprintable() and " " not in word
    ticket = parse_ticket(LINE.rpartition(" ")[0] + " " + word)
    assert ticket is not None and ticket.holder.isprintable()
    if name.isprintable() and name and len(name.encode()) * 3 <= MAX_HOLDER:
        assert ticket.holder == name


@given(st.sampled_from(range(11)), st.text(st.characters(exclude_characters=" \n"), max_size=20))
def test_a_word_out_of_form_makes_it_no_ticket(position: int, word: str) -> None:
    words = LINE.split(" ")
    words[position] = word
    ticket = parse_ticket(" ".join(words))
    if ticket is not None:
        assert str(dataclasses.astuple(ticket)).isprintable()
