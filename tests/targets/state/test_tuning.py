"""A device tuned and put back, on a /sys that is a tree on disk: here, and over SSH with busybox's tools."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from targets.session import CommandFailed, Session
from targets.state import Wanted, journal, restore, tuned, tuning
from targets.state.settings import Setting
from targets.target import Target

Tree = Any
GHZ = 1_000_000_000
LIMIT = "devices/system/cpu/cpufreq/policy0/scaling_max_freq"


@pytest.fixture
def journals(tmp_path: Path) -> Path:
    return tmp_path / "journals"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "CONFIRM_S", 0.1)
    monkeypatch.setattr(tuning, "AGAIN_S", 0.01)


def test_a_clock_is_pinned_and_everything_is_put_back(
    session: Session, device: Target, sys_tree: Tree, journals: Path, journal_there: Path
) -> None:
    before = sys_tree.content()
    sys_tree_now = []
    with tuned(session, device, Wanted("performance", GHZ, (4,)), journals) as control:
        sys_tree_now = [
            sys_tree.settings(4),
            sys_tree.settings(0),
            (sys_tree.root / "devices/system/cpu/cpufreq/boost").read_text(),
        ]
        (here,) = journals.iterdir()
        for file in (here, journal_there):
            kept = json.loads(file.read_text())["settings"]
            assert {setting["before"] for setting in kept} == {"schedutil", "2400000", "1"}
    assert sys_tree_now == [("performance", "1000000", "1000000"), ("ondemand", "600000", "1500000"), "0\n"]
    assert (control.tier, control.reason, dict(control.held_hz)) == ("pinned", None, {"policy4": GHZ})
    assert all(setting.after == setting.wanted for setting in control.settings)
    assert sys_tree.content() == before
    assert not list(journals.iterdir()) and not json.loads(journal_there.read_text())["settings"]
    json.dumps(control.to_json())


@pytest.mark.parametrize("governor", ["performance", "powersave"])
def test_a_steady_governor_pins_where_the_clock_is_at_its_limit(
    local_session: Session, local_device: Target, sys_tree: Tree, journals: Path, governor: str
) -> None:
    expected = {"performance": 1_500_000_000, "powersave": 600_000_000}[governor]
    sys_tree.put("scaling_cur_freq", str(expected // 1000))
    with tuned(local_session, local_device, Wanted(governor, None, (0,)), journals) as control:
        assert sys_tree.settings() == (governor, "600000", "1500000")
    assert (control.tier, dict(control.held_hz)) == ("pinned", {"policy0": expected})


def test_a_clock_that_does_not_follow_is_only_requested(
    local_session: Session, local_device: Target, sys_tree: Tree, journals: Path
) -> None:
    before = sys_tree.content()
    with tuned(local_session, local_device, Wanted(frequency_hz=GHZ, cpus=(1,)), journals) as control:
        assert sys_tree.settings() == ("ondemand", "1000000", "1000000")
    assert (control.tier, control.reason) == ("requested", "policy0 was set to 1000 MHz and runs at 1500")
    assert sys_tree.content() == before


def test_a_governor_that_lets_the_clock_float_is_only_requested(
    local_session: Session, local_device: Target, sys_tree: Tree, journals: Path
) -> None:
    with tuned(local_session, local_device, Wanted("schedutil", cpus=(0,)), journals) as control:
        assert sys_tree.settings()[0] == "schedutil"
    assert (control.tier, control.reason) == ("requested", "the governor schedutil lets the clock of policy0 float")


def test_without_permission_it_is_uncontrolled_and_says_so(
    local_session: Session, local_device: Target, sys_tree: Tree, journals: Path
) -> None:
    for name in ("scaling_min_freq", "scaling_max_freq"):
        sys_tree.path(name).unlink()
        sys_tree.path(name).symlink_to("/proc/sys/kernel/cap_last_cap")  # not even root may write there
    before = sys_tree.content()
    with tuned(local_session, local_device, Wanted(frequency_hz=GHZ, cpus=(0,)), journals) as control:
        assert (sys_tree.root / "devices/system/cpu/cpufreq/boost").read_text() == "0\n"
    assert control.tier == "requested" and "scaling_max_freq stays 40, not 1000000: " in str(control.reason)
    (sys_tree.root / "devices/system/cpu/cpufreq/boost").unlink()
    with tuned(local_session, local_device, Wanted(frequency_hz=GHZ, cpus=(0,)), journals) as control:
        pass
    assert control.tier == "uncontrolled" and "ermission denied" in str(control.reason)
    assert {name: text for name, text in before.items() if not name.endswith("boost")} == sys_tree.content()


def test_a_device_without_cpufreq_is_uncontrolled(
    local_session: Session, local_device: Target, sys_tree: Tree, journals: Path
) -> None:
    shutil.rmtree(sys_tree.root)
    with tuned(local_session, local_device, Wanted("performance", GHZ), journals) as control:
        assert (control.tier, control.reason) == ("uncontrolled", "no cpufreq: the clock cannot be set here")
    assert not journals.exists()


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(cpus=(0,))])
def test_what_asks_for_nothing_changes_nothing(
    local_session: Session, local_device: Target, sys_tree: Tree, journals: Path, wanted: Wanted
) -> None:
    before = sys_tree.content()
    with tuned(local_session, local_device, wanted, journals) as control:
        assert sys_tree.content() == before
    assert control == tuning.Control("uncontrolled", tuning.NOTHING) and not journals.exists()


def test_an_emulated_device_is_not_touched(local_session: Session, local_device: Target, sys_tree: Tree, journals: Path) -> None:
    before = sys_tree.content()
    emulated = dataclasses.replace(local_device, origin="emulated")
    with tuned(local_session, emulated, Wanted("performance"), journals) as control:
        assert sys_tree.content() == before
    assert (control.tier, control.reason) == ("uncontrolled", "what is emulated has no clock of its own")
    assert restore(local_session, emulated, journals) == ()


def test_a_device_that_is_as_wanted_already_needs_no_permission(
    local_session: Session, local_device: Target, sys_tree: Tree, journals: Path
) -> None:
    sys_tree.put("scaling_governor", "performance")
    with tuned(local_session, local_device, Wanted("performance", cpus=(0,)), journals) as control:
        assert not journals.exists()
    assert control.tier == "pinned" and [s.before for s in control.settings] == ["performance"]


def test_a_clock_that_one_cluster_lacks_is_told_and_the_others_are_set(
    local_session: Session, local_device: Target, sys_tree: Tree, journals: Path
) -> None:
    with tuned(local_session, local_device, Wanted(frequency_hz=600_000_000), journals) as control:
        assert sys_tree.settings(0)[1:] == ("600000", "600000") and sys_tree.settings(4)[1:] == ("1000000", "2400000")
    assert control.tier == "requested"
    assert control.reason == "policy4 cannot be held at 600 MHz, only at 1000, 2400 MHz"


def test_odd_policies_are_left_alone_and_named(
    local_session: Session, local_device: Target, sys_tree: Tree, journals: Path
) -> None:
    sys_tree.put("scaling_governor", "Odd \x1b[31m governor")
    sys_tree.path("scaling_governor", 4).unlink()
    before = sys_tree.content()
    with tuned(local_session, local_device, Wanted("performance"), journals) as control:
        assert sys_tree.content() == before
    assert control.tier == "uncontrolled"
    assert "policy0/scaling_governor reads as `Odd ?[31m governor`: left alone" in str(control.reason)
    assert "policy4/scaling_governor is not there" in str(control.reason)


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt(), SystemExit(1)])
def test_it_is_put_back_however_the_measurement_ends(
    local_session: Session, local_device: Target, sys_tree: Tree, journals: Path, error: BaseException
) -> None:
    before = sys_tree.content()
    with pytest.raises(type(error)), tuned(local_session, local_device, Wanted("performance"), journals):
        assert sys_tree.content() != before
        raise error
    assert sys_tree.content() == before


class Cut:
    """A session whose link is cut at some moment."""

    def __init__(self, session: Session) -> None:
        self.session, self.is_cut = session, False

    def run(self, *words: Any, **how: Any) -> Any:
        if self.is_cut:
            raise CommandFailed("the link is cut")
        return self.session.run(*words, **how)


def abandoned(session: Session, target: Target, journals: Path, wanted: Wanted) -> None:
    """What a killed harness leaves: the link is gone before anything can be put back."""
    link: Any = Cut(session)
    with pytest.raises(KeyboardInterrupt) as ended, tuned(link, target, wanted, journals):
        link.is_cut = True
        raise KeyboardInterrupt
    assert "not restored yet: the link is cut" in ended.value.__notes__


@pytest.mark.parametrize("lost", ["nothing", "here", "there"])
def test_the_next_connection_puts_back_from_either_journal(
    session: Session, device: Target, sys_tree: Tree, journals: Path, journal_there: Path, lost: str
) -> None:
    before = sys_tree.content()
    abandoned(session, device, journals, Wanted("performance", GHZ, (4,)))
    assert sys_tree.content() != before
    if lost == "here":
        shutil.rmtree(journals)
    if lost == "there":
        journal_there.unlink()
    (told,) = restore(session, device, journals)
    assert "left tuned by an earlier run; put back as it was: " in told and "policy4/scaling_governor" in told
    assert sys_tree.content() == before
    assert restore(session, device, journals) == ()


def test_a_run_begins_by_putting_back_what_the_last_one_left(
    local_session: Session, local_device: Target, sys_tree: Tree, journals: Path
) -> None:
    before = sys_tree.content()
    told: list[str] = []
    abandoned(local_session, local_device, journals, Wanted("performance"))
    with tuned(local_session, local_device, Wanted("powersave"), journals, tell=told.append) as control:
        assert {setting.before for setting in control.settings} == {"ondemand", "schedutil"}
    assert sys_tree.content() == before and len(told) == 1


def test_an_old_journal_here_does_not_undo_what_came_after_it(
    local_session: Session, local_device: Target, sys_tree: Tree, journals: Path
) -> None:
    """The device was put back over another way (another host, another entry); then its owner chose a governor."""
    abandoned(local_session, local_device, journals, Wanted("performance"))
    restore(local_session, local_device, journals.with_name("another host"))
    sys_tree.put("scaling_governor", "performance")
    assert restore(local_session, local_device, journals) == ()
    assert sys_tree.get("scaling_governor") == "performance"


def test_what_another_changed_meanwhile_is_left_and_said(
    local_session: Session, local_device: Target, sys_tree: Tree, journals: Path
) -> None:
    told: list[str] = []
    with tuned(local_session, local_device, Wanted("performance"), journals, tell=told.append):
        sys_tree.put("scaling_governor", "powersave")
    assert sys_tree.get("scaling_governor") == "powersave" and sys_tree.get("scaling_governor", 4) == "schedutil"
    assert told == [
        "device: another changed devices/system/cpu/cpufreq/policy0/scaling_governor meanwhile, from performance to powersave; left so"
    ]


def test_a_setting_that_went_with_its_cpu_is_no_obstacle(
    local_session: Session, local_device: Target, sys_tree: Tree, journals: Path
) -> None:
    with tuned(local_session, local_device, Wanted("performance"), journals):
        shutil.rmtree(sys_tree.path("", 4))
    assert sys_tree.get("scaling_governor") == "ondemand" and restore(local_session, local_device, journals) == ()


def test_a_reboot_has_reset_the_clock(local_session: Session, local_device: Target, sys_tree: Tree, journals: Path) -> None:
    setting = Setting(LIMIT, "600000", "1500000", "1500000")
    journal.keep(local_session, local_device, journals, journal.Journal("a" * 32, "another-boot", (setting,)))
    assert restore(local_session, local_device, journals) == ()
    assert sys_tree.get("scaling_max_freq") == "1500000"


def test_a_device_that_refuses_its_old_value_is_said_to_be_left_tuned(
    local_session: Session, local_device: Target, sys_tree: Tree, journals: Path
) -> None:
    sys_tree.path("scaling_max_freq").unlink()
    sys_tree.path("scaling_max_freq").symlink_to("/proc/sys/kernel/cap_last_cap")
    setting = Setting(LIMIT, "1500000", "40", "40")
    journal.begin(local_session, local_device, journals, (setting,))
    for _ in range(2):  # the journal stays
        with pytest.raises(CommandFailed, match=r"left tuned: \S*scaling_max_freq is 40, not 1500000 \(.*Set these by hand"):
            restore(local_session, local_device, journals)


def test_nothing_is_changed_where_the_host_can_keep_no_journal(
    local_session: Session, local_device: Target, sys_tree: Tree, tmp_path: Path
) -> None:
    before = sys_tree.content()
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(CommandFailed, match=r"no restore journal can be kept at .*(EEXIST|ENOTDIR)"),
        tuned(local_session, local_device, Wanted("performance"), tmp_path / "file"),
    ):
        raise AssertionError("not reached")
    assert sys_tree.content() == before


def test_nothing_is_changed_where_the_devices_disk_is_full(
    local_session: Session, local_device: Target, sys_tree: Tree, journals: Path, programs: Callable[[str, str], None]
) -> None:
    before = sys_tree.content()
    programs("dd", f"exec {shutil.which('dd')} of=/dev/full")
    with (
        pytest.raises(CommandFailed, match=r"kept on the device: .*No space left"),
        tuned(local_session, local_device, Wanted("performance"), journals),
    ):
        raise AssertionError("not reached")
    assert sys_tree.content() == before


def test_a_disk_that_fills_up_later_does_not_keep_it_from_being_put_back(
    local_session: Session, local_device: Target, sys_tree: Tree, journals: Path, programs: Callable[[str, str], None]
) -> None:
    before = sys_tree.content()
    with tuned(local_session, local_device, Wanted("performance"), journals):
        programs("dd", f"exec {shutil.which('dd')} of=/dev/full")
    assert sys_tree.content() == before and restore(local_session, local_device, journals) == ()


ANDROID = {
    "dumpsys": """
