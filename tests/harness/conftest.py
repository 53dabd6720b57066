"""A backend that does nothing, answered by this process: what the run loop itself does, in milliseconds and without torch on the device."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import visit as visit_module
from targets.session import CommandResult, Session
from targets.target import Target
from targets.transports import connect

NULL_BACKEND = '''
"""Does nothing, in no time."""
from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar

@dataclass(frozen=True)
class Null:
    index: int = 0
    requires: ClassVar[tuple[str, ...]] = ("numpy",)
    reads: ClassVar[tuple[str, ...]] = ()

    def supports(self, workload, numeric, target): return None
    def form(self, numeric, target): return "onnx"
    def build(self, exported, target, folder):
        from harness.artifact import Artifact
        (folder / "null").write_text(str(self.index))
        return Artifact.of(folder, ("null",), {})

BACKEND = Null
'''


class InProcess:
    """A local session whose runner is this process: it answers a request at once with the reference answers and made-up samples."""

    def __init__(self, session: Session, answers: np.ndarray, before: Callable[[Mapping[str, Any]], None]) -> None:
        self._session, self._answers, self._before = session, answers, before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def behind(self, words: Sequence[str]) -> InProcess:
        return InProcess(self._session.behind(words), self._answers, self._before)

    def run(self, argv: Sequence[str], **options: Any) -> CommandResult:
        if not argv[-1].endswith("request.json"):
            return self._session.run(argv, **options)
        request = json.loads(self._session.pull(argv[-1], max_bytes=1 << 20))
        self._before(request)
        rows = request["batch"] if request["mode"] == "time" else len(self._answers)
        content = io.BytesIO()
        np.savez(content, out0=self._answers[:rows])
        path = Path(self._session.folder) / request["outputs"][0]  # type: ignore[attr-defined]
        path.write_bytes(content.getvalue())
        document = _document(request, len(content.getvalue()), self._answers[:rows])
        text = f"ASSAY-BEGIN {request['nonce']}\n{json.dumps(document)}\nASSAY-END {request['nonce']}\n"
        return CommandResult(tuple(argv), 0, text.encode(), b"", 10.0)


def _document(request: Mapping[str, Any], size: int, answers: np.ndarray) -> dict[str, Any]:
    tensor = {"shape": list(answers.shape), "dtype": answers.dtype.str, "quantization": None}
    document: dict[str, Any] = {
        "schema": 1, "nonce": request["nonce"], "mode": request["mode"], "load_s": 0.001, "facts": {},
        "clock": {"name": "CLOCK_MONOTONIC", "step_s": 1e-9}, "runner": {"implementation": "made up", "version": "1"}, "versions": {},
        "memory": {"rss_before_load_bytes": 1, "rss_after_load_bytes": 1, "peak_rss_bytes": 1},
        "outputs": [{"file": request["outputs"][0], "size_bytes": size, "tensors": [tensor]}],
    }  # fmt: skip
    if request["mode"] == "time":
        duration = 10**7
        state = {"monotonic_s": 0.0, "frequency_hz": None, "celsius": None, "reason": "made up"}
        process = {
            "cpu_s": 0.0,
            "voluntary_switches": 0,
            "involuntary_switches": 0,
            "minor_faults": 0,
            "major_faults": 0,
            "affinity": None,
        }
        document |= {
            "samples": {
                "start_ns": [i * duration for i in range(55)], "duration_ns": [duration] * 55,
                "loops": [1] * 55, "timed": [i >= 5 for i in range(55)],
            },
            "warmup": {"samples": 5, "seconds": 0.05, "capped": False, "least_sample_s": 0.005},
            "state_before": state, "state_after": state, "process_before": process, "process_after": process,
        }  # fmt: skip
    return document


@pytest.fixture(scope="session")
def made_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which the network of all tests of the run loop is trained once."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def null_backend(made_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `nothing`, with its parameter `index`, a backend that a suite may name."""
    monkeypatch.setenv("ASSAY_CACHE", str(made_cache))
    (tmp_path / "plugins" / "backends").mkdir(parents=True)
    (tmp_path / "plugins" / "backends" / "nothing.py").write_text(NULL_BACKEND)
    monkeypatch.setenv("ASSAY_PLUGINS", str(tmp_path / "plugins"))


@pytest.fixture
def answer_in_process(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has the run loop meet an InProcess session that answers with these arrays; `before` sees each request first and may raise."""

    def install(answers: np.ndarray, before: Callable[[Mapping[str, Any]], None] = lambda _request: None) -> None:
        @contextmanager
        def connect_in_process(target: Target) -> Iterator[Any]:
            with connect(target) as session:
                yield InProcess(session, answers, before)

        monkeypatch.setattr(visit_module, "BACKOFF_S", 0.01)
        monkeypatch.setattr(visit_module, "connect", connect_in_process)

    return install
