"""Who has which device, as people are shown it."""

from __future__ import annotations

from pathlib import Path

from harness import leases
from targets.lease import leased
from targets.target import Target
from targets.transports import connect


def here(tmp_path: Path) -> Target:
    return Target("here", work_dir=str(tmp_path / "work"))


def test_devices_are_told_free_held_unreadable_or_unreachable(tmp_path: Path, own_leases: Path) -> None:
    away = Target("away", transport="ssh", isa="aarch64", address="127.0.0.1", port=1)
    odd = Target("odd", work_dir=str(tmp_path / "work"), lease_dir=str(tmp_path / "odd"))
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "000000000001").write_text("a note\n")
    targets = {target.name: target for target in (here(tmp_path), away, odd)}
    rows = {row.target: row for row in leases.rows(targets)}
    assert (rows["here"], rows["odd"]) == (leases.Row("here", "free"), leases.Row("odd", "unreadable"))
    assert rows["away"].state == "unreachable" and "127.0.0.1:1: nothing listens there" in (rows["away"].reason or "")
    assert not own_leases.exists(), "to look changes nothing"


def test_who_has_it_and_for_how_long(tmp_path: Path) -> None:
    target = here(tmp_path)
    with connect(target) as session, leased(session, target, holder="ann@desk", expiry_s=500) as held:
        (row,) = leases.rows({"here": target})
        assert (row.state, row.holder, row.token, row.device) == ("held", "ann@desk", held.lease.token, held.lease.device)
        assert row.expires_s is not None and 0 < row.expires_s <= 500 and (row.since or "").endswith("+00:00")
    (row,) = leases.rows({"here": target})
    assert (row.state, row.holder, row.token) == ("free", None, held.lease.token)


def test_what_was_broken_is_told_and_its_token_is_behind(tmp_path: Path) -> None:
    target = here(tmp_path)
    with connect(target) as session, leased(session, target, holder="ann@desk") as held:
        before = leases.broken(target)
    assert (before.state, before.holder, before.token) == ("held", "ann@desk", held.lease.token)
    (row,) = leases.rows({"here": target})
    assert row.state == "free" and (row.token or 0) > held.lease.token