case "$*" in
battery) cat $at/battery ;;
"battery unplug") echo "  (UPDATES STOPPED -- use 'reset' to restart)" >$at/battery ;;
"battery reset") echo level: 80 >$at/battery ;;
"deviceidle get force") cat $at/deviceidle ;;
"deviceidle force-idle") echo true >$at/deviceidle ;;
"deviceidle unforce") echo false >$at/deviceidle ;;
esac""",
    "settings": """
case $1 in
get) cat $at/$2.$3 2>/dev/null || echo null ;;
put) echo "$4" >$at/$2.$3 ;;
delete) rm $at/$2.$3 ;;
esac""",
    "cmd": "exit 1",
    "am": 'echo "$*" >>$at/broadcasts',
}


@pytest.fixture
def phone(programs: Callable[[str, str], None], tmp_path: Path) -> Path:
    """Folder of an Android's state."""
    folder = tmp_path / "phone"
    folder.mkdir()
    for name, script in ANDROID.items():
        programs(name, f"at='{folder}'\n{script}")
    for name, text in (
        ("battery", "level: 80"),
        ("deviceidle", "false"),
        ("global.airplane_mode_on", "0"),
        ("system.screen_brightness_mode", "1"),
    ):
        (folder / name).write_text(f"{text}\n")
    return folder


