"""A user's own model file: parsed in full by a process of its own, since a broken file may take its parser down."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.artifact import file_sha256
from harness.errors import UserError, nearest

SUFFIXES = (".onnx", ".tflite")
MAX_BYTES = 2 << 30
"""Both containers hold offsets or lengths below 2 GiB; a larger file is not one of them."""
_PARSE_S = 120
_PROBE = Path(__file__).with_name("probe.py")
_AGAIN = "Export or download it again."


def inspect(path: Path, dims: Mapping[str, int] | None = None) -> dict[str, Any]:
    """`inputs`, `outputs`, `ops`, `integer`, `symbolic_dims`, `external_data`, `sha256`; UserError if the file cannot be used.

    A symbolic dimension counts as what `dims` says of it, else as 1.
    """
    _check_file(path)
    document = _sized(path, _probed(path), dims or {})
    external = _external_files(path, document["external_data"])
    return {**document, "external_data": external, "sha256": file_sha256(path)}


def input_shapes(path: Path) -> dict[str, list[int | str]]:
    """As the file is written: the size of each dimension, and the name of one that is left open. UserError as from `inspect`."""
    _check_file(path)
    document = _probed(path)
    shapes: dict[str, list[int | str]] = {tensor["name"]: tensor["shape"] for tensor in document["inputs"]}
    for owner, axis, name in document["symbols"]:
        if owner in shapes:
            shapes[owner][axis] = name
    return shapes


def _check_file(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"{path}: a model file ends in {' or '.join(SUFFIXES)}. Rename it if it is one, or export it to one of these."
        )
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file. Check the path.") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder. Name the model file in it.") from None
    except PermissionError:
        raise UserError(f"{path}: may not be read. Give yourself permission (chmod u+r).") from None
    size_bytes = path.stat().st_size
    if size_bytes > MAX_BYTES:
        raise UserError(f"{path}: {size_bytes} bytes, more than the {MAX_BYTES} that such a file can hold. Check what it is.")
    if not head:
        raise UserError(f"{path}: is empty. {_AGAIN}")
    if path.suffix == ".tflite" and head[4:8] != b"TFL3":
        raise UserError(f"{path}: is not a TFLite file (bytes 4-8 are {head[4:8]!r}, not b'TFL3'). {_AGAIN}")


def _probed(path: Path) -> dict[str, Any]:
    # -P: the probe's own folder must not stand on its import path.
    command = [sys.executable, "-P", str(_PROBE), str(path)]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=_PARSE_S, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(f"{path}: parsing did not end within {_PARSE_S} s, so it is taken to be corrupt. {_AGAIN}") from None
    if ended.returncode < 0:
        name = signal.Signals(-ended.returncode).name
        raise UserError(f"{path}: is corrupt; its parser was killed by {name}. {_AGAIN}")
    if ended.returncode:
        lines = ended.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1][:400] if lines else "its parser gave up"
        raise UserError(f"{path}: cannot be parsed ({reason}): truncated, corrupt, or not what its suffix says. {_AGAIN}")
    document: dict[str, Any] = json.loads(ended.stdout)
    if not document["outputs"]:
        raise UserError(f"{path}: holds no network: it has no outputs. {_AGAIN}")
    return document


def _sized(path: Path, document: dict[str, Any], dims: Mapping[str, int]) -> dict[str, Any]:
    """The probe's document with a size for each symbol."""
    symbols = document.pop("symbols")
    sizes = {**{name: 1 for _, _, name in symbols}, **dims}
    inputs = {tensor["name"] for tensor in document["inputs"]}
    settable = {name for owner, _, name in symbols if owner in inputs}
    for name in dims.keys() - settable:
        known = nearest(name, settable) or " All sizes of its inputs are fixed."
        raise UserError(f"{path}: no input has a symbolic dimension `{name}`.{known}")
    for tensor in (*document["inputs"], *document["outputs"]):
        for owner, axis, name in symbols:
            if owner == tensor["name"]:
                tensor["shape"][axis] = sizes[name]
    return document | {"symbolic_dims": sizes}


def _external_files(path: Path, names: list[str]) -> list[str]:
    """Files beside the model that hold weights; each must be there, and inside the model's own folder."""
    folder = path.parent.resolve()
    for name in names:
        place = (folder / name).resolve()
        if not place.is_relative_to(folder) or place == folder:
            raise UserError(f"{path}: keeps weights in `{name}`, outside its own folder. Save it as one file.")
        if not place.is_file():
            raise UserError(
                f"{path}: keeps weights in `{name}`, which is not there. Put it beside the model, or save as one file."
            )
    return names
