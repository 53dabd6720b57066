"""Quality of answers: textbook examples, slow obvious oracles, and intervals and tests on simulated truth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results import quality
from results.record import Samples


def test_wilson_is_brown_cai_dasguptas_example() -> None:
    interval = quality.proportion_interval([1] * 8 + [0] * 2)
    assert interval.estimate == 0.8
    assert (interval.low, interval.high) == pytest.approx((0.490162, 0.943318), abs=1e-6)
    everything, nothing = quality.proportion_interval(np.ones(20)), quality.proportion_interval(np.zeros(20))
    assert (everything.low, everything.high) == pytest.approx((0.838875, 1.0), abs=1e-6)
    assert nothing.low == 0.0 and nothing.high == pytest.approx(1 - 0.838875, abs=1e-6)


@pytest.mark.parametrize("hits", [[], [0.5], [[1.0]], [2.0, 0.0]])
def test_what_is_no_hit_is_refused(hits: list[float]) -> None:
    with pytest.raises(ValueError, match="hits"):
        quality.proportion_interval(hits)


def test_mcnemar_counts_only_where_the_two_differ() -> None:
    a, b = [1] * 50 + [1] * 6 + [0] * 1, [1] * 50 + [0] * 6 + [1] * 1
    assert quality.mcnemar(a, b) == pytest.approx(2 * (1 + 7) / 2**7)  # 1 or none of 7 coins
    assert quality.mcnemar(a, b) == quality.mcnemar(b, a)
    assert quality.mcnemar(a, a) == 1.0
    with pytest.raises(ValueError, match="57 and 56"):
        quality.mcnemar(a, b[1:])


scored = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=2, max_size=30).filter(
    lambda pairs: {label for label, _ in pairs} == {0, 1}
)


@given(scored)
def test_area_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[int, int]]) -> None:
    positive, negative = ([score for label, score in pairs if label == wanted] for wanted in (1, 0))
    won = [1.0 if p > n else 0.5 if p == n else 0.0 for p, n in itertools.product(positive, negative)]
    samples = Samples.of([score for _, score in pairs], labels=[label for label, _ in pairs])
    assert quality.QUALITIES["auc"].estimate(samples) == pytest.approx(np.mean(won))
    assert quality.auc_interval(samples).estimate == pytest.approx(np.mean(won))


def test_area_interval_covers_and_its_test_alarms_as_stated() -> None:
    """Normal scores of two networks that partly see an example alike: a distance of 1.2 / sqrt 2 gives an area of Phi(0.6)."""
    rng = np.random.default_rng(1)
    truth, covered, alarms, trials = 0.72575, 0, 0, 800
    labels = np.repeat([0, 1], [70, 50])
    for _ in range(trials):
        shared = rng.normal(size=120) + 1.2 * labels
        a, b = (Samples.of((shared + rng.normal(size=120)) / np.sqrt(2), labels=labels) for _ in range(2))
        interval = quality.auc_interval(a)
        assert interval.low is not None and interval.high is not None
        covered += interval.low <= truth <= interval.high
        alarms += quality.auc_p_value(a, b) < 0.05
    assert 0.93 <= covered / trials <= 0.97
    assert alarms / trials <= 0.065


def test_area_finds_a_real_difference_and_needs_the_same_examples() -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], 200)
    shared = rng.normal(size=400)
    good, poor = Samples.of(shared + 2.0 * labels, labels=labels), Samples.of(shared + 1.0 * labels, labels=labels)
    assert quality.auc_p_value(good, poor) < 1e-4
    assert quality.auc_p_value(good, good) == 1.0
    with pytest.raises(ValueError, match="not the same"):
        quality.auc_p_value(good, Samples.of(shared, labels=1 - labels))


def test_area_without_overlap_or_a_second_example_has_no_interval() -> None:
    apart = quality.auc_interval(Samples.of([0.0, 1.0, 2.0, 3.0], labels=[0, 0, 1, 1]))
    assert apart[:3] == (1.0, None, None) and "overlap" in apart.method
    single = quality.auc_interval(Samples.of([0.0, 1.0, 2.0], labels=[0, 1, 0]))
    assert single[:3] == (0.5, None, None) and "one example" in single.method
    with pytest.raises(ValueError, match="label 1 and of label 0"):
        quality.auc_interval(Samples.of([0.0, 1.0], labels=[1, 1]))
    with pytest.raises(ValueError, match="no others"):
        quality.auc_interval(Samples.of([0.0, 1.0, 2.0], labels=[1, 0, 2]))


def macro_f1(predicted: list[int], true: list[int]) -> float:
    """By the definition, class by class."""
    found = []
    for name in sorted({*predicted, *true}):
        hit = sum(p == t == name for p, t in zip(predicted, true, strict=True))
        found.append(2 * hit / (predicted.count(name) + true.count(name)))
    return float(np.mean(found))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_f1_is_the_mean_over_classes(pairs: list[tuple[int, int]]) -> None:
    predicted, true = [p for p, _ in pairs], [t for _, t in pairs]
    assert quality.QUALITIES["f1"].estimate(Samples.of(predicted, labels=true)) == pytest.approx(macro_f1(predicted, true))


def test_f1_interval_holds_the_estimate_and_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(3)
    true = rng.integers(0, 4, 400)
    good, poor = (np.where(rng.random(400) < share, true, rng.integers(0, 4, 400)) for share in (0.95, 0.8))
    a, b = Samples.of(good, labels=true), Samples.of(poor, labels=true)
    interval = quality.f1_interval(a)
    assert interval.low is not None and interval.high is not None
    assert interval.low < interval.estimate < interval.high < interval.low + 0.06
    assert quality.f1_p_value(a, b) < 0.01 and quality.f1_p_value(a, a) == 1.0
    with pytest.raises(ValueError, match="not the same"):
        quality.f1_p_value(a, Samples.of(good, labels=(true + 1) % 4))


@pytest.mark.parametrize(("predicted", "labels"), [([0.5], [1]), ([1.0], [-1]), ([], [])])
def test_f1_needs_classes(predicted: list[float], labels: list[int]) -> None:
    with pytest.raises(ValueError, match="predicted class"):
        quality.f1_interval(Samples.of(np.array(predicted), labels=np.array(labels, np.int32)))
