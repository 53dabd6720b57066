"""Networks: a file exports `MODEL`, a frozen dataclass that builds the module and names its data and metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Protocol

from annotated_types import Ge

from harness.compression import Numeric
from harness.criterion import CLASSIFICATION, Criterion, Metric
from harness.errors import UserError
from harness.train import Augment

if TYPE_CHECKING:
    from torch import nn

    from harness.data import DataSpec
    from harness.train import Recipe


class Model(Protocol):
    """The shape of a MODEL: a frozen dataclass whose fields are the parameters a suite may set."""

    @property
    def data(self) -> str:
        """Name of the data set it is trained and judged on."""

    @property
    def weights(self) -> str:
        """A checkpoint to load in place of training, as `harness/weights.py` reads it; empty: train by `recipe`."""

    @property
    def criterion(self) -> Criterion:
        """What its outputs mean, how it learns and how it is judged."""

    def accepts(self, spec: DataSpec) -> str | None:
        """Why the network cannot take this data, or None."""

    def build(self, spec: DataSpec) -> nn.Module:
        """The untrained module; initialised from torch's global generator, which the caller seeds."""

    def recipe(self) -> Recipe: ...


@dataclass(frozen=True, slots=True)
class FileModel:
    """A MODEL that is a user's own file: method `float32` takes it as it is (`harness/own_file.py`), and nothing is trained."""

    suffix: ClassVar[str]
    has_layers: ClassVar[bool] = False
    """Whether `build` makes layers of it, for other methods to change."""

    path: str
    data: str
    numeric: Numeric = "float32"
    """`int8` for a quantized file: answers are then compared as integers' are."""
    metric: Metric = "top1"
    """What the data's labels judge: `auc` too of class scores for two classes."""
    reconstructs: bool = False
    """Whether it answers with its inputs over again, of which `auc` is judged."""

    @property
    def criterion(self) -> Criterion:
        return Criterion((self.metric,), "reconstruction" if self.reconstructs else "class_scores")

    @property
    def weights(self) -> str:
        return self.path

    def accepts(self, spec: DataSpec) -> str | None:  # noqa: ARG002 - the file says, once it is read
        return None

    def build(self, spec: DataSpec) -> nn.Module:  # noqa: ARG002
        raise UserError(f"{self.path} is a {self.suffix} file, with no layers to train, compress or measure alone")

    def recipe(self) -> Recipe:
        from harness.train import Recipe

        return Recipe(0)


@dataclass(frozen=True, slots=True)
class ResidualNetwork:
    """What the residual networks for images share: their parameters, which images they take, how they are trained."""

    criterion: ClassVar[Criterion] = CLASSIFICATION
    name: ClassVar[str]
    least_pixels: ClassVar[int]
    """On each side of an image."""

    data: str
    width: Annotated[int, Ge(1)]
    epochs: Annotated[int, Ge(0)] = 40
    augment: Augment = "crop_flip"
    weights: str = ""

    def accepts(self, spec: DataSpec) -> str | None:
        return not_images(self.name, spec, self.least_pixels)

    def recipe(self) -> Recipe:
        return sgd(self.epochs, self.augment)


def not_images(name: str, spec: DataSpec, least: int) -> str | None:
    """Why data is no images of `least` pixels and more on each side, for `accepts`; None if it is."""
    if spec.dtype == "float32" and len(spec.input_shape) == 3 and min(spec.input_shape[1:]) >= least:
        return None
    kind = "tokens" if spec.dtype == "int64" else "arrays"
    return f"{name} takes images [channels, height, width] of {least}x{least} and more, not {kind} {list(spec.input_shape)}"


def not_texts(name: str, spec: DataSpec) -> str | None:
    """Why data is no token numbers of one length, for `accepts`; None if it is."""
    if spec.dtype == "int64" and len(spec.input_shape) == 1 and spec.vocabulary is not None:
        return None
    return f"{name} takes texts, int64 token numbers [places], not {spec.dtype} {list(spec.input_shape)}"


def sgd(epochs: int, augment: Augment, learning_rate: float = 0.1, weight_decay: float = 1e-4) -> Recipe:
    """How residual networks are mostly published (He et al. 2016, sec. 4.2), with a cosine in place of steps."""
    from harness.train import Recipe

    return Recipe(
        epochs,
        batch_size=128,
        optimizer="sgd",
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        warmup_epochs=1.0,
        augment=augment,
        threads=2,
    )
