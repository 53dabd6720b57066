"""The journal of what is to be put back: kept on both sides, and believed only where it says nothing but what Assay would have written."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from targets.session import CommandFailed, Session
from targets.state import journal, restore
from targets.state.settings import Setting
from targets.target import Target

GOVERNOR = "devices/system/cpu/cpufreq/policy0/scaling_governor"
AIRPLANE = "android/global/airplane_mode_on"
SETTING = Setting(GOVERNOR, "ondemand", "performance", None)
GOOD: dict[str, Any] = {
    "schema": 1,
    "id": "0" * 32,
    "boot_id": "",
    "settings": [{"name": GOVERNOR, "before": "powersave", "wanted": "performance", "after": None}],
}


@pytest.fixture
def journals(tmp_path: Path) -> Path:
    return tmp_path / "journals"


def test_it_comes_back_as_it_was_kept_and_is_for_its_owner_alone(
    session: Session, device: Target, journals: Path, journal_there: Path
) -> None:
    kept = journal.begin(session, device, journals, (SETTING,))
    assert journal.load(session, device, journals) == journal.Found(kept.boot_id, kept)
    (here,) = journals.iterdir()
    assert here.read_text() == journal_there.read_text() == kept.to_json()
    assert stat.S_IMODE(journal_there.stat().st_mode) == 0o600 and stat.S_IMODE(journal_there.parent.stat().st_mode) == 0o700
    journal.clear(session, device, journals, kept)
    assert journal.load(session, device, journals).journal is None


def test_of_another_boot_only_what_outlives_it_is_left(local_session: Session, local_device: Target, journals: Path) -> None:
    settings = (SETTING, Setting(AIRPLANE, "0", "1", "1"), Setting("android/battery", "reset", "unplug", "unplug"))
    journal.keep(local_session, local_device, journals, journal.Journal("1" * 32, "another", settings))
    found = journal.load(local_session, local_device, journals).journal
    assert found is not None and [setting.name for setting in found.settings] == [AIRPLANE]
    journal.keep(
        local_session, local_device, journals, journal.Journal("1" * 32, "", settings)
    )  # a boot that is not known is this one
    found = journal.load(local_session, local_device, journals).journal
    assert found is not None and found.settings == settings


def test_the_devices_copy_counts_where_there_are_two(
    local_session: Session, local_device: Target, journals: Path, journal_there: Path
) -> None:
    first = journal.begin(local_session, local_device, journals, (SETTING,))
    journal_there.write_text(journal.Journal("2" * 32, first.boot_id, ()).to_json())
    assert journal.load(local_session, local_device, journals).journal is None
    journal_there.unlink()
    assert journal.load(local_session, local_device, journals).journal == first


def forged(**changes: Any) -> str:
    return json.dumps(GOOD | changes)


def with_setting(**changes: Any) -> str:
    return forged(settings=[GOOD["settings"][0] | changes])


@pytest.mark.parametrize(
    "text",
    [
        "x", "[]", "null", "{}", "\x00\xff", "[" * 100_000, forged(schema=2), forged(id="x"), forged(id=1), forged(boot_id=None), forged(settings=7),
        forged(settings=[GOOD["settings"][0]] * 5000), with_setting(name="../../../../etc/cron.d/x"), with_setting(name="/etc/passwd"),
        with_setting(name=f"{GOVERNOR}/../../../../../../../../tmp/x"), with_setting(before="x\nreboot"), with_setting(before="$(reboot)"),
        with_setting(before=1), with_setting(wanted=""), with_setting(after=3), with_setting(extra=1), with_setting(name="android/secure/adb_enabled"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["here", "there"])
def test_a_forged_journal_is_not_believed(
    local_session: Session, local_device: Target, sys_tree: Any, journals: Path, journal_there_local: Path, text: str, place: str
) -> None:
    before = sys_tree.content()
    journal.begin(local_session, local_device, journals, (SETTING,))  # so that there are both files
    (here,) = journals.iterdir()
    for file in (here, journal_there_local):
        file.unlink()
    (here if place == "here" else journal_there_local).write_text(text, encoding="latin-1")
    (told,) = restore(local_session, local_device, journals)
    assert "none that Assay wrote" in told and sys_tree.content() == before


def test_a_journal_that_another_account_planted_is_not_read(
    local_session: Session,
    local_device: Target,
    sys_tree: Any,
    journals: Path,
    programs: Callable[[str, str], None],
    tmp_path: Path,
) -> None:
    """The folder is a link, or is not this account's own."""
    place = tmp_path / "planted"
    place.mkdir()
    (place / journal.file_there(local_device)).write_text(json.dumps(GOOD))
    link = Path(f"/var/tmp/assay-state-{place.stat().st_ino}")
    link.symlink_to(place)
    try:
        programs("id", f"echo {place.stat().st_ino}")
        before = sys_tree.content()
        assert restore(local_session, local_device, journals) == () and sys_tree.content() == before
        with pytest.raises(CommandFailed, match="is not this account's own"):
            journal.begin(local_session, local_device, journals, (SETTING,))
        assert not list(journals.iterdir()) and [path.name for path in place.iterdir()] == [journal.file_there(local_device)]
    finally:
        link.unlink()


def test_a_genuine_one_is_believed(
    local_session: Session, local_device: Target, sys_tree: Any, journals: Path, journal_there_local: Path
) -> None:
    journal.begin(local_session, local_device, journals, (SETTING,))
    shutil.rmtree(journals)
    journal_there_local.write_text(json.dumps(GOOD))
    restore(local_session, local_device, journals)
    assert sys_tree.get("scaling_governor") == "powersave"


def test_an_entry_that_now_means_another_device_has_another_journal(
    local_session: Session, local_device: Target, journals: Path
) -> None:
    journal.begin(local_session, local_device, journals, (SETTING,))
    moved = Target(local_device.name, address="elsewhere", sysfs=local_device.sysfs)
    (here,) = journals.iterdir()
    assert journal.places(moved, journals).split()[0] != str(here) == journal.places(local_device, journals).split()[0]
