from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from harness.checkpoint import load_weights, save_weights
from harness.errors import UserError

pytestmark = pytest.mark.torch


def network(width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width))


class Dangerous:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("must-not-appear"),))  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt"])
def test_saved_weights_come_back_bit_for_bit(tmp_path: Path, name: str) -> None:
    source, copy = network(), network()
    if name.endswith("pt"):
        torch.save(source.state_dict(), tmp_path / name)
    else:
        save_weights(source, tmp_path / name)
    load_weights(copy, tmp_path / name)
    assert all(torch.equal(a, b) for a, b in zip(source.state_dict().values(), copy.state_dict().values(), strict=True))
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ""] == [name]


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.safetensors: no such checkpoint"):
        load_weights(network(), tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_file_is_refused(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    save_weights(network(), path) if name.endswith("safetensors") else torch.save(network().state_dict(), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        load_weights(network(), path)


def test_pickled_code_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"0.weight": Dangerous()}, "weights.pt")
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        load_weights(network(), "weights.pt")
    assert not Path("must-not-appear").exists()


def test_differences_are_named_and_nothing_is_loaded(tmp_path: Path) -> None:
    module = network()
    before = module.state_dict()["0.bias"].clone()
    state = network(5).state_dict()
    state["extra"] = state.pop("1.bias")
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(UserError) as caught:
        load_weights(module, tmp_path / "w.pt")
    text = str(caught.value)
    assert "`1.bias` is missing" in text
    assert "`extra` is not of this network" in text
    assert "`0.weight` is [5, 4], not [3, 4]" in text
    assert torch.equal(module.state_dict()["0.bias"], before)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = network().state_dict()
    state["0.bias"][1] = torch.nan
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"`0\.bias` holds values that are not finite"):
        load_weights(network(), tmp_path / "w.pt")


@pytest.mark.parametrize("content", [torch.zeros(3), {"epoch": 3}, [torch.zeros(1)]])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(UserError, match="holds no state dict"):
        load_weights(network(), tmp_path / "w.pt")


def test_a_file_far_larger_than_the_network_is_not_even_read(tmp_path: Path) -> None:
    with (tmp_path / "w.safetensors").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(UserError, match="too many for this network"):
        load_weights(network(), tmp_path / "w.safetensors")


def test_counters_of_batchnorm_may_be_missing(tmp_path: Path) -> None:
    first, second = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    first.weight.data.fill_(7.0)
    state = {name: tensor for name, tensor in first.state_dict().items() if name != "num_batches_tracked"}
    torch.save(state, tmp_path / "x.pt")
    load_weights(second, tmp_path / "x.pt")
    assert torch.equal(second.weight, first.weight)


def test_a_head_that_will_be_fitted_keeps_its_own_weights(tmp_path: Path) -> None:
    def network(classes: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, classes))

    published, ours = network(9), network(3)
    save_weights(published, tmp_path / "x.safetensors")
    kept = ours.state_dict()["1.weight"].clone()
    with pytest.raises(UserError, match=r"`1\.weight` is \[9, 4\]"):
        load_weights(ours, tmp_path / "x.safetensors")
    load_weights(ours, tmp_path / "x.safetensors", without="1")
    assert torch.equal(ours.state_dict()["0.weight"], published.state_dict()["0.weight"])
    assert torch.equal(ours.state_dict()["1.weight"], kept)


def test_a_network_may_translate_published_names(tmp_path: Path) -> None:
    class Own(nn.Linear):
        def translated(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {name.replace("kernel", "weight"): tensor for name, tensor in state.items()}

    network, kernel = Own(2, 3, bias=False), torch.rand(3, 2)
    torch.save({"kernel": kernel}, tmp_path / "x.pt")
    load_weights(network, tmp_path / "x.pt")
    assert torch.equal(network.weight, kernel)
