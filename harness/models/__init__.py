"""Networks: a file exports `MODEL`, a frozen dataclass that builds the module and names its data and metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

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
        """Path of a checkpoint to load in place of training; empty: train by `recipe`."""

    def accepts(self, spec: DataSpec) -> str | None:
        """Why the network cannot take this data, or None."""

    def build(self, spec: DataSpec) -> nn.Module:
        """The untrained module; initialised from torch's global generator, which the caller seeds."""

    def recipe(self) -> Recipe: ...
