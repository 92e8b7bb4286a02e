"""Intervals and paired tests against scipy, closed forms and hand-counted cases."""

import math

import numpy as np
import pytest
from scipy import stats

from mindgap_data.statistics import (
    Interval,
    bootstrap_interval,
    bootstrap_sums,
    mcnemar,
    mean_interval,
    mean_of_means,
    paired_bootstrap,
    percentile_interval,
)


def test_sums_are_those_of_the_same_rows_drawn_one_by_one():
    columns = np.random.default_rng(1).normal(size=(7, 3))
    rng = np.random.default_rng(5)
    expected = [columns[rng.integers(0, 7, size=7, dtype=np.int32)].sum(axis=0) for _ in range(20)]
    np.testing.assert_allclose(bootstrap_sums(columns, 20, seed=5), expected, rtol=1e-12)


def test_chunking_does_not_change_the_resamples(monkeypatch):
    values = np.arange(50.0)
    whole = bootstrap_sums(values, 40, seed=3)
    monkeypatch.setattr("mindgap_data.statistics._CHUNK_CELLS", 150)
    np.testing.assert_array_equal(bootstrap_sums(values, 40, seed=3), whole)


def test_all_columns_of_a_resample_share_their_rows():
    values = np.random.default_rng(0).normal(size=30)
    sums = bootstrap_sums(np.stack([values, -2 * values], axis=1), 100)
    np.testing.assert_allclose(sums[:, 1], -2 * sums[:, 0])


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_mean_interval_agrees_with_scipy_bootstrap(confidence):
    values = np.random.default_rng(2).exponential(size=400)
    ours = mean_interval(values, confidence=confidence, resamples=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, confidence_level=confidence, rng=7
    ).confidence_interval
    assert ours.estimate == pytest.approx(values.mean(), rel=1e-12)
    # Both are Monte Carlo; the ends agree to a small part of the width.
    width = theirs.high - theirs.low
    assert abs(ours.low - theirs.low) < 0.03 * width
    assert abs(ours.high - theirs.high) < 0.03 * width


def test_ratio_interval_agrees_with_scipy_paired_bootstrap():
    rng = np.random.default_rng(3)
    tokens = rng.integers(5, 80, size=300).astype(float)
    nll = tokens * rng.gamma(2.0, 0.5, size=300)
    ours = bootstrap_interval(np.stack([nll, tokens], axis=1), lambda s: s[..., 0] / s[..., 1], resamples=20_000)
    theirs = stats.bootstrap(
        (nll, tokens),
        lambda x, y, axis: x.sum(axis) / y.sum(axis),
        paired=True,
        method="percentile",
        n_resamples=20_000,
        rng=7,
        vectorized=True,
    ).confidence_interval
    assert ours.estimate == pytest.approx(nll.sum() / tokens.sum(), rel=1e-12)
    width = theirs.high - theirs.low
    assert abs(ours.low - theirs.low) < 0.03 * width
    assert abs(ours.high - theirs.high) < 0.03 * width


def test_mean_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(4)
    hits = 0
    for trial in range(300):
        interval = mean_interval(rng.normal(1.0, 2.0, size=100), confidence=0.9, resamples=400, seed=trial)
        hits += interval.low <= 1.0 <= interval.high
    # Binomial(300, 0.9): four standard deviations are 0.07.
    assert abs(hits / 300 - 0.9) < 0.07


def test_no_rows_give_an_interval_without_values():
    interval = mean_interval([])
    assert all(map(math.isnan, (interval.estimate, interval.low, interval.high)))
    assert interval.as_dict() == {"estimate": None, "low": None, "high": None}


def test_one_row_gives_a_point():
    assert mean_interval([3.0]) == Interval(3.0, 3.0, 3.0)


def test_resamples_without_a_value_are_left_out():
    assert percentile_interval(1.0, [np.nan, 1.0, 1.0, np.inf]) == Interval(1.0, 1.0, 1.0)


def test_paired_bootstrap_finds_a_shift_that_unpaired_noise_would_hide():
    rng = np.random.default_rng(5)
    problem = rng.normal(0, 10, size=200)
    a, b = problem + rng.normal(0, 0.5, 200), problem + 0.3 + rng.normal(0, 0.5, 200)
    test = paired_bootstrap([(a, b)])
    t = stats.ttest_rel(b, a)
    assert test.difference.estimate == pytest.approx(np.mean(b - a))
    interval = t.confidence_interval(0.95)
    assert test.difference.low == pytest.approx(interval.low, abs=0.02)
    assert test.difference.high == pytest.approx(interval.high, abs=0.02)
    assert test.p_value < 0.001
    assert stats.ttest_ind(a, b).pvalue > 0.5


def test_paired_bootstrap_p_value_is_near_the_t_tests_when_nothing_differs():
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=300), rng.normal(size=300)
    assert paired_bootstrap([(a, b)]).p_value == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.03)


def test_paired_bootstrap_of_equal_runs_has_p_one():
    assert paired_bootstrap([([1.0, 0.0, 1.0], [1.0, 0.0, 1.0])]).p_value == 1.0


def test_few_differing_problems_are_never_significant():
    a, b = [0.0] * 40, [1.0] * 5 + [0.0] * 35
    test = paired_bootstrap([(a, b)])
    assert (test.differing, test.p_value) == (5, 2 * 0.5**5)


def test_groups_have_equal_weight_and_are_resampled_apart():
    values = np.arange(50.0)
    estimate, draws = mean_of_means([list(values), list(-values)], 4000)
    assert estimate == 0.0
    # Independent resamples: the variance of the half-sum; one shared resample would give 0.
    assert np.std(draws) == pytest.approx(np.std(values) / np.sqrt(50) / np.sqrt(2), rel=0.05)
    test = paired_bootstrap([([0.0] * 10, [1.0] * 10), ([0.0] * 1000, [0.0] * 1000)])
    assert test.difference.estimate == 0.5


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (0, 1), (3, 3), (2, 9), (40, 18), (700, 800)])
def test_mcnemar_is_the_exact_binomial_test(only_a, only_b):
    a = [True] * only_a + [False] * only_b + [True, False, True]
    b = [False] * only_a + [True] * only_b + [True, False, True]
    test = mcnemar(a, b)
    n = only_a + only_b
    expected = stats.binomtest(only_a, n, 0.5).pvalue if n else 1.0
    assert (test.only_a, test.only_b) == (only_a, only_b)
    assert test.p_value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("test", [lambda a, b: paired_bootstrap([(a, b)]), mcnemar])
@pytest.mark.parametrize(("a", "b"), [([1.0], [1.0, 0.0]), ([], [])])
def test_runs_of_different_length_are_refused(test, a, b):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        test(a, b)
    assert str(error.value) == f"paired values must be of one length above 0, got {len(a)} and {len(b)}"
