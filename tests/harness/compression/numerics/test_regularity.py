from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from harness.compiler.sparsity import zeros_of
from harness.compression.numerics.regularity import EXAMPLES, Block, NOfM, Pattern, Regularity, parse
from harness.errors import UserError

pytestmark = pytest.mark.torch

TILED = ("unstructured", "1x2", "1x4", "1x16", "block-punched 4x4", "block-punched 8x4", "filter")
SHARES = {"2:4": 0.5, "pattern": 0.75, "pattern 5:9": 0.5}
"""Where half cannot be had, or is all that can."""


def ragged(*shape: int) -> torch.Tensor:
    """Weights full of ties, of both signs."""
    return torch.randint(-3, 4, shape).float()


@pytest.mark.parametrize("label", [*EXAMPLES, "1x4", "block 1x8", "pattern 3:9", "4:8", "block-punched 16x1"])
def test_labels_are_read_and_printed(label: str) -> None:
    assert str(parse(label)) == label
    assert parse(f" {label} ") == parse(label)


def test_four_of_nine_is_the_pattern_that_needs_no_number() -> None:
    assert parse("pattern 4:9") == parse("pattern") == Pattern(4)


@pytest.mark.parametrize(
    "label", ["", "1x0", "0:4", "4:4", "5:4", "block", "block 4", "block 0x4", "pattern 9:9", "1X4", "2:4 8"]
)
def test_what_is_no_label_is_a_user_error(label: str) -> None:
    with pytest.raises(UserError, match="regularity"):
        parse(label)


def test_a_mistyped_label_is_told_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean `unstructured`"):
        parse("unstructred")


@settings(deadline=None, max_examples=80)
@given(
    label=st.sampled_from(TILED),
    shape=st.sampled_from([(16, 8, 3, 3), (10, 5, 3, 3), (17, 9), (5, 3, 1, 1), (33, 2, 5)]),
    sparsity=st.floats(0.01, 0.99),
    seed=st.integers(0, 99),
)
def test_exactly_the_share_of_units_goes_the_smallest_first(
    label: str, shape: tuple[int, ...], sparsity: float, seed: int
) -> None:
    """Whole units, none that is larger than one that stays; ties, ragged channels and short blocks included."""
    torch.manual_seed(seed)
    regularity, weight = parse(label), ragged(*shape)
    mask, scores = regularity.mask(weight, sparsity), regularity.scores(weight)
    units = regularity.tile.means(mask.double())
    assert set(units.flatten().tolist()) <= {0.0, 1.0}
    assert int((units == 0).sum()) == round(sparsity * scores.numel())
    if 0 < int(units.sum()) < units.numel():
        assert scores[units == 0].max() <= scores[units == 1].min()
    assert torch.equal(mask, regularity.mask(weight.clone(), sparsity))


def test_scores_of_1xn_are_mean_magnitudes_of_kernels_of_neighbouring_filters() -> None:
    weight = ragged(10, 3, 3, 3)
    scores = parse("1x4").scores(weight)[..., 0]
    for row, (first, last) in enumerate([(0, 4), (4, 8), (8, 10)]):
        for channel in range(3):
            assert float(scores[row, channel]) == pytest.approx(float(weight[first:last, channel].abs().mean()))


def test_scores_of_punched_blocks_are_norms_over_filters_summed_over_channels() -> None:
    weight = ragged(8, 4, 3, 3)
    scores = parse("block-punched 4x2").scores(weight)
    for b in range(2):
        for c in range(2):
            for place in range(9):
                rows = weight.flatten(2)[4 * b : 4 * b + 4, 2 * c : 2 * c + 2, place]
                yolobile = sum(float(rows[:, j].norm()) for j in range(2))
                assert float(scores[b, c, place]) == pytest.approx(yolobile / (2 * 4**0.5))


