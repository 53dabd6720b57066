"""Places of a real coordinator, whose exporter offers a real sshd: acquired and released however a session ends, never taken from another."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from targets.interrupt import interruptible
from targets.session import CommandFailed, Unreachable
from targets.target import Target
from targets.transports import connect
from targets.transports.labgrid import Coordinator, Place, place_of

pytestmark = pytest.mark.peers
OTHER = {"user": "other", "host": "elsewhere"}


def test_a_session_holds_the_place_and_releases_it(labgrid: Any, labgrid_target: Target) -> None:
    assert labgrid.holder() == ""
    with connect(labgrid_target) as session:
        assert labgrid.holder() == place_of(labgrid_target).user
        assert session.run(["echo", "there"], timeout_s=30).stdout == b"there\n"
    assert labgrid.holder() == ""


def test_the_environment_names_the_coordinator(labgrid: Any, labgrid_target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LG_COORDINATOR", labgrid.coordinator)
    with connect(replace(labgrid_target, address="bench")) as session:
        assert session.run(["true"], timeout_s=30).exit_status == 0


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_inside_releases_it(labgrid: Any, labgrid_target: Target, error: type[BaseException]) -> None:
    with pytest.raises(error), connect(labgrid_target):
        raise error
    assert labgrid.holder() == ""


def test_what_ssh_refuses_releases_it(labgrid: Any, labgrid_target: Target, own_home: Path) -> None:
    """Also: labgrid's own way of not looking at host keys is not ours."""
    (own_home / ".ssh" / "known_hosts").unlink()
    with pytest.raises(CommandFailed, match=r"host key of .* is not known"), connect(labgrid_target):
        pass
    assert labgrid.holder() == ""


def test_the_last_of_several_sessions_releases_it(labgrid: Any, labgrid_target: Target) -> None:
    with connect(labgrid_target):
        with connect(labgrid_target), connect(labgrid_target):
            pass
        assert labgrid.holder() == place_of(labgrid_target).user
    assert labgrid.holder() == ""


HOLDER = """
import sys, time
from targets.target import Target
from targets.transports import connect
address, key_file, work_dir = sys.argv[1:]
with connect(Target("device", transport="labgrid", isa="x86_64", address=address, key_file=key_file, work_dir=work_dir)):
    print("in", flush=True)
    time.sleep(300)
"""


def other_process(target: Target) -> subprocess.Popen[str]:
    """A harness that holds the place."""
    command = [sys.executable, "-c", HOLDER, target.address, target.key_file, target.work_dir]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "in\n"
    return process


