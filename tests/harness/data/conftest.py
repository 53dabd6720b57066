"""A web server of the tests' own, and what several data sets are tested with."""

from __future__ import annotations

import http.server
import threading
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest


@dataclass
class Server:
    url: str
    files: dict[str, bytes]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    files: dict[str, bytes] = {}

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files.get(self.path.lstrip("/"))
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield Server(f"http://127.0.0.1:{listening.server_address[1]}", files)
        listening.shutdown()
        thread.join()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty $ASSAY_DATA."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("ASSAY_DATA", str(folder))
    return folder


@pytest.fixture
def write_wav() -> Callable[[Path, npt.NDArray[np.int16], int], None]:
    """Writes a clip as 16-bit mono WAV of a rate, with the folders above it."""

    def write(path: Path, samples: npt.NDArray[np.int16], rate_hz: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate_hz)
            file.writeframes(samples.astype("<i2").tobytes())

    return write