def test_of_equal_units_the_first_leave() -> None:
    mask = parse("1x2").mask(torch.ones(4, 3, 3, 3), 0.5)
    assert not mask[:2].any()
    assert bool(mask[2:].all())


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (8, 3), (16, 72), (1, 1)])
@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (18, 10)])
def test_blocks_lose_whole_rows_and_columns_of_their_tiles_and_no_more_than_asked(
    rows: int, columns: int, shape: tuple[int, ...]
) -> None:
    weight = torch.randn(shape)
    mask = Block(rows, columns).mask(weight, 0.6)
    matrix = mask.reshape(shape[0], shape[1], -1).transpose(1, 2).flatten(1)
    assert int((~mask).sum()) <= round(0.6 * mask.numel())
    for top in range(0, matrix.shape[0], rows):
        for left in range(0, matrix.shape[1], columns):
            tile = matrix[top : top + rows, left : left + columns]
            assert torch.equal(tile, tile.any(1, keepdim=True) & tile.any(0, keepdim=True))


def test_a_block_of_one_weight_is_unstructured_and_one_of_all_is_filters_and_columns() -> None:
    weight = torch.randn(8, 6)
    assert torch.equal(Block(1, 1).mask(weight, 0.5), parse("unstructured").mask(weight, 0.5))
    whole = Block(8, 6).mask(weight, 0.5)
    assert torch.equal(whole, whole.any(1, keepdim=True) & whole.any(0, keepdim=True))


@pytest.mark.parametrize(("keep", "sparsity"), [(4, 5 / 9), (4, 0.75), (4, 0.9), (5, 0.5), (3, 0.7)])
def test_kernels_keep_a_member_of_a_small_library_with_the_centre_or_nothing(keep: int, sparsity: float) -> None:
    mask = Pattern(keep).mask(torch.randn(16, 12, 3, 3), sparsity).flatten(2).flatten(0, 1)
    kept = mask[mask.any(1)]
    assert set(kept.sum(1).tolist()) == {keep}
    assert bool(kept[:, 4].all())
    assert len({tuple(kernel) for kernel in kept.tolist()}) <= 8
    removed = 1 - (1 - sparsity) * 9 / keep
    assert len(mask) - len(kept) == round(max(removed, 0.0) * len(mask))


def test_each_kernel_takes_the_pattern_of_the_library_that_keeps_most() -> None:
    weight = torch.randn(16, 12, 3, 3)
    mask = Pattern(4).mask(weight, 5 / 9)
    squares = weight.double().square().flatten(2).flatten(0, 1)
    library = torch.tensor(sorted({tuple(kernel) for kernel in mask.flatten(2).flatten(0, 1).tolist()})).double()
    best = (squares @ library.T).max(1).values
    assert torch.allclose((squares * mask.flatten(2).flatten(0, 1)).sum(1), best)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (4, 8)])
@pytest.mark.parametrize("shape", [(6, 8, 3, 3), (5, 16)])
def test_exactly_n_of_m_neighbouring_input_channels_stay_at_each_place(n: int, m: int, shape: tuple[int, ...]) -> None:
    weight = ragged(*shape)
    mask = NOfM(n, m).mask(weight, 1 - n / m).reshape(shape[0], shape[1], -1)
    magnitudes = weight.abs().reshape(shape[0], shape[1], -1)
    for o in range(shape[0]):
        for place in range(mask.shape[2]):
            for start in range(0, shape[1], m):
                kept = mask[o, start : start + m, place]
                values = magnitudes[o, start : start + m, place]
                assert int(kept.sum()) == n
                assert values[kept].min() >= values[~kept].max()


@pytest.mark.parametrize(
    ("label", "named"),
    [
        ("unstructured", "unstructured"),
        ("1x4", "1x4"),
        ("1x8", "1x8"),
        ("1x16", "1x16"),
        ("block-punched 8x4", "block-punched 8x4"),
        ("block-punched 16x4", "block-punched 16x4"),
        ("block 4x4", "block 4x4"),
        ("pattern", "pattern 4:9"),
        ("pattern 5:9", "pattern 5:9"),
        ("2:4", "2:4"),
        ("filter", "filter"),
    ],
)
def test_the_compiler_names_the_regularity_back(label: str, named: str) -> None:
    torch.manual_seed(0)
    weight = torch.randn(64, 32, 3, 3)
    pruned = weight * parse(label).mask(weight, SHARES.get(label, 0.6))
    assert zeros_of(pruned.permute(2, 3, 1, 0).numpy()).pattern == named


