"""A device over the Android Debug Bridge: a phone, or a Linux board that runs adbd.

    with connect(Target("phone", transport="adb", address="R58M123ABC", isa="aarch64")) as session:
        session.push(Path("model.onnx"), "model.onnx")
        session.run(["sha256sum", "model.onnx"], timeout_s=10)

`address` is a serial number as `adb devices` shows it, or HOST:PORT. The adb server is the one that listens on
$ANDROID_ADB_SERVER_PORT (default: 5037); it is started where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from targets.over_shell import OverShell, session_over
from targets.target import Target
from targets.transports.adb.server import linked

__all__ = ["connect"]


@contextmanager
def connect(target: Target) -> Iterator[OverShell]:
    with session_over(linked(target), target) as session:
        yield session
