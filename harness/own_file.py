"""A user's own model file in the place of a network: copied, judged by its own runtime, handed to the backends that read it.

Methods other than `float32` change its layers, where PyTorch's can be made of them: what that gives must answer as the file does.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness import plugins
from harness.errors import BuildError, Unsupported, UserError
from harness.models import FileModel
from harness.plugins import Choice
from harness.weights import weights_file
from results.record import canonical_json

if TYPE_CHECKING:
    from harness.compression import Numeric
    from harness.data import DataSpec
    from harness.export import Exported
    from harness.forms.form import Layout
    from harness.suite import Workload
    from targets.target import Target

AS_IT_IS = Choice("float32")
"""The method that changes nothing."""
IMPORTED_ERROR = 1e-4
"""Of the greatest answer: what layers made of a file may differ from it by. Both compute in float32, each in its own order."""
DOCUMENT = "file.json"
"""In a step's folder, where its network is a file: `file`, `layout`, and what `inspect` found."""


def numeric_of(model: Choice, method: Choice) -> Numeric:
    """The arithmetic of a cell: the method's, and a file's own."""
    network = plugins.instantiate("models", model)
    is_file = isinstance(network, FileModel) and method == AS_IT_IS
    numeric: Numeric = network.numeric if is_file else plugins.instantiate("methods", method).numeric
    return numeric


def file_refusal(workload: Workload, method: Choice, backend: Choice, target: Target) -> str | None:
    """Why a cell of a file cannot be, or None."""
    model = plugins.instantiate("models", workload.model)
    if not isinstance(model, FileModel):
        return None
    if method != AS_IT_IS:
        if model.has_layers and model.numeric == "float32":
            return None
        return f"a quantized or {model.suffix} file is measured as it is, by method `{AS_IT_IS}`; `{method}` needs layers it can change"
    form: str = plugins.instantiate("backends", backend).form(model.numeric, target)
    if f".{form.partition('_')[0]}" != model.suffix:
        return f"{backend.name} takes form {form} and cannot make it of a {model.suffix} file"
    return None


def check_file(model: FileModel, path: Path, spec: DataSpec) -> dict[str, Any]:
    """What `inspect` finds in the file, and the `layout` of its input; UserError where file, data and parameters do not agree."""
    from harness.forms.user_file import inspect

    if path.suffix != model.suffix:
        raise UserError(f"{path}: this model takes {model.suffix} files")
    found = inspect(path)
    if len(found["inputs"]) != 1:
        raise UserError(
            f"{path}: takes {len(found['inputs'])} inputs; a data set gives one. `assay bench` measures it without one"
        )
    numeric = "int8" if found["integer"] else "float32"
    if numeric != model.numeric:
        raise UserError(f"{path}: computes in {numeric}; say `numeric: {numeric}`")
    return {**found, "layout": _layout(path, tuple(found["inputs"][0]["shape"][1:]), spec.input_shape)}


def adopt(model: FileModel, spec: DataSpec, folder: Path) -> None:
    """Copy the file, and those it keeps weights in, into `folder`."""
    path = weights_file(model.path)
    found = check_file(model, path, spec)
    for name in (path.name, *found["external_data"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / name, folder / name)
    (folder / DOCUMENT).write_text(canonical_json({"file": path.name, **found}))
    (folder / "train.json").write_text(canonical_json({"log": [], "validation": {}, "weights": model.path}))


def network_of(model: FileModel, source: Path, examples: npt.NDArray[Any]) -> Any:
    """An nn.Module of the layers of the file that the first step took, for methods to change; BuildError where they answer `examples` otherwise than it."""
    from harness.models.networks import onnx_network

    document = read(source)
    assert document is not None
    module = onnx_network.network_of(source / document["file"], document["layout"] == "NHWC")
    wanted, found = _answers(source, document, examples), onnx_network.answers(module, examples)
    error = float(np.abs(found - wanted).max() / (np.abs(wanted).max() or 1.0)) if found.shape == wanted.shape else math.inf
    if not error <= IMPORTED_ERROR:
        raise BuildError(
            f"{model.path}: its layers in PyTorch answer {list(found.shape)} {error:.2g} of the greatest answer away from the file's "
            f"{list(wanted.shape)}; {IMPORTED_ERROR:g} is allowed. Method `float32` measures the file as it is"
        )
    return module


def compress_file(
    source: Path, model: FileModel, examples: npt.NDArray[Any], folder: Path, claims: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """The file again, with what its reference runtime answers to `examples` [n, *input_shape], and what is claimed of it."""
    shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("step.json", "train.json"))
    document = read(folder)
    assert document is not None
    np.savez(folder / "examples.npz", inputs=examples, outputs=_answers(folder, document, examples))
    facts: dict[str, Any] = {"numeric": model.numeric, "claims": {**claims}, "quantization": None, "left_alone": {}, "log": []}
    (folder / "compressed.json").write_text(canonical_json(facts))


def export_file(network: Path, form: str, batch: int, folder: Path) -> Exported:
    """The file as the form that a backend asked for."""
    from harness.export import Exported

    document = read(network)
    assert document is not None
    numeric = json.loads((network / "compressed.json").read_text())["numeric"]
    written = document["inputs"][0]["shape"][0]
    if batch != written and not document["symbolic_dims"]:
        raise Unsupported(f"the file is written for batch {written} and cannot be asked {batch} at a time")
    for name in (document["file"], *document["external_data"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(network / name, folder / name)
    facts = {key: value for key, value in document.items() if key not in ("file", "layout")}
    exported = Exported(form, folder / document["file"], numeric, batch, document["layout"], None, facts)
    exported.save()
    return exported


def read(folder: Path) -> Mapping[str, Any] | None:
    """The document of a network that is a file; None for one that Assay built."""
    path = folder / DOCUMENT
    return json.loads(path.read_text()) if path.is_file() else None


def _layout(path: Path, given: tuple[int, ...], wanted: tuple[int, ...]) -> Layout:
    """Channels first, or last as TFLite files have them: told by the sizes alone, first where both would do."""
    if given == wanted:
        return "NCHW"
    if len(wanted) == 3 and given == (*wanted[1:], wanted[0]):
        return "NHWC"
    raise UserError(f"{path}: takes examples of {list(given)}; the data's are {list(wanted)}")


def _answers(folder: Path, document: Mapping[str, Any], examples: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """[n, ...] real values; as many at a time as the file is written for."""
    from harness.forms.form import batches, channels_last
    from harness.forms.tflite import stored
    from harness.runners import reference

    network = reference.load(str(folder), document["file"], {})
    answers = []
    for chunk in batches(examples, document["inputs"][0]["shape"][0]):
        given = channels_last(chunk) if document["layout"] == "NHWC" else chunk
        if isinstance(network, reference.TFLite):
            given = stored(given, network.interpreter.get_input_details()[0])
        network.set_inputs([given.astype(document["inputs"][0]["dtype"], copy=False)])
        network.invoke()
        (raw,), (quantization,) = network.outputs()[:1], network.output_quantization()[:1]
        scale, zero_point = quantization or (1.0, 0)
        answers.append((raw.astype(np.float32) - np.float32(zero_point)) * np.float32(scale))
    found = np.concatenate(answers)[: len(examples)]
    if not np.isfinite(found).all():
        raise BuildError(f"{document['file']}: its reference runtime answers test examples with values that are not finite")
    return found