@pytest.mark.parametrize("label", ["unstructured", "1x4", "block-punched 4x2", "block 4x4", "filter", "pattern", "2:4"])
def test_the_energy_of_a_weight_is_its_units_sum_of_squares(label: str) -> None:
    """Found by spreading each unit alone; a weight of a block belongs to a row and a column, and counts the weaker."""
    regularity, weight = parse(label), torch.randn(8, 4, 3, 3)
    energy = regularity.energy(weight)
    squares = weight.double().square()
    if isinstance(regularity, Block):
        matrix = squares.flatten(2).transpose(1, 2).flatten(1)
        rows = matrix.view(8, 9, 4).sum(2).repeat_interleave(4, 1)
        columns = matrix.view(2, 4, 36).sum(1).repeat_interleave(4, 0)
        expected = torch.minimum(rows, columns).view(8, 9, 4).transpose(1, 2).reshape(8, 4, 3, 3)
    else:
        units = regularity.tile.sizes(weight.shape)
        numbers = regularity.tile.spread(torch.arange(units.numel()).view(units.shape), weight.shape)
        expected = torch.stack([squares[numbers == n].sum() for n in range(units.numel())])[numbers]
    assert torch.allclose(energy, expected)


@pytest.mark.parametrize(
    ("label", "layer", "reason"),
    [
        ("1x4", nn.Conv2d(8, 8, 3, groups=8), "8 groups"),
        ("block-punched 2x1", nn.Conv2d(8, 8, 3, groups=2), "2 groups"),
        ("filter", nn.Conv2d(8, 8, 3, groups=8), "8 groups"),
        ("pattern", nn.Conv2d(8, 8, 3, groups=8), "8 groups"),
        ("block 2x2", nn.Conv2d(8, 8, 3, groups=8), "8 groups"),
        ("1x16", nn.Linear(8, 10), "10 filters of 8 input channels do not fill a block"),
        ("block-punched 8x4", nn.Conv2d(3, 16, 3), "16 filters of 3 input channels"),
        ("block 16x4", nn.Linear(8, 10), "10x8, smaller than a tile"),
        ("pattern", nn.Conv2d(8, 8, 1), "only for 3x3"),
        ("pattern", nn.Linear(8, 8), "only for 3x3"),
        ("2:4", nn.Conv2d(6, 8, 3), "6 input channels are no multiple of 4"),
    ],
)
def test_a_layer_that_it_does_not_suit_is_told_why(label: str, layer: nn.Linear | nn.Conv2d, reason: str) -> None:
    assert reason in str(parse(label).applies_to(layer))


@pytest.mark.parametrize("label", EXAMPLES)
def test_it_suits_an_ordinary_convolution(label: str) -> None:
    assert parse(label).applies_to(nn.Conv2d(16, 32, 3)) is None


def test_single_weights_may_go_from_a_depthwise_convolution() -> None:
    assert parse("unstructured").applies_to(nn.Conv2d(8, 8, 3, groups=8)) is None


@pytest.mark.parametrize(("label", "sparsity"), [("2:4", 0.6), ("1:4", 0.5), ("pattern", 0.5), ("pattern 5:9", 0.4)])
def test_a_share_that_it_cannot_remove_is_a_user_error(label: str, sparsity: float) -> None:
    with pytest.raises(UserError, match=r"removes"):
        parse(label).mask(torch.randn(8, 8, 3, 3), sparsity)


def test_the_coarser_the_less_magnitude_is_kept() -> None:
    """The order of the digest, on fixed weights: single ones >= 1x2 >= 1x4 >= 1x16 >= filters; punched 4x4 >= punched 8x16 >= filters."""
    torch.manual_seed(0)
    weight = torch.randn(64, 64, 3, 3) * (0.2 + torch.rand(64, 64, 1, 1))  # kernels of unequal weight, as trained ones are

    def kept(regularity: Regularity, power: int) -> float:
        return float((weight.abs() ** power)[regularity.mask(weight, 0.5)].sum() / (weight.abs() ** power).sum())

    for power in (1, 2):
        for chain in (
            ("unstructured", "1x2", "1x4", "1x16", "filter"),
            ("unstructured", "block-punched 4x4", "block-punched 8x16", "filter"),
        ):
            found = [kept(parse(label), power) for label in chain]
            assert found == sorted(found, reverse=True)
            assert found[0] > found[-1] + 0.1
