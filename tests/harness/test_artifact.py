"""An artifact is its files' bytes: any change is another artifact."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.artifact import Artifact, file_sha256


def test_an_artifact_is_described_and_read_back(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"abc")
    (tmp_path / "b.bin").write_bytes(b"\0" * 5)
    artifact = Artifact.of(tmp_path, ("a.onnx", "b.bin"), {"compiler": "cc 1"})
    artifact.save()
    assert Artifact.load(tmp_path) == artifact
    assert artifact.size_bytes == 8
    assert artifact.files[0].sha256 == hashlib.sha256(b"abc").hexdigest() == file_sha256(tmp_path / "a.onnx")


def test_facts_do_not_change_identity_and_names_and_bytes_do(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"1")
    identity = Artifact.of(tmp_path, ("a",), {}).sha256
    assert Artifact.of(tmp_path, ("a",), {"when": "later"}).sha256 == identity
    assert Artifact.of(tmp_path, ("b",), {}).sha256 != identity
    (tmp_path / "a").write_bytes(b"2")
    assert Artifact.of(tmp_path, ("a",), {}).sha256 != identity


@settings(max_examples=25)
@given(st.binary(max_size=200))
def test_file_sha256_is_that_of_the_bytes(content: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        assert file_sha256(Path(file.name)) == hashlib.sha256(content).hexdigest()
