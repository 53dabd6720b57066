"""A text encoder (Vaswani et al. 2017, arXiv:1706.03762; layer order and names of BERT, Devlin et al. 2019, arXiv:1810.04805) with a linear head."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import nn

HIDDEN = -16.0
"""Added to the attention score of a place that only fills up: e^-16 of its share stays, 1e-7.

The usual -10,000 would cost an 8-bit score its resolution: one scale for the tensor has to hold the smallest value as well.
"""


class Attention(nn.Module):
    """Self-attention with `heads` heads. x [n, places, width], hidden [n, 1, 1, places] 0 or HIDDEN -> [n, places, width]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, width // heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        query, key, value = (self._split(layer(x)) for layer in (self.query, self.key, self.value))
        scores = query @ key.transpose(2, 3) * (1 / math.sqrt(self.head_width)) + hidden
        mixed = torch.softmax(scores, dim=-1) @ value
        result: torch.Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return result

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        """[n, places, width] -> [n, heads, places, head width]."""
        parts: torch.Tensor = x.unflatten(2, (self.heads, self.head_width))  # type: ignore[no-untyped-call]
        return parts.transpose(1, 2)


class Layer(nn.Module):
    """Attention and two linear layers with GELU, each around a sum with its input that is normalised afterwards."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float, epsilon: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width, epsilon)
        self.linear1 = nn.Linear(width, inner)
        self.gelu = nn.GELU()
        self.linear2 = nn.Linear(inner, width)
        self.norm2 = nn.LayerNorm(width, epsilon)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        x = self.norm1(x + self.dropout(self.attention(x, hidden)))
        result: torch.Tensor = self.norm2(x + self.dropout(self.linear2(self.gelu(self.linear1(x)))))
        return result


class Encoder(nn.Module):
    """Tokens [n, places] int64, 0 where a text has ended -> [n, classes]: the mean over the text's places goes into the linear head."""

    def __init__(
        self,
        vocabulary: int,
        places: int,
        classes: int,
        *,
        width: int,
        layers: int,
        heads: int,
        inner: int,
        dropout: float,
        epsilon: float,
    ) -> None:
        super().__init__()
        self.places = places
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.empty(places, width))
        self.norm = nn.LayerNorm(width, epsilon)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList([Layer(width, heads, inner, dropout, epsilon) for _ in range(layers)])
        self.head = nn.Linear(width, classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As BERT draws them, where its parts would draw theirs otherwise."""
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                nn.init.normal_(part.weight, 0.0, 0.02)
        nn.init.normal_(self.positions, 0.0, 0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        shown = (tokens != 0).to(torch.float32)  # [n, places]
        hidden = (1.0 - shown).unsqueeze(1).unsqueeze(1) * HIDDEN
        x = self.dropout(self.norm(self.tokens(tokens) + self.positions))
        for layer in self.layers:
            x = layer(x, hidden)
        count = shown.sum(dim=1, keepdim=True).clamp(min=1.0)
        result: torch.Tensor = self.head((x * shown.unsqueeze(2)).sum(dim=1) / count)
        return result

    def translated(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A BERT checkpoint's tensors as this network's: the one token type and the first places go into `positions`, the pooler is left out."""
        if "embeddings.word_embeddings.weight" not in state:
            return dict(state)
        places = state["embeddings.position_embeddings.weight"][: self.places]
        own = {"positions": places + state["embeddings.token_type_embeddings.weight"][0]}
        for name, tensor in state.items():
            translated = _own_name(name)
            if translated is not None:
                own[translated] = tensor
        return own


_BERT = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
}


def _own_name(name: str) -> str | None:
    """Of BERT's names; None for what is not taken over under a name of its own."""
    name = name.replace("embeddings.word_embeddings.", "tokens.").replace("embeddings.LayerNorm.", "norm.")
    layer = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)", name)
    if layer is not None:
        return f"layers.{layer[1]}.{_BERT[layer[2]]}.{layer[3]}"
    return None if name.startswith(("embeddings.", "pooler.")) else name
