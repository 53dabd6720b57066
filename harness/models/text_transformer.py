"""A small text encoder (Vaswani et al. 2017, arXiv:1706.03762), trained from nothing: token vectors, attention, mean over the text, linear layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge

from harness.criterion import CLASSIFICATION, Criterion
from harness.models import not_texts
from harness.train import Recipe

if TYPE_CHECKING:
    from torch import nn

    from harness.data import DataSpec


@dataclass(frozen=True, slots=True)
class TextTransformer:
    criterion: ClassVar[Criterion] = CLASSIFICATION

    data: str = "clinc150"
    layers: Annotated[int, Ge(1)] = 2
    width: Annotated[int, Ge(1)] = 64
    """Of a token's vector; the inner linear layers are four times as wide."""
    heads: Annotated[int, Ge(1)] = 4
    epochs: Annotated[int, Ge(0)] = 20
    weights: str = ""

    def accepts(self, spec: DataSpec) -> str | None:
        if self.width % self.heads:
            return f"text_transformer: width {self.width} cannot be split among {self.heads} heads; take a multiple"
        return not_texts("text_transformer", spec)

    def build(self, spec: DataSpec) -> nn.Module:
        from harness.models.networks.encoder import Encoder

        assert spec.vocabulary is not None
        return Encoder(
            spec.vocabulary,
            spec.input_shape[0],
            spec.classes,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            inner=4 * self.width,
            dropout=0.1,
            epsilon=1e-5,
        )

    def recipe(self) -> Recipe:
        return Recipe(self.epochs, batch_size=64, learning_rate=2e-3, weight_decay=1e-2, warmup_epochs=1.0, label_smoothing=0.1)


MODEL = TextTransformer
