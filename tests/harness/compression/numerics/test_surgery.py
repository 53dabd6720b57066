from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from harness.compression.numerics import surgery
from harness.compression.numerics.post_training import Solver
from harness.compression.numerics.refit import refit_rows, second_moments
from harness.compression.numerics.regularity import parse
from harness.compression.numerics.surgery import Operation, Option, operations, remembered, scales, stored_bits, unfit
from harness.errors import BuildError, UserError

Shape = tuple[int, int, int, int]
pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("compiler_cache")]

SHAPES: list[Shape] = [(16, 16, 3, 3), (24, 8, 3, 3), (32, 64, 1, 1)]
"""A small fixed set of layers: the sizes of a CIFAR network's."""


def images(channels: int, count: int = 24) -> torch.Tensor:
    """[count, channels, 12, 12] smooth and correlated over channels, as activations are."""
    generator = torch.Generator().manual_seed(channels)
    coarse = torch.randn(count, channels, 4, 4, generator=generator)
    mixed = torch.einsum("oc,nchw->nohw", torch.randn(channels, channels, generator=generator) / channels**0.5, coarse)
    return nn.functional.interpolate(mixed + 0.3 * coarse, size=(12, 12), mode="bilinear").relu()


def operation(shape: Shape, groups: int = 1) -> Operation:
    torch.manual_seed(shape[0])
    layer = nn.Conv2d(shape[1] * groups, shape[0], (shape[2], shape[3]), padding=shape[2] // 2, groups=groups)
    x = images(shape[1] * groups)
    return Operation("0", layer.weight.detach(), second_moments(nn.Sequential(layer), ["0"], x)["0"], 1e-2)


def errors(option: Option, solver: Solver) -> list[float]:
    return [o.error(next(o.solutions([option], solver))) for o in map(operation, SHAPES)]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_quantization_errs_at_most_six_tenths_of_rounding_on_the_fixed_set(bits: int) -> None:
    ours, rounded = (torch.tensor(errors(Option(bits=bits), solver)) for solver in ("obs", "plain"))
    assert float((ours / rounded).mean()) <= 0.6
    assert float((ours / rounded).max()) < 1.0


@pytest.mark.parametrize(("label", "sparsity"), [("unstructured", 0.5), ("unstructured", 0.7), ("2:4", 0.5), ("1:4", 0.75)])
def test_pruning_errs_at_most_half_of_magnitudes_and_less_than_its_refit_on_the_fixed_set(label: str, sparsity: float) -> None:
    option = Option(sparsity, parse(label))
    ours, plain, refit = (torch.tensor(errors(option, solver)) for solver in ("obs", "plain", "refit"))
    assert float((ours / plain).mean()) <= 0.5
    assert float((ours / refit).mean()) <= 0.85
    assert float((ours / refit).max()) < 1.0


def test_blocks_cost_more_than_single_weights_and_less_than_blocks_by_magnitude() -> None:
    single, blocks = Option(0.5), Option(0.5, parse("block-punched 1x4"))
    ours = torch.tensor(errors(blocks, "obs"))
    assert bool((torch.tensor(errors(single, "obs")) < ours).all())
    assert bool((ours < torch.tensor(errors(blocks, "plain"))).all())


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.333, 0.9])
@pytest.mark.parametrize("groups", [1, 4])
def test_exactly_the_asked_share_of_the_layer_leaves(sparsity: float, groups: int) -> None:
    work = operation((16, 8, 3, 3), groups)
    for solver in ("obs", "refit", "plain"):
        (found,) = work.solutions([Option(sparsity)], solver)
        assert int((found == 0).sum()) == round(sparsity * found.numel())


def test_groups_are_layers_of_their_own_that_share_the_number_of_weights_that_leave() -> None:
    work = operation((8, 1, 3, 3), groups=8)  # depthwise
    (found,) = work.solutions([Option(0.5)], "obs")
    kept = found.flatten(1) != 0
    for row, keep, now, moment in zip(work.weight.flatten(1), kept, found.flatten(1), work.moments, strict=True):
        assert torch.allclose(refit_rows(row.double()[None], keep[None], moment)[0].float(), now, atol=1e-5)
    assert len(set(kept.sum(1).tolist())) > 1


