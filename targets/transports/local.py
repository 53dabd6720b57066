"""The machine Assay itself runs on, as a device like any other.

with connect(Target("local")) as session:
    session.push(Path("model.onnx"), "model.onnx")
    session.run(["sha256sum", "model.onnx"], timeout_s=10)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from targets.here import LocalSession, session_here
from targets.target import Target


@contextmanager
def connect(target: Target) -> Iterator[LocalSession]:
    yield session_here(target)
