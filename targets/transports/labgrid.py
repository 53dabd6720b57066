"""A place of a labgrid coordinator: acquired for as long as the session lasts, reached by SSH through its NetworkService.

    with connect(Target("rack", transport="labgrid", isa="aarch64", address="rack-7@coordinator.lab:20408")) as session:
        session.run(["uname", "-m"], timeout_s=10)

`address` is `PLACE@COORDINATOR`; without the second half $LG_COORDINATOR says it. $LG_USERNAME and $LG_HOSTNAME count as they do for
labgrid-client. All else is the transport `ssh`: host keys must be known. A place that its user acquired by hand is used and left acquired.
Several sessions of one user share a place; the last one releases it, and what a killed harness still holds the next session takes over.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import logging
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from queue import SimpleQueue
from typing import IO, Any

from targets import interrupt
from targets.cache import cache_root, locked
from targets.errors import nearest
from targets.session import CommandFailed, Session, TargetError, Unreachable
from targets.target import Target
from targets.transports import connect as connect_to

PORT = 20408
"""labgrid's own for coordinators."""
TICK_S = 0.2
_log = logging.getLogger(__name__)


@contextmanager
def connect(target: Target) -> Iterator[Session]:
    """A session on the place. Unreachable while another holds it, after `connect_s` of waiting."""
    with _acquired(target, place_of(target)) as behind, connect_to(behind) as session:
        yield session


@dataclass(frozen=True, slots=True)
class Place:
    name: str
    coordinator: str
    """host:port."""
    user: str
    """Who acquires it, as labgrid writes it: host/user."""

    def __str__(self) -> str:
        return f"place {self.name} of {self.coordinator}"

    @property
    def key(self) -> str:
        """Names the files that this user's processes share about this place."""
        return "labgrid-" + hashlib.sha256(f"{self} {self.user}".encode()).hexdigest()[:16]


def place_of(target: Target) -> Place:
    name, _, coordinator = target.address.partition("@")
    coordinator = coordinator or os.environ.get("LG_COORDINATOR", "")
    if not name or not coordinator:
        raise CommandFailed(
            f"target {target.name}: `address` must be PLACE@COORDINATOR, or PLACE with LG_COORDINATOR=HOST:PORT set"
        )
    user = f"{os.environ.get('LG_HOSTNAME') or socket.gethostname()}/{os.environ.get('LG_USERNAME') or getpass.getuser()}"
    return Place(name, coordinator if re.search(r":\d+$", coordinator) else f"{coordinator}:{PORT}", user)


@contextmanager
def _acquired(target: Target, place: Place) -> Iterator[Target]:
    """The place is ours within the block; yields what is behind it, for SSH.

    A file notes that it is Assay that acquires the place, before it does; every session that uses the place holds a lock on that file.
    """
    with ExitStack() as stack:
        with _coordinator(target, place) as coordinator:
            behind = coordinator.behind()
            coordinator.wait_until_free()
            path = cache_root() / "labgrid" / place.key
            path.parent.mkdir(parents=True, exist_ok=True)
            note = stack.enter_context(path.open("a+"))
            with locked(place.key):
                _take(coordinator, note)
                stack.callback(_leave, target, place, note)
        yield behind


def _take(coordinator: Coordinator, note: IO[str]) -> None:
    """Acquire the place, or share what is acquired. The caller holds the place's lock."""
    place, holder = coordinator.place, coordinator.holder()
    note.seek(0)
    if not holder:
        note.truncate(0)
        note.write(place.user)
        note.flush()
        os.fsync(note.fileno())
        try:
            coordinator.acquire()
        finally:
            if coordinator.holder() != place.user:  # refused, for sure: what its user acquires by hand later is not Assay's
                note.truncate(0)
    elif holder != place.user:
        raise Unreachable(f"{coordinator.where}: {holder} was quicker to acquire it")
    elif note.read() and _is_alone(note):
        _log.warning("%s: still held for a harness that was killed; taken over", coordinator.where)
    fcntl.flock(note, fcntl.LOCK_SH)


def _leave(target: Target, place: Place, note: IO[str]) -> None:
    """Release what Assay acquired, unless another session uses it. What cannot be released is told, and taken over by the next session."""
    with locked(place.key):
        note.seek(0)
        if not _is_alone(note) or not note.read():
            return
        try:
            with _coordinator(target, place) as coordinator:
                coordinator.release()
        except TargetError as error:
            _log.warning("%s; it stays acquired by %s", error, place.user)
        else:
            note.truncate(0)


