"""One small network, exported once a session in each form and batch that a test asks for, and opened as a device would."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from harness import environment, measure, plugins
from harness.artifact import Artifact
from harness.backend import Network
from harness.compression import Quantization
from harness.export import FORMS, Examples, Exported, export, from_file, save_program
from harness.plugins import Choice
from targets.target import Target
from targets.transports import connect

ROWS = 4
SHAPE = (3, 12, 12)


class Opened(NamedTuple):
    exported: Exported
    artifact: Artifact
    network: Network
    inputs: npt.NDArray[np.float32]
    """[batch, ...] as the form takes them."""
    reference: npt.NDArray[np.float32]
    """[batch, 10]."""


Open = Callable[..., Opened]


def needs(backend: str) -> None:
    """Skip the test where the backend's runtime is not installed."""
    if reason := environment.missing(backend, Target("local")):
        pytest.skip(reason)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], tuple[Exported, Examples]]:
    """(form, batch) -> the exported network and its examples."""
    folder = tmp_path_factory.mktemp("exported")

    @cache
    def program() -> tuple[Path, Examples, npt.NDArray[np.float32]]:
        import torch
        from torch import Tensor, nn

        class Residual(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
                self.inner = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.ReLU(), nn.Conv2d(16, 16, 1))
                self.head = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))

            def forward(self, x: Tensor) -> Tensor:
                y = self.stem(x)
                found: Tensor = self.head(y + self.inner(y))
                return found

        torch.manual_seed(0)
        network = Residual()
        calibration = np.random.default_rng(1).standard_normal((32, *SHAPE), np.float32)
        with torch.no_grad():
            network(torch.from_numpy(calibration))
            inputs = np.random.default_rng(2).standard_normal((ROWS, *SHAPE), np.float32)
            examples = Examples(inputs, network.eval()(torch.from_numpy(inputs)).numpy())
        save_program(network, np.zeros((1, *SHAPE), np.float32), folder / "module.pt2")
        return folder / "module.pt2", examples, calibration

    @cache
    def make(form: str, batch: int) -> tuple[Exported, Examples]:
        path, examples, calibration = program()
        numeric = FORMS[form].numeric
        integer = numeric == "int8"
        made = export(
            path,
            form=form,
            batch=batch,
            numeric=numeric,
            quantization=Quantization(8, 8, True, len(calibration), "") if integer else None,
            calibration=calibration if integer else None,
            examples=examples,
            folder=folder / f"{form}-{batch}",
        )
        return made, examples

    return make


@pytest.fixture
def opened(exported: Callable[[str, int], tuple[Exported, Examples]], tmp_path: Path) -> Open:
    """(backend, parameters, numeric, batch, threads) -> the network, built, loaded, and given its inputs."""

    def open_(
        backend: str,
        parameters: Mapping[str, Any],
        *,
        numeric: str = "float32",
        batch: int = 1,
        threads: int = 1,
        profile: bool = False,
    ) -> Opened:
        plugin = importlib.import_module(f"harness.backends.{backend}")
        host, target = plugin.BACKEND(**parameters), Target("local")
        needs(backend)
        made, examples = exported(host.form(numeric, target), batch)
        folder = tmp_path / "artifact"
        folder.mkdir()
        artifact = host.build(made, target, folder)
        network = plugin.load(str(folder), artifact.files[0].name, {"threads": threads, "profile": profile, **parameters})
        inputs = made.lay_out(examples.inputs[:batch])
        network.set_inputs([inputs])
        return Opened(made, artifact, network, inputs, examples.outputs[:batch])

    return open_


@pytest.fixture
def answers_right() -> Callable[[Opened], None]:
    """Invoke, and compare with the reference by the slow formula; nothing but numpy in between."""

    def check(given: Opened) -> None:
        given.network.invoke()
        (raw,), (reading,) = given.network.outputs(), given.network.output_quantization()
        real = raw if reading is None else reading[0] * (raw.astype(np.float64) - reading[1])
        assert real.shape == given.reference.shape
        error = real - given.reference
        if given.exported.numeric == "float32":
            assert np.abs(error).max() <= 1e-5 * np.abs(given.reference).max()
        else:
            assert 10 * np.log10(np.square(given.reference).sum() / np.square(error).sum()) >= 30

    return check


class Answered(NamedTuple):
    artifact: Artifact
    answer: measure.Answer
    operators: Sequence[Any]
    """Where the time of one inference goes, for a backend that says so."""
    reference: npt.NDArray[np.float32]
    """[rows, 10]."""

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.answer.reply.facts


@pytest.fixture
def answered(exported: Callable[[str, int], tuple[Exported, Examples]], tmp_path: Path) -> Callable[..., Answered]:
    """(backend, numeric, batch, threads) -> what the network answers to every example through the runner, in the backend's environment."""

    def answer(backend: str, *, numeric: Any = "float32", batch: int = 1, threads: int = 1) -> Answered:
        needs(backend)
        host, target = plugins.load("backends", backend)(), Target("local", work_dir=str(tmp_path / "work"))
        made, examples = exported(host.form(numeric, target), batch)
        folder = tmp_path / "artifact"
        folder.mkdir()
        artifact = host.build(made, target, folder)
        with connect(target) as session:
            deployed = measure.deploy_backend(session, artifact, Choice(backend), target, threads)
            inputs = made.lay_out(examples.inputs)
            found = measure.answer(session, deployed, [inputs], batch=batch, timeout_s=120)
            profiles = getattr(host, "profiles", False)
            operators = measure.operators(session, deployed, [inputs[:batch]], batch=batch, timeout_s=120) if profiles else ()
        return Answered(artifact, found, operators, examples.outputs)

    return answer


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., Path]:
    """(operator, inputs' kinds, shape) -> an ONNX file of one operator, made without torch."""

    def make(operator: str, kinds: list[int], shape: list[int | str], domain: str = "", **attributes: Any) -> Path:
        import onnx
        from onnx import helper

        names = [f"x{index}" for index in range(len(kinds))]
        graph = helper.make_graph(
            [helper.make_node(operator, names, ["y"], domain=domain, **attributes)],
            "g",
            [helper.make_tensor_value_info(name, kind, shape) for name, kind in zip(names, kinds, strict=True)],
            [helper.make_tensor_value_info("y", kinds[0], shape)],
        )
        opsets = [helper.make_opsetid("", 20), *([helper.make_opsetid(domain, 1)] if domain else [])]
        path = tmp_path / "source" / "model.onnx"
        path.parent.mkdir(exist_ok=True)
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
        return path

    return make


@pytest.fixture
def opened_alone(tmp_path: Path) -> Callable[[str, Path], tuple[Artifact, Network]]:
    """(backend, file) -> a user's own file, built and loaded."""

    def open_(backend: str, path: Path) -> tuple[Artifact, Network]:
        needs(backend)
        plugin = importlib.import_module(f"harness.backends.{backend}")
        folder = tmp_path / "alone"
        folder.mkdir()
        artifact = plugin.BACKEND().build(from_file(path), Target("local"), folder)
        return artifact, plugin.load(str(folder), artifact.files[0].name, {"threads": 1})

    return open_