def phone_state(phone: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in phone.iterdir() if path.name != "broadcasts"}


def test_a_phone_is_quiet_while_it_is_timed(local_session: Session, local_device: Target, phone: Path, journals: Path) -> None:
    before = phone_state(phone)
    with tuned(local_session, local_device, Wanted(android=True), journals) as control:
        quiet = phone_state(phone)
    assert (quiet["global.airplane_mode_on"], quiet["deviceidle"], quiet["system.accelerometer_rotation"]) == (
        "1\n",
        "true\n",
        "0\n",
    )
    assert "UPDATES STOPPED" in quiet["battery"]
    assert (control.tier, control.reason) == ("uncontrolled", tuning.NOTHING) and len(control.settings) == 5
    assert phone_state(phone) == before
    assert [line.split()[-1] for line in (phone / "broadcasts").read_text().splitlines()] == ["true", "false"]


def test_androids_settings_outlive_a_reboot_and_are_put_back_after_it(
    local_session: Session, local_device: Target, phone: Path, journals: Path
) -> None:
    before = phone_state(phone)
    abandoned(local_session, local_device, journals, Wanted(android=True))
    for file in (phone / "battery", phone / "deviceidle"):  # forgotten by the reboot
        file.write_text({"battery": "level: 79\n", "deviceidle": "false\n"}[file.name])
    kept = journal.load(local_session, local_device, journals).journal
    assert kept is not None
    journal.keep(local_session, local_device, journals, dataclasses.replace(kept, boot_id="another-boot"))
    restore(local_session, local_device, journals)
    assert phone_state(phone) == before | {"battery": "level: 79\n"}


@pytest.mark.parametrize(
    ("transport", "address", "is_on_air"),
    [
        ("adb", "R58M123ABC", False),
        ("adb", "10.0.0.7:5555", True),
        ("adb", "adb-R58-x._adb-tls-connect._tcp", True),
        ("ssh", "phone", True),
    ],
)
def test_a_phone_that_is_reached_over_the_air_keeps_its_air(
    local_session: Session, local_device: Target, phone: Path, journals: Path, transport: str, address: str, is_on_air: bool
) -> None:
    target = dataclasses.replace(local_device, transport=transport, address=address)
    with tuned(local_session, target, Wanted(android=True), journals) as control:
        assert phone_state(phone)["global.airplane_mode_on"] == ("0\n" if is_on_air else "1\n")
        assert phone_state(phone)["deviceidle"] == "true\n"
    assert ("would cut the way" in str(control.reason)) == is_on_air


def test_what_is_no_android_cannot_be_quieted(local_session: Session, local_device: Target, journals: Path) -> None:
    with tuned(local_session, local_device, Wanted(android=True), journals) as control:
        assert str(control.reason).endswith("no Android: there is nothing to keep quiet")
