"""Does a Step: trains, compresses, cuts out a layer, exports, builds; each leaves its result in a folder of the cache.

Torch and the converters are imported inside the functions: this module is loaded by workers, which do one thing or the other.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import own_file, plugins
from harness.cache import appearing, cache_root, locked
from harness.errors import BuildError, Unsupported
from harness.models import FileModel
from harness.steps import Kind, Step
from harness.weights import weights_file
from results.record import canonical_json

if TYPE_CHECKING:
    from harness.compression import Claims

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is."""
EXAMPLES = 64
"""Test examples whose reference answers are kept with a compressed network."""


@dataclass(frozen=True, slots=True)
class Task:
    """A step under way."""

    inputs: Mapping[str, Any]
    needs: tuple[Path, ...]
    """Result folders of the steps it needs."""
    folder: Path
    """Where the result goes; appears in the cache when the step ends well."""
    journal: Path
    """Survives a kill; emptied when the step ends well."""
    on_progress: Progress


def perform(step: Step, on_progress: Progress) -> None:
    """Do a step unless its result is there; what it needs must be done. Safe among processes that want the same step."""
    with locked(step.key):
        if step.is_done():
            return
        journal = cache_root() / "journal" / step.key
        journal.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        with appearing(step.folder) as folder:
            _PERFORM[step.kind](Task(json.loads(step.inputs), tuple(n.folder for n in step.needs), folder, journal, on_progress))
            facts = {"title": step.title, "inputs": json.loads(step.inputs), "duration_s": time.monotonic() - started}
            (folder / "step.json").write_text(canonical_json(facts))
    for path in sorted(journal.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    journal.rmdir()


def _train(task: Task) -> None:
    import torch

    from harness.checkpoint import load_weights, save_weights
    from harness.context import Context
    from harness.head import fit_head

    model, data = _plugin("models", task.inputs["model"]), plugins.named("data", task.inputs["data"])
    if isinstance(model, FileModel):
        own_file.adopt(model, data.spec, task.folder)
        return
    torch.set_num_threads(model.recipe().threads)
    torch.manual_seed(task.inputs["seed"])
    module = model.build(data.spec)
    context = Context(task.inputs["seed"], data, model.recipe(), model.criterion, task.journal, task.on_progress)
    if model.weights:
        head = model.recipe().ridge_head
        load_weights(module, weights_file(model.weights), without=head)
        if head:
            fit_head(module, head, data.load("train"), data.spec.classes)
    else:
        context.train(module, model.recipe())
    module.eval()
    facts = {"log": context.events, "validation": dict(context.evaluate(module)), "weights": model.weights or None}
    save_weights(module, task.folder / "weights.safetensors")
    (task.folder / "train.json").write_text(canonical_json(facts))


def _compress(task: Task) -> None:
    import torch

    from harness.checkpoint import load_weights, save_weights
    from harness.context import Context

    model, data = _plugin("models", task.inputs["model"]), plugins.named("data", task.inputs["data"])
    test = data.load("test", EXAMPLES).inputs
    torch.set_num_threads(model.recipe().threads)
    if isinstance(model, FileModel):
        if task.inputs["method"]["name"] == own_file.AS_IT_IS.name:
            own_file.compress_file(task.needs[0], model, test, task.folder, _claims_of_file(model, task.needs[0], test))
            return
        module = own_file.network_of(model, task.needs[0], test)
    else:
        module = model.build(data.spec)
        load_weights(module, task.needs[0] / "weights.safetensors")
    module.eval()
    start = None
    for earlier in task.needs[1:]:
        start = copy.deepcopy(module)
        load_weights(start, earlier / "weights.safetensors")
    context = Context(task.inputs["seed"], data, model.recipe(), model.criterion, task.journal, task.on_progress, start)
    torch.manual_seed(task.inputs["seed"])
    method = _plugin("methods", task.inputs["method"])
    compressed = method.compress(module, data, context)
    if len(compressed.members) != 1:
        raise BuildError(f"a method returned {len(compressed.members)} networks; only one a method can be measured so far")
    (member,) = compressed.members
    _save_network(task.folder, member.module, member.reference, test, compressed.calibration, member.unrounded)
    if hasattr(method, "begins_at"):
        save_weights(member.module, task.folder / "weights.safetensors")
    facts = {
        **_claimed(member.claims),
        "numeric": compressed.numeric,
        "quantization": None if compressed.quantization is None else dataclasses.asdict(compressed.quantization),
        "left_alone": compressed.left_alone,
        "log": [*compressed.log],
    }
    (task.folder / "compressed.json").write_text(canonical_json(facts))


def _claims_of_file(model: FileModel, source: Path, test: Any) -> Mapping[str, Any]:
    """What is claimed of a file whose layers can be had: what methods that change them are compared with. Nothing of any other."""
    from harness.compression.numerics.counting import claims

    if not model.has_layers or model.numeric != "float32":
        return {}
    try:
        found: dict[str, Any] = _claimed(claims(own_file.network_of(model, source, test), test[:1]))["claims"]
    except (Unsupported, BuildError):
        return {}
    return found


def _layer(task: Task) -> None:
    import numpy as np

    from harness.compression.numerics.counting import claims
    from harness.forms.layer import cut_layer

    whole = json.loads((task.needs[0] / "compressed.json").read_text())
    if whole["numeric"] != "float32":
        raise Unsupported(
            "a layer of an integer network cannot be measured alone: its reference is simulated for the network as a whole"
        )
    with np.load(task.needs[0] / "examples.npz") as stored:
        layer, layer_inputs = cut_layer(task.needs[0] / "module.pt2", task.inputs["layer"], stored["inputs"])
    _save_network(task.folder, layer, layer, layer_inputs, None, None)
    names = {name: f"{task.inputs['layer']}.{name.removeprefix('layer.')}" for name, _ in layer.named_parameters()}

    def its(own: str) -> dict[str, int]:
        return {name: whole["stored"][own][there] for name, there in names.items() if there in whole["stored"][own]}

    claimed = claims(layer, layer_inputs[:1], sparse=True, stored_bits=its("stored_bits"), scales=its("scales"))
    (task.folder / "compressed.json").write_text(canonical_json(whole | _claimed(claimed)))


def _claimed(claims: Claims) -> dict[str, Any]:
    """What a record shows of the claims, and apart from it what each weight takes, which tells a layer's own."""
    shown = dataclasses.asdict(claims)
    return {"stored": {own: shown.pop(own) for own in ("stored_bits", "scales")}, "claims": shown}


def _save_network(folder: Path, module: Any, reference: Any, examples: Any, calibration: Any, unrounded: Any) -> None:
    import numpy as np
    import torch

    from harness.export import save_program

    save_program(module, examples[:1], folder / "module.pt2")
    with torch.inference_mode():
        answers = {"outputs": reference(torch.from_numpy(examples)).numpy()}
        if unrounded is not None or reference is not module:
            answers["unrounded"] = (unrounded or module)(torch.from_numpy(examples)).numpy()
    np.savez(folder / "examples.npz", inputs=examples, **answers)
    if calibration is not None:
        np.save(folder / "calibration.npy", calibration)


def _export(task: Task) -> None:
    import numpy as np

    from harness.compression import Quantization
    from harness.export import Examples, export

    (network,) = task.needs
    if own_file.read(network) is not None:
        own_file.export_file(network, task.inputs["form"], task.inputs["batch"], task.folder)
        return
    facts = json.loads((network / "compressed.json").read_text())
    with np.load(network / "examples.npz") as stored:
        examples = Examples(**stored)
    calibration = network / "calibration.npy"
    export(
        network / "module.pt2",
        form=task.inputs["form"],
        batch=task.inputs["batch"],
        numeric=facts["numeric"],
        quantization=Quantization(**facts["quantization"]) if facts["quantization"] else None,
        calibration=np.load(calibration) if calibration.exists() else None,
        examples=examples,
        folder=task.folder,
    )


def _build(task: Task) -> None:
    from harness.export import Exported
    from targets.target import Target

    exported: Exported = Exported.load(task.needs[0])
    target = Target(**task.inputs["target"])
    _plugin("backends", task.inputs["backend"]).build(exported, target, task.folder).save()


def _plugin(family: str, given: Mapping[str, Any]) -> Any:
    choice = plugins.resolve(family, given["name"], given["params"])
    return plugins.instantiate(family, choice)


_PERFORM: Mapping[Kind, Callable[[Task], None]] = {
    "train": _train,
    "compress": _compress,
    "layer": _layer,
    "export": _export,
    "build": _build,
}