def _is_alone(note: IO[str]) -> bool:
    """Whether no other session uses the place; this one then holds the lock alone."""
    try:
        fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Coordinator:
    """labgrid's coordinator, asked about one place."""

    def __init__(self, target: Target, place: Place, stub: Any, messages: Any) -> None:
        self.place = place
        self.where = f"target {target.name}: {place}"
        self._target, self._stub, self._messages = target, stub, messages
        self._limit_s = target.connect_s

    def behind(self) -> Target:
        """The device of the place as a target of the transport `ssh`: what the inventory leaves open its NetworkService says."""
        matches = self._state().matches
        with self._introduced() as offered:
            resources = [resource for resource in offered.values() if any(_is_match(match, resource) for match in matches)]
        services = [resource for resource in resources if resource.cls == "NetworkService"]
        if not resources:
            raise Unreachable(f"{self.where}: no exporter offers anything for it now; is its exporter running?")
        if len(services) != 1:
            found = ", ".join(sorted(f"{resource.cls} {resource.path.resource_name}" for resource in resources))
            raise CommandFailed(
                f"{self.where}: exactly one NetworkService is needed, and it has {found}; add a match to the place"
            )
        said, extra = _values(services[0].params), _values(services[0].extra)
        return replace(
            self._target,
            transport="ssh",
            address=str(said["address"]),
            port=self._target.port or int(said.get("port", 0)),
            user=self._target.user or str(said["username"]),
            jump=self._target.jump or (str(extra["proxy"]) if extra.get("proxy_required") else ""),
        )

    def wait_until_free(self) -> None:
        """Or until it is this user's; Unreachable after `connect_s`."""
        deadline = time.monotonic() + self._limit_s
        while (holder := self.holder()) not in ("", self.place.user):
            if time.monotonic() > deadline:
                raise Unreachable(f"{self.where}: held by {holder}; ask them to release it, or try again later")
            interrupt.sleep(TICK_S)

    def holder(self) -> str:
        """host/user of who acquired it, or for whom it is reserved; empty: no one, or it is reserved for us. Who lets us in counts as us."""
        state = self._state()
        if self.place.user in state.allowed:
            return self.place.user
        if state.acquired or not state.reservation:
            return str(state.acquired)
        answer = self._stub.GetReservations(self._messages.GetReservationsRequest(), timeout=self._limit_s)
        owners = {reservation.token: str(reservation.owner) for reservation in answer.reservations}
        owner = owners.get(state.reservation, "")
        return "" if owner == self.place.user else owner

    def acquire(self) -> None:
        with self._introduced():
            self._stub.AcquirePlace(self._messages.AcquirePlaceRequest(placename=self.place.name), timeout=self._limit_s)

    def release(self) -> None:
        """Only if it is still this user's."""
        request = self._messages.ReleasePlaceRequest(placename=self.place.name, fromuser=self.place.user)
        self._stub.ReleasePlace(request, timeout=self._limit_s)

    def _state(self) -> Any:
        answer = self._stub.GetPlaces(self._messages.GetPlacesRequest(), timeout=self._limit_s)
        places = {str(place.name): place for place in answer.places}
        if self.place.name not in places:
            raise CommandFailed(f"{self.where}: there is no such place.{nearest(self.place.name, places)}")
        return places[self.place.name]

    @contextmanager
    def _introduced(self) -> Iterator[dict[str, Any]]:
        """The coordinator knows who we are within the block, and has said what all exporters offer: by path, for it says again what changes."""
        messages, outgoing = self._messages, SimpleQueue[Any]()
        outgoing.put(messages.ClientInMessage(startup=messages.StartupDone(version="assay", name=self.place.user)))
        outgoing.put(messages.ClientInMessage(subscribe=messages.Subscribe(all_resources=True)))
        outgoing.put(messages.ClientInMessage(sync=messages.Sync(id=1)))
        stream = self._stub.ClientStream(iter(outgoing.get, None), timeout=self._limit_s)
        offered: dict[str, Any] = {}
        try:
            for message in stream:
                for update in message.updates:
                    if update.HasField("resource"):
                        offered[str(update.resource.path)] = update.resource
                    elif update.HasField("del_resource"):
                        offered.pop(str(update.del_resource), None)
                if message.HasField("sync"):
                    break
            yield offered
        finally:
            outgoing.put(None)
            stream.cancel()


def _is_match(match: Any, resource: Any) -> bool:
    """As labgrid matches: shell patterns for exporter, group, class and, where it is given, name."""
    path = resource.path
    pairs = [(path.exporter_name, match.exporter), (path.group_name, match.group), (resource.cls, match.cls)]
    return all(fnmatchcase(name, pattern) for name, pattern in [*pairs, (path.resource_name, match.name or "*")])


def _values(values: Any) -> dict[str, Any]:
    """A map of labgrid's as a plain one; what is null there is left out."""
    return {str(name): getattr(value, kind) for name, value in values.items() if (kind := value.WhichOneof("kind"))}


@contextmanager
def _coordinator(target: Target, place: Place) -> Iterator[Coordinator]:
    """A connection of its own: the coordinator knows its clients by their ports, and gRPC would share one among a process's channels."""
    try:
        import grpc
        from labgrid.remote.generated import labgrid_coordinator_pb2 as messages
        from labgrid.remote.generated.labgrid_coordinator_pb2_grpc import CoordinatorStub
    except ImportError as error:
        raise CommandFailed(f"target {target.name}: {error}; pip install 'assay[labgrid]'") from error
    with grpc.insecure_channel(place.coordinator, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            yield Coordinator(target, place, CoordinatorStub(channel), messages)
        except grpc.RpcError as error:
            raise Unreachable(f"target {target.name}: {place}: {error.details()} ({error.code().name})") from error
