"""The invariants of optimal brain surgery, and its loops in C against the same in NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from harness.compression.numerics import obs
from harness.compression.numerics.obs import Hessian, compensated, downdated, hessian, kept_units, kept_weights, traces, units
from harness.compression.numerics.refit import refit_rows
from harness.compression.numerics.regularity import parse
from harness.errors import BuildError, UserError

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("compiler_cache")]

Case = tuple[torch.Tensor, Hessian]


def layer(rows: int, width: int, seed: int, damping: float = 1e-2) -> Case:
    """Weights [rows, width] and a Hessian of correlated inputs, as a ReLU before the layer leaves them."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(width, width, generator=generator, dtype=torch.float64) / width**0.5
    x = torch.randn(width, 40 * width, generator=generator, dtype=torch.float64)
    x = (mixed @ x + 0.3 * x).relu()
    return torch.randn(rows, width, generator=generator, dtype=torch.float64), hessian(x @ x.T, damping)


def growth(now: torch.Tensor, dense: torch.Tensor, h: Hessian) -> torch.Tensor:
    """[rows] half of d^T H d."""
    return 0.5 * ((now - dense) @ h.matrix * (now - dense)).sum(1)


@pytest.fixture(params=["C", "NumPy"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "NumPy":
        monkeypatch.setattr(obs, "compiled_loops", lambda _source: None)
    return str(request.param)


@pytest.mark.parametrize("p", [0, 3, 8])
def test_downdating_the_inverse_is_inverting_without_the_row_and_column(p: int) -> None:
    _, h = layer(1, 9, seed=p)
    less = downdated(h.inverse.numpy(), p)
    rest = [i for i in range(9) if i != p]
    expected = np.linalg.inv(h.matrix.numpy()[np.ix_(rest, rest)])
    assert np.allclose(less[np.ix_(rest, rest)], expected, rtol=1e-10, atol=0)
    assert np.abs(less[p]).max() <= 1e-12 and np.abs(less[:, p]).max() <= 1e-12


@pytest.mark.usefixtures("loops")
def test_the_first_to_leave_costs_less_than_any_other_alone() -> None:
    w, h = layer(5, 12, seed=1)
    first = traces(w, h, units(parse("unstructured"), w.shape), 1).order[:, 0]
    for row, chosen in enumerate(first.tolist()):
        alone = [growth(compensated(w[row : row + 1], (torch.arange(12) != p)[None], h), w[row : row + 1], h) for p in range(12)]
        assert chosen == int(torch.stack(alone).argmin())


def compensated_one(w: torch.Tensor, gone: list[int], h: Hessian) -> torch.Tensor:
    kept = torch.ones(1, w.shape[1], dtype=torch.bool)
    kept[0, gone] = False
    return compensated(w, kept, h)


@pytest.mark.parametrize("seed", range(3))
def test_losses_add_up_to_what_the_outputs_really_lose(seed: int, loops: str) -> None:
    w, h = layer(4, 30, seed)
    found = traces(w, h, units(parse("unstructured"), w.shape), 30)
    for row, steps in itertools.product(range(4), (1, 7, 22, 30)):
        now = compensated_one(w[row : row + 1], found.order[row, :steps].tolist(), h)
        true = float(growth(now, w[row : row + 1], h))
        tolerance = 1e-5 if loops == "C" else 1e-6  # losses are kept as float32
        assert float(found.loss[row, :steps].sum()) == pytest.approx(true, rel=tolerance)


def test_the_group_formula_is_one_step_after_another_and_the_least_squares_refit() -> None:
    w, h = layer(1, 15, seed=4)
    for gone in ([3], [0, 14, 7], list(range(2, 13)), list(range(15))):
        step, inverse = w[0].numpy().copy(), h.inverse.numpy()
        for p in gone:
            step -= inverse[:, p] * step[p] / inverse[p, p]
            step[p] = 0.0
            inverse = downdated(inverse, p)
        found = compensated_one(w, gone, h)[0]
        kept = torch.ones(1, 15, dtype=torch.bool)
        kept[0, gone] = False
        assert np.allclose(found.numpy(), step, rtol=1e-9, atol=1e-9)
        assert torch.allclose(found, refit_rows(w, kept, h.matrix, damping=1e-15)[0], rtol=1e-9, atol=1e-9)
        assert bool((found[gone] == 0).all())


def brute_force_trace(w: np.ndarray, h: np.ndarray, groups: list[list[int]], steps: int) -> list[int]:
    """Each step removes the unit of all rows [rows, d] after which the best weights there are lose the least, found by solving for every one of them."""
    gone: list[int] = []
    for _ in range(steps):
        losses = []
        for unit in range(len(groups)):
            if unit in gone:
                losses.append(np.inf)
                continue
            removed = [p for u in (*gone, unit) for p in groups[u]]
            stays = [p for p in range(w.shape[1]) if p not in removed]
            v = np.zeros_like(w)
            if stays:
                v[:, stays] = (
                    w[:, stays] + np.linalg.solve(h[np.ix_(stays, stays)], h[np.ix_(stays, removed)] @ w[:, removed].T).T
                )
            losses.append(float(((v - w) @ h * (v - w)).sum()))
        gone.append(int(np.argmin(losses)))
    return gone


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize(
    "label",
    ["unstructured", "block-punched 1x2", "block-punched 1x3", "block-punched 2x1", "block-punched 2x3", "1x2", "1x3", "1x5"],
)
def test_traces_are_those_that_solving_for_every_choice_gives(label: str) -> None:
    shape = torch.Size(
        (5, 4, 2, 2)
    )  # 4 channels: blocks of 3 leave one of 1 at each place; 5 filters: the last bundle is smaller
    w, h = layer(5, 16, seed=2)
    of = units(parse(label), shape)
    found = traces(w, h, of, len(of.group))
    members = [of.columns[a:b].tolist() for a, b in itertools.pairwise(of.start.tolist())]
    bundles = [w[first : first + of.bundle] for first in range(0, 5, of.bundle)]
    assert len(found.order) == len(bundles)
    for rows, order in zip(bundles, found.order, strict=True):
        assert order.tolist() == brute_force_trace(rows.numpy(), h.matrix.numpy(), members, len(members))


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("label", ["block-punched 4x1", "block-punched 3x2", "1x4"])
def test_losses_of_bundles_add_up_to_what_the_outputs_really_lose(label: str) -> None:
    shape = torch.Size((10, 4, 3, 1))
    w, h = layer(10, 12, seed=9)
    of = units(parse(label), shape)
    found = traces(w, h, of, len(of.group))
    bundles = kept_units(found, len(of.group), found.order.numel() // 2)
    kept = kept_weights(bundles, of, 10)
    steps = zip(found.loss, (~bundles).sum(1).tolist(), strict=True)
    lost = float(growth(compensated(w, kept, h), w, h).sum())
    assert lost == pytest.approx(sum(float(loss[:taken].sum()) for loss, taken in steps), rel=1e-4)
    units_kept = parse(label).tile.sums(kept.view(shape).double())
    assert bool(((units_kept == 0) | (units_kept == parse(label).tile.sizes(shape))).all())


@pytest.mark.parametrize(
    "label", ["unstructured", "2:4", "1:4", "block-punched 1x4", "block-punched 1x16", "1x2", "block-punched 2x4"]
)
def test_c_and_numpy_choose_the_same(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = torch.Size((3, 12, 3, 3))  # over three times what the C loop keeps aside
    w, h = layer(3, 108, seed=3)
    of = units(parse(label), shape)
    steps = int(of.limit.sum())
    fast = traces(w, h, of, steps)
    monkeypatch.setattr(obs, "compiled_loops", lambda _source: None)
    slow = traces(w, h, of, steps)
    assert float((fast.order == slow.order).double().mean()) > 0.97  # float32 sees some pairs as equal
    assert torch.allclose(fast.loss.sum(1), slow.loss.sum(1), rtol=1e-4)


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (1, 2), (5, 8)])
def test_n_of_m_stay_of_neighbouring_input_channels_at_each_place(n: int, m: int) -> None:
    shape = torch.Size((4, 16, 1, 3))
    w, h = layer(4, 48, seed=5)
    of = units(parse(f"{n}:{m}"), shape)
    found = traces(w, h, of, int(of.limit.sum()))
    kept = kept_weights(kept_units(found, 48, found.order.numel()), of, 4).view(shape)
    assert bool((kept.view(4, 16 // m, m, 3).sum(2) == n).all())


def test_the_cheapest_steps_of_all_rows_are_taken_and_each_row_keeps_its_order() -> None:
    found = obs.Trace(torch.tensor([[2, 0, 1], [1, 2, 0]]), torch.tensor([[1.0, 5.0, 9.0], [2.0, 3.0, 4.0]]))
    assert kept_units(found, 3, 4).tolist() == [[True, True, False], [False, False, False]]
    assert kept_units(found, 3, 0).all()
    assert not kept_units(found, 3, 6).any()


def test_equal_losses_leave_in_the_order_of_the_rows() -> None:
    w, h = torch.ones(3, 4, dtype=torch.float64), hessian(torch.eye(4, dtype=torch.float64), 1e-2)
    of = units(parse("unstructured"), w.shape)
    kept = kept_units(traces(w, h, of, 4), 4, 6)
    assert kept.tolist() == [[False] * 4, [False, False, True, True], [True] * 4]


@pytest.mark.usefixtures("loops")
def test_inputs_that_are_always_zero_leave_first_and_cost_nothing() -> None:
    w, _ = layer(3, 10, seed=6)
    x = torch.randn(10, 200, dtype=torch.float64)
    x[[2, 7]] = 0.0
    h = hessian(x @ x.T, 1e-6)
    found = traces(w, h, units(parse("unstructured"), w.shape), 10)
    assert {tuple(sorted(row)) for row in found.order[:, :2].tolist()} == {(2, 7)}
    assert bool((found.loss[:, :2].sum(1) < 1e-4 * found.loss.sum(1)).all())


def test_greedy_surgery_beats_magnitude_over_a_layer_with_and_without_a_refit() -> None:
    w, h = layer(32, 72, seed=7)
    of = units(parse("unstructured"), w.shape)
    kept = kept_weights(kept_units(traces(w, h, of, 72), 72, round(0.6 * w.numel())), of, 32)
    largest = parse("unstructured").mask(w, 0.6)
    surgery = float(growth(compensated(w, kept, h), w, h).sum())
    refit = float(growth(compensated(w, largest, h), w, h).sum())
    plain = float(growth(w * largest, w, h).sum())
    assert int(kept.sum()) == int(largest.sum())
    assert surgery < 0.8 * refit
    assert surgery < 0.6 * plain


def test_threads_change_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    w, h = layer(7, 40, seed=8)
    of = units(parse("unstructured"), w.shape)
    first = traces(w, h, of, 40)
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1, 2, 3, 4})
    second = traces(w, h, of, 40)
    assert torch.equal(first.order, second.order) and torch.equal(first.loss, second.loss)


def test_units_cover_each_weight_once_and_short_blocks_end_a_place() -> None:
    of = units(parse("block-punched 1x4"), torch.Size((2, 6, 1, 2)))
    assert np.diff(of.start).tolist() == [4, 4, 2, 2]
    assert sorted(of.columns.tolist()) == list(range(12))
    blocks = [of.columns[a:b].tolist() for a, b in itertools.pairwise(of.start.tolist())]
    assert blocks == [[0, 2, 4, 6], [1, 3, 5, 7], [8, 10], [9, 11]]  # channels 0..3 at place 0, at place 1, then channels 4 and 5


def test_units_that_surgery_cannot_remove_are_refused() -> None:
    with pytest.raises(UserError, match="surgery removes single weights"):
        units(parse("pattern"), torch.Size((16, 16, 3, 3)))


def test_a_hessian_that_is_none_says_to_raise_the_damping() -> None:
    with pytest.raises(BuildError, match="raise `damping`"):
        hessian(torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64), 1e-2)
    with pytest.raises(BuildError, match="raise `damping`"):
        hessian(torch.full((2, 2), torch.nan, dtype=torch.float64), 1e-2)


def test_a_matrix_that_float32_cannot_hold_is_an_error_and_not_a_silent_nan() -> None:
    w = torch.randn(2, 3, dtype=torch.float64)
    spoiled = Hessian(torch.eye(3, dtype=torch.float64), -torch.eye(3, dtype=torch.float64))
    with pytest.raises(BuildError, match="not positive definite"):
        traces(w, spoiled, units(parse("unstructured"), w.shape), 3)
