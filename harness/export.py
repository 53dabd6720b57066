"""Exported: the forms of one network (ONNX, TFLite, torch.export), each checked at once against the compressed module."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.artifact import file_sha256
from harness.check import check as compare
from harness.check import described
from harness.compression import Numeric, Quantization
from harness.errors import BuildError, nearest
from harness.forms import onnx, program, pt2e, tflite
from harness.forms.form import Floats, Form, Layout, Source, batches, channels_first, channels_last
from harness.forms.layer import cut_layer
from harness.forms.program import load_program, save_program
from harness.forms.user_file import inspect

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "FORMS",
    "Examples",
    "Exported",
    "Signature",
    "TensorSpec",
    "cut_layer",
    "export",
    "from_file",
    "load_program",
    "save_program",
    "signature",
]

FORMS: Mapping[str, Form] = {
    "onnx": Form("float32", onnx.write_float, onnx.answer),
    "onnx_qdq_u8s8": Form("int8", onnx.write_u8s8, onnx.answer),
    "onnx_qdq_s8s8": Form("int8", onnx.write_s8s8, onnx.answer),
    "onnx_qoperator_u8s8": Form("int8", onnx.write_integer_operators, onnx.answer),
    "tflite": Form("float32", tflite.write_float, tflite.answer),
    "tflite_int8": Form("int8", tflite.write_int8, tflite.answer),
    "pt2": Form("float32", program.write, program.answer),
    "pt2e_int8": Form("int8", pt2e.write, pt2e.answer),
}


@dataclass(frozen=True, slots=True)
class Exported:
    """One form of one network on disk, and what it must answer.

    The examples are stored once, channels first; the layouts say how this form wants and gives them.
    """

    form: str
    """A key of FORMS. A user's own file has the form that its suffix names: `onnx` or `tflite`."""
    path: Path
    numeric: Numeric
    batch: int
    input_layout: Layout
    """`NCHW` as stored, or `NHWC`: 4-D inputs are transposed before they are sent. A user's file takes arrays as they are: `NCHW`."""
    quantization: Quantization | None
    facts: Mapping[str, Any]
    """`inputs` and `outputs` (name, shape, dtype), `ops` (operator counts), `tools` (versions), `warnings` (of the converters), `sha256`;
    and from `export` its own check of this form: `max_abs_error`, `relative_error`, `sqnr_db` (null: no error at all)."""
    output_layout: Layout = "NCHW"
    """As `input_layout`, for 4-D outputs (a single layer has them)."""

    def lay_out(self, inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Stored inputs as this form takes them: tokens are 64-bit integers, and some converters' files take 32-bit ones."""
        if inputs.dtype.kind == "i":
            inputs = inputs.astype(self.facts["inputs"][0]["dtype"], copy=False)
        return channels_last(inputs) if self.input_layout == "NHWC" else inputs

    def as_stored(self, outputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """This form's outputs as the reference is stored."""
        return channels_first(outputs) if self.output_layout == "NHWC" else outputs

    def save(self) -> None:
        """Write `exported.json` beside the form's file."""
        document = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        document["path"] = self.path.name
        document["quantization"] = None if self.quantization is None else dataclasses.asdict(self.quantization)
        (self.path.parent / "exported.json").write_text(json.dumps(document, indent=1, sort_keys=True, allow_nan=False))

    @staticmethod
    def load(folder: Path) -> Exported:
        document = json.loads((folder / "exported.json").read_text())
        quantization = document["quantization"]
        document["path"] = folder / document["path"]
        document["quantization"] = None if quantization is None else Quantization(**quantization)
        return Exported(**document)


class Examples(NamedTuple):
    """Seeded inputs and what the compressed module's reference answers to them."""

    inputs: npt.NDArray[Any]
    """[k, *input_shape], channels first."""
    outputs: Floats
    """[k, ...]."""
    unrounded: Floats | None = None
    """The same without the rounding of activations, for an integer network."""


class TensorSpec(NamedTuple):
    """One input or output of a file, in the file's own layout."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """As NumPy names it."""


class Signature(NamedTuple):
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def export(
    program: Path,
    *,
    form: str,
    batch: int,
    numeric: Numeric,
    quantization: Quantization | None,
    calibration: Floats | None,
    examples: Examples,
    folder: Path,
    isa: str = "",
) -> Exported:
    """Write one form of a saved program (`save_program`) into `folder`, check its answers here and now, and save its description.

    `calibration` is [n, *input_shape] and only int8 forms use it; `isa`, the instruction set that the form was chosen for, is kept as
    a fact. BuildError if a converter fails or the form answers wrongly.
    """
    if form not in FORMS:
        raise ValueError(f"no form is called `{form}`.{nearest(form, FORMS)}")
    chosen = FORMS[form]
    if chosen.numeric != numeric:
        raise ValueError(f"form `{form}` holds {chosen.numeric} networks, not {numeric}")
    folder.mkdir(parents=True, exist_ok=True)
    written = chosen.write(_source(load_program(program), batch, quantization, calibration, examples), folder)
    exported = Exported(
        form, written.path, numeric, batch, written.input_layout, quantization, written.facts, output_layout=written.output_layout
    )
    chunks = (exported.lay_out(chunk) for chunk in batches(examples.inputs, batch))
    outputs = [exported.as_stored(output) for output in chosen.answer(written.path, chunks)]
    figures = check(form, numeric, np.concatenate(outputs)[: len(examples.inputs)], examples)
    exported = dataclasses.replace(exported, facts={**written.facts, **figures, "isa": isa, "sha256": file_sha256(written.path)})
    exported.save()
    return exported


def check(form: str, numeric: Numeric, outputs: Floats, examples: Examples) -> dict[str, float | None]:
    """The errors of a form's answers; BuildError, with the figures, if they are beyond what its arithmetic explains."""
    found = compare([outputs], [examples.outputs], numeric, None if examples.unrounded is None else [examples.unrounded])
    if not found.passed:
        raise BuildError(
            f"form `{form}` does not answer as the compressed network does: {described(found)}. "
            "The converter changed the network: try another backend, or report the model and the method"
        )
    return {"max_abs_error": found.max_abs_error, "relative_error": found.relative_error, "sqnr_db": found.sqnr_db}


def from_file(path: Path, dims: Mapping[str, int] | None = None) -> Exported:
    """A user's own .onnx or .tflite as it is, fully parsed in a process of its own; UserError says what is wrong with it.

    Symbolic dimensions count as `dims` says, else as 1; `facts["symbolic_dims"]` has them all.
    """
    facts = inspect(path, dims)
    first = facts["inputs"][0]["shape"] if facts["inputs"] else []
    numeric: Numeric = "int8" if facts["integer"] else "float32"
    return Exported(path.suffix.lstrip("."), path, numeric, first[0] if first else 1, "NCHW", None, facts)


def signature(exported: Exported) -> Signature:
    """Inputs and outputs of the file, in its own layout and order."""

    def specs(key: str) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(t["name"], tuple(t["shape"]), t["dtype"]) for t in exported.facts[key])

    return Signature(specs("inputs"), specs("outputs"))


def _source(
    module: nn.Module, batch: int, quantization: Quantization | None, calibration: Floats | None, examples: Examples
) -> Source:
    example = examples.inputs[:1]
    if calibration is not None and calibration.shape[1:] != example.shape[1:]:
        raise ValueError(f"calibration inputs have shape {calibration.shape[1:]}, the examples {example.shape[1:]}")
    return Source(module, example, batch, quantization, calibration)