def test_what_a_killed_harness_holds_is_taken_over_and_told(
    labgrid: Any, labgrid_target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    harness = other_process(labgrid_target)
    harness.kill()
    harness.communicate()
    assert labgrid.holder() == place_of(labgrid_target).user
    with connect(labgrid_target):
        assert [record.levelno for record in caplog.records if "taken over" in record.message] == [logging.WARNING]
    assert labgrid.holder() == ""
    caplog.clear()
    with connect(labgrid_target):
        assert not caplog.records


def test_another_harness_of_the_same_user_keeps_itsplace_of(
    labgrid: Any, labgrid_target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    harness = other_process(labgrid_target)
    with connect(labgrid_target):
        assert not caplog.records
    assert labgrid.holder() == place_of(labgrid_target).user
    harness.send_signal(signal.SIGINT)
    harness.communicate(timeout=60)
    assert labgrid.holder() == ""


def test_a_place_acquired_by_hand_stays_acquired(labgrid: Any, labgrid_target: Target) -> None:
    labgrid.client("-p", "bench", "acquire")
    try:
        with connect(labgrid_target) as session:
            assert session.run(["true"], timeout_s=30).exit_status == 0
        assert labgrid.holder() == place_of(labgrid_target).user
    finally:
        labgrid.ask("ReleasePlace", placename="bench")


def test_a_place_of_another_is_unreachable_and_names_its_holder(labgrid: Any, labgrid_target: Target) -> None:
    labgrid.client("-p", "bench", "acquire", **OTHER)
    try:
        with pytest.raises(Unreachable, match="held by elsewhere/other; ask them"), connect(replace(labgrid_target, connect_s=1)):
            pass
        assert labgrid.holder() == "elsewhere/other"
        releasing = threading.Timer(1.0, labgrid.ask, ("ReleasePlace",), {"placename": "bench"})
        releasing.start()
        with connect(replace(labgrid_target, connect_s=60)):
            assert labgrid.holder() == place_of(labgrid_target).user
        releasing.join()
    finally:
        if labgrid.holder():
            labgrid.ask("ReleasePlace", placename="bench")


def test_an_interrupt_ends_the_waiting(labgrid: Any, labgrid_target: Target) -> None:
    """Of a thread that works a device, too."""
    labgrid.client("-p", "bench", "acquire", **OTHER)
    stop = threading.Event()
    stopping = threading.Timer(0.5, stop.set)
    stopping.start()
    try:
        with interruptible(by=stop), pytest.raises(KeyboardInterrupt), connect(replace(labgrid_target, connect_s=300)):
            pass
        assert labgrid.holder() == "elsewhere/other"
    finally:
        stopping.join()
        labgrid.ask("ReleasePlace", placename="bench")


def test_a_place_whose_holder_lets_us_in_is_used_and_stays_theirs(labgrid: Any, labgrid_target: Target) -> None:
    labgrid.client("-p", "bench", "acquire", **OTHER)
    try:
        labgrid.client("-p", "bench", "allow", place_of(labgrid_target).user, **OTHER)
        with connect(replace(labgrid_target, connect_s=1)) as session:
            assert session.run(["true"], timeout_s=30).exit_status == 0
        assert labgrid.holder() == "elsewhere/other"
    finally:
        labgrid.ask("ReleasePlace", placename="bench")


def test_a_reservation_is_respected(labgrid: Any, labgrid_target: Target) -> None:
    labgrid.client("-p", "bench", "set-tags", "board=bench")
    said = labgrid.client("reserve", "--wait", "--shell", "board=bench", **OTHER)
    token = said.partition("LG_TOKEN=")[2].split()[0]
    try:
        with pytest.raises(Unreachable, match="held by elsewhere/other"), connect(replace(labgrid_target, connect_s=1)):
            pass
    finally:
        labgrid.client("cancel-reservation", token, **OTHER)
    token = labgrid.client("reserve", "--wait", "--shell", "board=bench").partition("LG_TOKEN=")[2].split()[0]
    with connect(labgrid_target):
        assert labgrid.holder() == place_of(labgrid_target).user
    labgrid.client("cancel-reservation", token)


@pytest.mark.parametrize(
    ("place", "error", "message"),
    [
        ("bensh", CommandFailed, "there is no such place. Did you mean `bench`"),
        ("bare", CommandFailed, "exactly one NetworkService is needed, and it has NetworkPowerPort"),
        ("idle", Unreachable, "no exporter offers anything for it now"),
    ],
)
def test_a_place_that_cannot_be_used_is_told(
    labgrid: Any, labgrid_target: Target, place: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message), connect(replace(labgrid_target, address=f"{place}@{labgrid.coordinator}")):
        pass


def test_a_resource_that_another_place_holds_is_told(labgrid: Any, labgrid_target: Target, own_cache: Path) -> None:
    labgrid.ask("AddPlace", name="twin")
    labgrid.ask("AddPlaceMatch", placename="twin", pattern="*/bench/*")
    twin = replace(labgrid_target, address=f"twin@{labgrid.coordinator}")
    with connect(labgrid_target), pytest.raises(Unreachable, match="Failed to acquire resources"), connect(twin):
        pass
    note = own_cache / "labgrid" / place_of(twin).key
    assert note.read_text() == "", "what was refused is not noted as acquired"
    with connect(twin):
        assert labgrid.holder("twin") and not labgrid.holder() and note.read_text() == place_of(twin).user
    assert note.read_text() == ""


def test_a_coordinator_that_is_not_there_is_unreachable(labgrid_target: Target) -> None:
    with (
        pytest.raises(Unreachable, match=r"place bench of 127\.0\.0\.1:1: "),
        connect(replace(labgrid_target, address="bench@127.0.0.1:1", connect_s=30)),
    ):
        pass


def test_a_coordinator_that_hangs_is_given_up(labgrid: Any, labgrid_target: Target) -> None:
    coordinator = labgrid.processes[0]
    coordinator.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(Unreachable, match="DEADLINE_EXCEEDED"), connect(replace(labgrid_target, connect_s=1)):
            pass
    finally:
        coordinator.send_signal(signal.SIGCONT)


def test_a_release_that_fails_is_told_and_spoils_nothing(
    make_labgrid: Callable[[Any], Any], sshd: Any, labgrid_target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    own = make_labgrid(sshd)
    with connect(replace(labgrid_target, address=f"bench@{own.coordinator}")):
        own.stop()
    (told,) = [record.message for record in caplog.records]
    assert "UNAVAILABLE" in told and f"stays acquired by {place_of(labgrid_target).user}" in told


def behind(target: Target, *resources: dict[str, Any]) -> Target:
    """What a coordinator that offers these resources to a place that matches them all would have SSH connect to."""
    messages = pytest.importorskip(
        "labgrid.remote.generated.labgrid_coordinator_pb2", reason="needs labgrid (the extra `labgrid`)"
    )
    state = messages.Place(name="p", matches=[messages.ResourceMatch(exporter="here", group="g*", cls="*")])
    offered = messages.ClientOutMessage(sync=messages.Sync(id=1))
    for number, resource in enumerate(resources):
        entry = messages.Resource(cls=resource["cls"], avail=True)
        entry.path.exporter_name, entry.path.group_name, entry.path.resource_name = (
            "here",
            resource.get("group", "g"),
            resource.get("name", f"r{number}"),
        )
        for field in ("params", "extra"):
            for name, value in resource.get(field, {}).items():
                kind = {str: "string_value", int: "uint_value", bool: "bool_value"}[type(value)]
                setattr(getattr(entry, field)[name], kind, value)
        offered.updates.add(**({"del_resource": entry.path} if resource.get("is_gone") else {"resource": entry}))

    class Stream(list[Any]):
        def cancel(self) -> None:
            self.clear()

    stub = SimpleNamespace(
        GetPlaces=lambda _request, timeout: messages.GetPlacesResponse(places=[state]),
        ClientStream=lambda _requests, timeout: Stream([offered]),
    )
    return Coordinator(target, Place("p", "c:1", "h/u"), stub, messages).behind()


SERVICE = {"cls": "NetworkService", "params": {"address": "10.0.0.7", "username": "root", "port": 2222}}
TARGET = Target("rack", transport="labgrid", isa="aarch64", address="p@c", host="desk", tags=("arm",))


def test_a_network_service_says_what_the_inventory_leaves_open() -> None:
    expected = replace(TARGET, transport="ssh", address="10.0.0.7", user="root", port=2222)
    elsewhere = {"cls": "NetworkService", "group": "other", "params": {"address": "10.0.0.8", "username": "root"}}
    assert behind(TARGET, SERVICE, elsewhere, {"cls": "NetworkPowerPort"}) == expected
    assert behind(replace(TARGET, user="me", port=22), SERVICE) == replace(expected, user="me", port=22)


def test_a_proxy_counts_where_it_is_required() -> None:
    extra = {"proxy": "gate", "proxy_required": True}
    assert behind(TARGET, {**SERVICE, "extra": extra}).jump == "gate"
    assert behind(TARGET, {**SERVICE, "extra": {**extra, "proxy_required": False}}).jump == ""
    assert behind(replace(TARGET, jump="mine"), {**SERVICE, "extra": extra}).jump == "mine"


def test_two_network_services_are_one_too_many() -> None:
    with pytest.raises(
        CommandFailed, match="exactly one NetworkService is needed, and it has NetworkService r0, NetworkService r1"
    ):
        behind(TARGET, SERVICE, SERVICE)


def test_what_is_said_again_counts_once_and_what_is_withdrawn_not_at_all() -> None:
    """The coordinator tells who listens what changes: another session that acquires the place, an exporter that leaves."""
    old = {**SERVICE, "name": "s", "params": {"address": "10.0.0.9", "username": "root"}}
    gone: list[dict[str, Any]] = [{**SERVICE, "name": "gone"}, {"cls": "", "name": "gone", "is_gone": True}]
    assert behind(TARGET, old, *gone, {**SERVICE, "name": "s"}).address == "10.0.0.7"


@pytest.mark.parametrize(
    ("address", "variable", "expected"),
    [("p@lab", "", "lab:20408"), ("p@lab:7", "other:1", "lab:7"), ("p", "other:1", "other:1"), ("p@[::1]:5", "", "[::1]:5")],
)
def test_an_address_is_a_place_and_its_coordinator(
    monkeypatch: pytest.MonkeyPatch, address: str, variable: str, expected: str
) -> None:
    monkeypatch.setenv("LG_COORDINATOR", variable)
    monkeypatch.setenv("LG_USERNAME", "me")
    monkeypatch.setenv("LG_HOSTNAME", "desk")
    assert place_of(replace(TARGET, address=address)) == Place("p", expected, "desk/me")


@pytest.mark.parametrize("address", ["", "p", "@lab"])
def test_an_address_without_one_of_them_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.delenv("LG_COORDINATOR", raising=False)
    with pytest.raises(CommandFailed, match="`address` must be PLACE@COORDINATOR"), connect(replace(TARGET, address=address)):
        pass


def test_a_missing_labgrid_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "labgrid.remote.generated", None)
    with pytest.raises(CommandFailed, match=r"pip install 'assay\[labgrid\]'"), connect(TARGET):
        pass
