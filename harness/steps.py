"""Steps: the pieces of work that make an artifact (train, compress, layer, export, build), each cached by the content of its inputs.

A Step is frozen data that can be sent to another process or machine; `harness/perform.py` does it. Its key hashes its inputs, the sources of the code
that does it, the versions of the libraries that code calls, and the keys of the steps it needs: the same key, the same result.
"""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness import environment, plugins
from harness.backend import runner
from harness.cache import cache_root
from harness.own_file import numeric_of
from harness.plugins import Choice
from harness.suite import Workload
from harness.weights import named_file, weights_file
from results.record import canonical_json, canonical_sha256

if TYPE_CHECKING:
    from targets.target import Target

Kind = Literal["train", "compress", "layer", "export", "build"]

_HERE = Path(__file__).resolve().parent
_SOURCES: Mapping[Kind, tuple[str, ...]] = {
    "train": (
        "perform.py",
        "context.py",
        "criterion.py",
        "train.py",
        "checkpoint.py",
        "head.py",
        "own_file.py",
        "models/__init__.py",
        "models/networks/*.py",
        "data/__init__.py",
    ),
    "compress": (
        "perform.py",
        "own_file.py",
        "context.py",
        "search.py",
        "latency_table.py",
        "compression/__init__.py",
        "compression/numerics/*.py",
        "compression/numerics/*.c",
        "compiler/formats*.py",
        "compiler/smallest.py",
        "compiler/sparsity.py",
        "toolchain.py",
        "export.py",
    ),
    "layer": ("perform.py", "export.py", "check.py", "forms/*.py"),
    "export": ("perform.py", "own_file.py", "export.py", "check.py", "forms/*.py"),
    "build": ("perform.py", "environment.py", "artifact.py", "forms/static.py", "runners/call.py"),
}
_PROGRAM_SOURCES = (
    "toolchain.py",
    "runners/program/*.[ch]",
    "compiler/**/*.py",
    "compiler/**/*.[ch]*",
    "kernels/**/*.py",
    "kernels/**/*.[ch]*",
)
_DISTRIBUTIONS: Mapping[Kind, tuple[str, ...]] = {
    "train": ("torch", "numpy"),
    "compress": ("torch", "numpy"),
    "layer": ("torch",),
    "export": (
        "torch",
        "onnx",
        "onnxscript",
        "onnxruntime",
        "litert-torch",
        "ai-edge-litert",
        "ai-edge-quantizer",
        "torchao",
        "executorch",
    ),
    "build": (),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of work over frozen inputs."""

    kind: Kind
    inputs: str
    """Canonical JSON."""
    needs: tuple[Step, ...]
    title: str
    """For people: 'compress small_cnn by int8_ptq'."""
    cores: int
    """Threads it computes with. Fixed by the recipe and not by the machine: another count would give other last bits."""
    key: str

    @property
    def folder(self) -> Path:
        """Where its result is, once it is done."""
        return cache_root() / "steps" / self.kind / self.key

    def is_done(self) -> bool:
        return self.folder.is_dir()


# The chain of steps that ends in a cell's artifact. Cached: neighbours in the matrix share most of it.


@functools.cache
def train_step(model: Choice, data: str, seed: int) -> Step:
    weights: str = plugins.instantiate("models", model).weights
    return _step(
        "train",
        {
            "model": _choice(model),
            "model_sha256": plugins.source_sha256("models", model.name),
            "data": data,
            "data_sha256": data_fingerprint(data),
            "weights_sha256": hashlib.sha256(weights_file(weights).read_bytes()).hexdigest() if weights else None,
            "seed": seed,
        },
        (),
        f"{'load' if weights else 'train'} {model.label}",
        _cores(model),
    )


@functools.cache
def compress_step(model: Choice, data: str, method: Choice, seed: int) -> Step:
    needs: tuple[Step, ...] = (train_step(model, data, seed),)
    if begins_at := getattr(plugins.instantiate("methods", method), "begins_at", None):
        earlier = plugins.resolve("methods", method.name, {**dict(method.params), **begins_at})
        needs += (compress_step(model, data, earlier, seed),)
    return _step(
        "compress",
        {
            "model": _choice(model),
            "data": data,
            "method": _choice(method),
            "method_sha256": plugins.source_sha256("methods", method.name),
            "seed": seed,
            **_files_of(method),
        },
        needs,
        f"compress {model.label} by {method.label}",
        _cores(model),
    )


@functools.cache
def network_step(workload: Workload, method: Choice, seed: int) -> Step:
    """The step whose folder holds the network, or the one layer, that a workload measures."""
    whole = compress_step(workload.model, workload.data, method, seed)
    if workload.layer is None:
        return whole
    return _step("layer", {"layer": workload.layer}, (whole,), f"cut {workload.label} by {method.label}")


@functools.cache
def export_step(workload: Workload, method: Choice, form: str, batch: int, seed: int) -> Step:
    network = network_step(workload, method, seed)
    return _step("export", {"form": form, "batch": batch}, (network,), f"export {workload.label} {method.label} as {form}")


@functools.cache
def build_step(workload: Workload, method: Choice, backend: Choice, target: Target, batch: int, seed: int) -> Step:
    """The last step before a device is touched: its folder is the cell's artifact."""
    form = plugins.instantiate("backends", backend).form(numeric_of(workload.model, method), target)
    exported = export_step(workload, method, form, batch, seed)
    return _step(
        "build",
        {
            "backend": _choice(backend),
            "backend_sha256": plugins.source_sha256("backends", backend.name),
            "versions": environment.versions(backend.name),
            "program": _program_sources(backend),
            "target": {
                "name": target.name,
                "transport": target.transport,  # what is built for this very machine may use all that its CPU has
                "kind": target.kind,
                "isa": target.isa or platform.machine(),
                "cpu": target.cpu,
            },
        },
        (exported,),
        f"build {workload.label} {method.label} for {backend.label}",
    )


@functools.cache
def data_fingerprint(name: str) -> str:
    fingerprint: str = plugins.named("data", name).fingerprint()
    return canonical_sha256([fingerprint, plugins.source_sha256("data", plugins.parse_choice("data", name).name)])


def versions(distributions: tuple[str, ...]) -> dict[str, str | None]:
    """Installed versions; None for what is not installed."""
    return {name: _version(name) for name in distributions}


@functools.cache
def sources_sha256(patterns: tuple[str, ...]) -> str:
    """Hash of source files of the harness, given as patterns relative to it."""
    files = sorted({path for pattern in patterns for path in _HERE.glob(pattern)})
    return hashlib.sha256(
        "".join(f"{p.relative_to(_HERE)} {hashlib.sha256(p.read_bytes()).hexdigest()}\n" for p in files).encode()
    ).hexdigest()


@functools.cache
def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


@functools.cache
def _toolchain(kind: Kind) -> str:
    return canonical_sha256([sources_sha256(_SOURCES[kind]), versions(_DISTRIBUTIONS[kind]), platform.python_version()])


def _step(kind: Kind, inputs: Mapping[str, Any], needs: tuple[Step, ...], title: str, cores: int = 1) -> Step:
    text = canonical_json(inputs)
    key = hashlib.sha256("\n".join((kind, text, _toolchain(kind), *(need.key for need in needs))).encode()).hexdigest()
    return Step(kind, text, needs, title, cores, key)


def _program_sources(backend: Choice) -> str | None:
    """Of what becomes part of an artifact that is its own runner, beside the network; None for any other."""
    if runner(plugins.load("backends", backend.name)) != "program":
        return None
    return canonical_sha256([sources_sha256(_PROGRAM_SOURCES), _version("ziglang")])


def _files_of(method: Choice) -> dict[str, Any]:
    """Content of the files that a method's parameters name (its `files`); nothing for a method that reads none."""
    configured = plugins.instantiate("methods", method)
    given = {name: getattr(configured, name) for name in getattr(configured, "files", ())}
    found = {name: named_file(name, text, f"`{method.name}` reads it") for name, text in given.items() if text}
    return (
        {"files_sha256": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()}} if found else {}
    )


def _cores(model: Choice) -> int:
    cores: int = plugins.instantiate("models", model).recipe().threads
    return cores


def _choice(choice: Choice) -> dict[str, Any]:
    return {"name": choice.name, "params": dict(choice.params)}