def test_the_error_is_that_of_the_outputs() -> None:
    layer = nn.Conv2d(4, 6, 3, groups=2, bias=False)
    x = images(4)
    work = Operation("0", layer.weight.detach().clone(), second_moments(nn.Sequential(layer), ["0"], x)["0"], 1e-2)
    other = torch.randn_like(layer.weight)
    with torch.no_grad():
        dense = layer(x)
        layer.weight.copy_(other)
        lost = (layer(x) - dense).square().sum() / dense.square().sum()
    assert work.error(other) == pytest.approx(float(lost), rel=1e-4)
    assert work.error(work.weight) == 0.0


def test_pruned_and_quantized_at_once_is_both_and_better_than_one_after_the_other() -> None:
    option = Option(0.5, bits=3)
    for work in map(operation, SHAPES):
        pruned, joint = work.solutions([Option(0.5), option], "obs")
        assert int((joint == 0).sum()) >= round(0.5 * joint.numel())
        for row in joint.flatten(1):
            assert len(row.unique()) <= 8
        (rounded,) = work.solutions([option], "refit")
        assert work.error(pruned) < work.error(joint) < work.error(rounded)


def test_several_strengths_of_one_regularity_are_what_each_alone_gives() -> None:
    work = operation((8, 8, 3, 3))
    options = [Option(0.3), Option(0.8), Option(0.5, parse("2:4")), Option(bits=4)]
    together = list(work.solutions(options, "obs"))
    assert all(torch.equal(found, next(work.solutions([o], "obs"))) for found, o in zip(together, options, strict=True))


def test_a_wrong_sparsity_for_the_regularity_is_refused() -> None:
    with pytest.raises(UserError, match=r"`2:4` removes 0\.5"):
        list(operation((4, 8, 1, 1)).solutions([Option(0.7, parse("2:4"))], "obs"))


def test_moments_are_taken_in_as_many_passes_as_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(256, 3)).eval()
    at_once = list(operations(network, ["0", "2", "4"], images(2), 1e-2))
    monkeypatch.setattr(surgery, "MOMENTS_BYTES", 8 * (18**2 + 36**2))
    passes: list[int] = []
    handle = network.register_forward_pre_hook(lambda _module, given: passes.append(len(given[0])))
    in_parts = list(operations(network, ["0", "2", "4"], images(2), 1e-2))
    handle.remove()
    assert sum(passes) == 2 * 24
    assert [work.name for work in in_parts] == ["0", "2", "4"]
    assert all(torch.equal(a.moments, b.moments) for a, b in zip(at_once, in_parts, strict=True))


def test_what_was_solved_is_not_solved_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = operation((8, 8, 3, 3))
    (first,) = remembered(work, [Option(0.5)], "obs", tmp_path)
    (other,) = remembered(work, [Option(0.75)], "obs", tmp_path)
    monkeypatch.setattr(Operation, "solutions", lambda *_given: pytest.fail("it is remembered"))
    (kept,) = remembered(work, [Option(0.5)], "obs", tmp_path)
    assert torch.equal(first, kept) and not torch.equal(first, other)


def test_layers_whose_inputs_cannot_be_laid_out_are_named() -> None:
    assert unfit(nn.Conv2d(2, 4, 3)) is None
    assert "columns" in str(unfit(nn.Conv1d(2, 4, 3)))


def test_an_unsolvable_layer_is_named() -> None:
    work = Operation("stage.conv", torch.randn(2, 2, 1, 1), -torch.eye(2, dtype=torch.float64)[None], 1e-2)
    with pytest.raises(BuildError, match=r"layer `stage.conv`.*raise `damping`"):
        list(work.solutions([Option(bits=4)], "obs"))


def test_options_print_what_they_do_and_what_they_take() -> None:
    weight = torch.ones(4, 8, 1, 1)
    assert [str(o) for o in (Option(), Option(0.5), Option(0.5, parse("2:4"), 4), Option(bits=3, symmetric=False))] == [
        "dense",
        "unstructured 0.5",
        "2:4 0.5, 4 bit",
        "dense, 3 bit asymmetric",
    ]
    assert (stored_bits(weight, Option(bits=3)), scales(weight, Option(bits=3))) == (96, 4)
    assert scales(weight, Option(bits=3, symmetric=False)) == 8
    assert (stored_bits(weight, Option()), scales(weight, Option())) == (1024, 0)
    weight[:, ::2] = 0
    assert stored_bits(weight, Option(0.5, bits=4)) < 4 * 32
