"""What a machine is, from fake /proc and /sys trees of known devices, and from the machine this runs on."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import pytest
from device_tree import RASPBERRY_PI_4, absent, tree

from targets.facts import ITSELF, KEY_FIELDS, machine_facts, machine_key
from targets.here import session_here
from targets.now import state
from targets.session import Session
from targets.target import Target


def test_a_raspberry_pi_is_known(session: Session, tmp_path: Path) -> None:
    facts = machine_facts(session, tree(tmp_path, RASPBERRY_PI_4))
    assert {**facts, "isa": "?"} == {
        "cpu_model": "Raspberry Pi 4 Model B Rev 1.1",
        "cpu_parts": ["0x41/0xd08"],
        "isa": "?",
        "isa_flags": ["asimd", "crc32", "evtstrm", "fp"],
        "cpus": 4,
        "cores": 4,
        "sockets": 1,
        "cpu_max_hz": [1_500_000_000],
        "ram_bytes": 3_884_368 * 1024,
        "ram_mib": 3840,
        "board": "Raspberry Pi 4 Model B Rev 1.1",
        "virtualization": "",
        "kernel": "6.1.21-v8+",
        "os": "Debian GNU/Linux 11 (bullseye)",
        "boot_id": "8ea67384-35b2-44d6-b384-07c48280904e",
    }


def test_two_threads_of_a_core_count_as_one_core(session: Session, tmp_path: Path) -> None:
    files = {}
    for cpu in range(16):  # cpu10 sorts before cpu2 as text
        files[f"sys/devices/system/cpu/cpu{cpu}/topology/core_id"] = f"{cpu % 4}\n"
        files[f"sys/devices/system/cpu/cpu{cpu}/topology/physical_package_id"] = f"{cpu // 8}\n"
    facts = machine_facts(session, tree(tmp_path, files))
    assert (facts["cpus"], facts["cores"], facts["sockets"]) == (16, 8, 2)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/cpuinfo": "flags\t: fpu hypervisor sse\n"}, "a hypervisor"),
        ({"sys/class/dmi/id/sys_vendor": "QEMU\n"}, "QEMU"),
        ({"sys/hypervisor/type": "xen\n"}, "xen"),
        ({"proc/cpuinfo": "flags\t: fpu sse\n", "sys/class/dmi/id/sys_vendor": "Dell Inc.\n"}, ""),
    ],
)
def test_a_hypervisor_is_hinted_at(session: Session, tmp_path: Path, files: dict[str, str], expected: str) -> None:
    assert machine_facts(session, tree(tmp_path, files))["virtualization"] == expected


def test_kinds_of_cores_are_told_apart(session: Session, tmp_path: Path) -> None:
    cores = "".join(f"CPU implementer\t: 0x41\nCPU part\t: {part}\n" for part in ("0xd05", "0xd05", "0xd0b"))
    assert machine_facts(session, tree(tmp_path, {"proc/cpuinfo": cores}))["cpu_parts"] == ["0x41/0xd05", "0x41/0xd0b"]


def test_what_is_not_there_is_null_with_a_reason(session: Session, tmp_path: Path) -> None:
    root = tree(tmp_path, {})
    facts = machine_facts(session, root)
    without_files = {"isa", "cpu_parts", "virtualization"}
    assert {name for name, value in facts.items() if absent(value)} == set(facts) - without_files
    assert machine_key(facts)


@pytest.mark.parametrize("field", KEY_FIELDS)
def test_the_machine_key_changes_with_each_listed_field(session: Session, tmp_path: Path, field: str) -> None:
    facts = machine_facts(session, tree(tmp_path, RASPBERRY_PI_4))
    assert machine_key({**facts, field: "something else"}) != machine_key(facts)


def test_the_machine_key_ignores_the_boot_and_small_change_of_memory(session: Session, tmp_path: Path) -> None:
    facts = machine_facts(session, tree(tmp_path, RASPBERRY_PI_4))
    files = RASPBERRY_PI_4 | {
        "proc/sys/kernel/random/boot_id": "another\n",
        "proc/meminfo": RASPBERRY_PI_4["proc/meminfo"].replace("3884368", "3884000"),
        "proc/loadavg": "9 9 9 1/1 1\n",
    }
    (tmp_path / "later").mkdir()
    later = machine_facts(session, tree(tmp_path / "later", files))
    assert later != facts and machine_key(later) == machine_key(facts)


def test_a_listed_field_may_not_be_left_out(session: Session, tmp_path: Path) -> None:
    facts = dict(machine_facts(session, tree(tmp_path, RASPBERRY_PI_4)))
    del facts["kernel"]
    with pytest.raises(KeyError, match="kernel"):
        machine_key(facts)


def test_this_machine_is_itself(session: Session) -> None:
    facts = machine_facts(session)
    assert facts["kernel"] == platform.release() and facts["isa"] == platform.machine()
    assert facts["cpus"] >= (os.cpu_count() or 1)
    assert facts["ram_bytes"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert machine_key(facts) == machine_key(machine_facts(session))
    json.dumps(facts, allow_nan=False)


def test_android_says_what_it_is_and_no_serial_number(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    properties = {
        "ro.product.manufacturer": "Google", "ro.product.model": "Pixel 6", "ro.board.platform": "gs101", "ro.serialno": "R58M123ABC",
        "ro.product.cpu.abi": "arm64-v8a", "ro.build.version.release": "14", "ro.build.version.incremental": "11070983",
    }  # fmt: skip
    said = "\n".join(f"[{key}]: [{value}]" for key, value in properties.items())
    (tools / "getprop").write_text(f"#!/bin/sh\ncat <<'END'\n{said}\n[broken\nEND\n")
    (tools / "getprop").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    phone = {name: text for name, text in RASPBERRY_PI_4.items() if "device-tree" not in name and "os-release" not in name}
    phone["proc/cpuinfo"] = phone["proc/cpuinfo"].split("Hardware")[0]
    facts = machine_facts(session, tree(tmp_path, phone))
    assert (facts["board"], facts["os"], facts["cpu_model"]) == ("Google Pixel 6", "Android 14 (11070983)", "gs101")
    assert facts["android"]["abi"] == "arm64-v8a" and "R58M" not in json.dumps(facts)


def test_an_emulated_device_is_what_it_says_it_is(tmp_path: Path) -> None:
    """Not the machine that emulates it, whose clock and temperature are not its own."""
    told = "isa: vax\ncpu: 780\nemulator: simh 4\n"
    emulated = session_here(
        Target("vax", work_dir=str(tmp_path / "work")),
        lambda argv, _folder, _environment: ["printf", told] if argv[0] == ITSELF else argv,
    )
    root = tree(tmp_path, RASPBERRY_PI_4)
    facts, now = machine_facts(emulated, root), state(emulated, root)
    host = machine_facts(session_here(Target("host", work_dir=str(tmp_path / "work"))), root)
    assert (facts["isa"], facts["cpu_model"], facts["virtualization"]) == ("vax", "780", "simh 4")
    assert facts["emulation_host"] == host["cpu_model"] and facts["ram_bytes"] == host["ram_bytes"]
    hidden = [facts[name] for name in ("isa_flags", "cpus", "cores", "sockets", "cpu_max_hz", "board")]
    assert {value["reason"] for value in [*hidden, now["cpufreq"], now["temperatures"]]} == {"emulated"}
    assert machine_key(facts) != machine_key(host)
