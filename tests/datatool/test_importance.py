"""The formulas against closed forms, scipy, and a plain loop, on numpy and torch alike."""

import math
import warnings
from dataclasses import fields

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindgap_data.importance import (
    WeightSums,
    above_ceiling,
    clip_weights,
    kl_k1,
    kl_k2,
    kl_k3,
    level_log_weights,
    logsumexp,
    outside_interval,
    segment_sum,
    weight_sums,
)

LIBRARIES = {
    "numpy64": (lambda x: np.asarray(x, dtype=np.float64), 1e-12),
    "numpy32": (lambda x: np.asarray(x, dtype=np.float32), 1e-5),
    "torch64": (lambda x: torch.as_tensor(np.array(x), dtype=torch.float64), 1e-12),
    "torch32": (lambda x: torch.as_tensor(np.array(x), dtype=torch.float32), 1e-5),
}


@pytest.fixture(params=LIBRARIES, name="library")
def _library(request):
    make, tolerance = LIBRARIES[request.param]
    return make, tolerance


@pytest.fixture(autouse=True)
def _no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def integers(like, values):
    return torch.tensor(values, dtype=torch.int64) if isinstance(like, torch.Tensor) else np.array(values, dtype=int)


def assert_same(actual, expected, tolerance, like=None):
    if like is not None:
        assert isinstance(actual, torch.Tensor) == isinstance(like, torch.Tensor)
        assert actual.dtype == like.dtype
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=tolerance, atol=tolerance)


# Segments and levels


@pytest.mark.parametrize(
    ("values", "segments", "count", "expected"),
    [
        ([], [], 0, []),
        ([], [], 3, [0, 0, 0]),
        ([1.5], [0], 1, [1.5]),
        ([1, 2, 3, 4], [0, 0, 1, 1], 2, [3, 7]),
        ([1, 2, 3, 4], [1, 0, 1, 0], 2, [6, 4]),  # not sorted
        ([1, 2, 3], [0, 3, 3], 5, [1, 0, 0, 5, 0]),  # segments without a token
        ([1, -math.inf], [0, 1], 2, [1, -math.inf]),
    ],
)
def test_segment_sum(library, values, segments, count, expected):
    make, tolerance = library
    values = make(values)
    assert_same(segment_sum(values, integers(values, segments), count), expected, tolerance, values)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("token", [0.1, -0.2, 0.4, -1.0, 3.0]),
        ("sequence", [0.5, 2.8, 0.5, -1.0, 2.8]),
        ("geometric", [0.25, 1.4, 0.25, -1.0, 1.4]),
    ],
)
def test_levels_of_interleaved_samples(library, level, expected):
    make, tolerance = library
    log_ratio = make([0.1, -0.2, 0.4, -1.0, 3.0])
    samples = integers(log_ratio, [0, 3, 0, 1, 3])
    assert_same(level_log_weights(log_ratio, samples, 4, level), expected, tolerance, log_ratio)


def test_geometric_level_is_the_sequence_weight_to_the_power_of_one_over_its_length():
    log_ratio, samples = np.array([0.3, -0.1, 0.7, 0.2]), np.array([0, 0, 0, 1])
    sequence = np.exp(level_log_weights(log_ratio, samples, 2, "sequence"))
    geometric = np.exp(level_log_weights(log_ratio, samples, 2, "geometric"))
    np.testing.assert_allclose(geometric, sequence ** np.array([1 / 3, 1 / 3, 1 / 3, 1]))


def test_segment_sum_of_a_whole_file_needs_memory_in_proportion_to_its_tokens():
    tokens, samples = 1_000_000, 50_000  # tokens x samples would be 400 GB
    segments = np.arange(tokens) % samples
    assert (segment_sum(np.ones(tokens), segments, samples) == 20).all()
    assert (segment_sum(torch.ones(tokens), torch.from_numpy(segments), samples) == 20).all()


# Clipping

WEIGHTS = [0.0, 1e-30, 0.3, 1 / 3, 1.0, 2.9, 3.0, 3.1, 1e30, math.inf]


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        ("none", WEIGHTS),
        ("truncate", [0.0, 1e-30, 0.3, 1 / 3, 1.0, 2.9, 3.0, 3.0, 3.0, 3.0]),
        ("mask", [0.0, 0.0, 0.0, 1 / 3, 1.0, 2.9, 3.0, 0.0, 0.0, 0.0]),
    ],
)
def test_clip(library, clip, expected):
    make, tolerance = library
    log_bound = make([math.log(3.0)])  # the bound itself, rounded as the library rounds it
    log_weight = make([math.log(w) if w else -math.inf for w in WEIGHTS])
    log_weight[3], log_weight[6] = -log_bound[0], log_bound[0]
    clipped = clip_weights(log_weight, clip, 3.0)
    np.testing.assert_allclose(np.asarray(clipped), expected, rtol=1e-4 if tolerance > 1e-6 else 1e-12)
    assert clipped.dtype == log_weight.dtype


@pytest.mark.parametrize("bound", [1.0, 2.0, 3.0, 16.0])
def test_a_truncated_weight_is_the_bound_itself_even_where_the_raw_one_overflows(library, bound):
    log_weight = library[0]([50.0, 1000.0, 1e30, math.inf])
    assert (clip_weights(log_weight, "truncate", bound) == bound).all()


def test_mask_at_bound_one_keeps_only_weight_one(library):
    assert np.asarray(clip_weights(library[0]([-0.1, 0.0, 0.1]), "mask", 1.0)).tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("clip", ["none", "truncate", "mask"])
def test_nan_stays_nan(library, clip):
    assert np.isnan(np.asarray(clip_weights(library[0]([math.nan]), clip, 2.0))).all()


@given(st.lists(st.floats(-50, 50), max_size=20), st.floats(1, 20))
def test_what_counts_as_clipped_is_what_clipping_changes(values, bound):
    log_weight = np.array(values)
    raw = np.exp(log_weight)
    truncated, masked = clip_weights(log_weight, "truncate", bound), clip_weights(log_weight, "mask", bound)
    assert ((above_ceiling(log_weight, bound) == 1) == (truncated != raw)).all() or np.isclose(raw, bound).any()
    assert ((outside_interval(log_weight, bound) == 1) == (masked != raw)).all()


# KL estimators


def test_k1_and_k3_have_the_kl_divergence_as_their_mean_by_enumeration():
    rng = np.random.default_rng(0)
    mu, pi = rng.dirichlet(np.ones(9), size=2)
    log_ratio = np.log(pi) - np.log(mu)
    exact = scipy.stats.entropy(mu, pi)
    assert (mu * kl_k1(log_ratio)).sum() == pytest.approx(exact, rel=1e-12)
    assert (mu * kl_k3(log_ratio)).sum() == pytest.approx(exact, rel=1e-12)
    assert (mu * kl_k2(log_ratio)).sum() == pytest.approx((mu * log_ratio**2).sum() / 2, rel=1e-12)


@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (0.5, 1.0), (-0.3, 1.2), (0.1, 0.8)])
def test_kl_of_gaussians(library, mean, scale):
    x, weight = np.polynomial.hermite_e.hermegauss(80)  # E over N(0, 1) by quadrature
    weight = weight / weight.sum()
    log_ratio = library[0](scipy.stats.norm.logpdf(x, mean, scale) - scipy.stats.norm.logpdf(x))
    exact = math.log(scale) + (1 + mean**2) / (2 * scale**2) - 0.5
    for estimator in (kl_k1, kl_k3):
        found = (weight * np.asarray(estimator(log_ratio), dtype=np.float64)).sum()
        assert found == pytest.approx(exact, rel=1e-4, abs=1e-6)


def test_k3_is_exact_for_tiny_ratios_and_infinite_for_huge_ones(library):
    make, tolerance = library
    found = np.asarray(kl_k3(make([0.0, 0.01, -2.0, -1e4, 1e4])))
    assert found[0] == 0
    np.testing.assert_allclose(
        found[1:4], [5.016708416805754e-05, 1.1353352832366128, 9999.0], rtol=1e-4 if tolerance > 1e-6 else 1e-12
    )
    assert found[4] == math.inf


@given(st.floats(-700, 700))
def test_k3_is_never_negative_beyond_rounding(value):
    assert kl_k3(np.array([value]))[0] >= -1e-15


# log-sum-exp


@pytest.mark.parametrize(
    "values",
    [
        [0.0],
        [1.0, 2.0, -3.0],
        [1000.0, 1000.0],
        [-1000.0, -1001.0],
        [1e30, 0.0],
        [-math.inf, 2.0],
        [-math.inf, -math.inf],
        [math.inf, 2.0],
    ],
)
def test_logsumexp_is_scipys(library, values):
    make, tolerance = library
    array = make(values)
    found = logsumexp(array)
    with np.errstate(all="ignore"):
        expected = scipy.special.logsumexp(np.asarray(array, dtype=np.float64))
    assert_same(found, expected, tolerance, array)
    assert found.shape == ()


def test_logsumexp_of_nothing_is_minus_infinity(library):
    assert float(logsumexp(library[0]([]))) == -math.inf


# Statistics


@pytest.mark.parametrize("sigma", [0.05, 0.3, 0.7])
def test_log_normal_weights_have_their_closed_form_statistics(library, sigma):
    make, _ = library
    quantiles = (np.arange(400_000) + 0.5) / 400_000
    log_weight = make(sigma * scipy.stats.norm.ppf(quantiles) - sigma**2 / 2)
    sums = weight_sums(log_weight, "truncate", 1.5)
    assert float(sums.mean) == pytest.approx(1, rel=1e-4)
    assert float(sums.ess_fraction) == pytest.approx(math.exp(-(sigma**2)), rel=1e-3)
    assert float(sums.variance) == pytest.approx(math.expm1(sigma**2), rel=5e-3)
    assert float(sums.k1) == pytest.approx(sigma**2 / 2, rel=2e-3)
    assert float(sums.k3) == pytest.approx(sigma**2 / 2, rel=2e-3)
    share = scipy.stats.norm.sf((math.log(1.5) + sigma**2 / 2) / sigma)
    assert float(sums.clipped_share) == pytest.approx(share, abs=1e-5)


def test_ess_of_equal_weights_is_one_and_of_a_single_heavy_one_is_one_over_n(library):
    make, tolerance = library
    assert float(weight_sums(make([3.0] * 7), "none", 1.0).ess_fraction) == pytest.approx(1, rel=tolerance)
    heavy = weight_sums(make([0.0] * 9 + [80.0]), "none", 1.0)
    assert float(heavy.ess_fraction) == pytest.approx(0.1, rel=tolerance)


def test_statistics_are_numpys(library):
    make, tolerance = library
    log_weight = np.random.default_rng(1).normal(0, 1, 1000)
    sums = weight_sums(make(log_weight), "mask", 2.0)
    weight = np.exp(log_weight)
    near = 20 * tolerance
    assert float(sums.count) == 1000
    assert float(sums.mean) == pytest.approx(weight.mean(), rel=near)
    assert float(sums.variance) == pytest.approx(weight.var(), rel=near)
    assert float(sums.max) == pytest.approx(weight.max(), rel=near)
    assert float(sums.clipped) == ((weight < 0.5) | (weight > 2)).sum()
    assert float(sums.k2) == pytest.approx((log_weight**2).mean() / 2, rel=near)


def test_weights_all_one_have_variance_zero_exactly_not_a_negative_rounding_error(library):
    sums = weight_sums(library[0]([0.0] * 1001), "none", 1.0)
    assert float(sums.variance) >= 0
    assert float(sums.variance) == pytest.approx(0, abs=10 * library[1])


@pytest.mark.parametrize("sizes", [(3, 4), (0, 5), (5, 0), (0, 0), (1, 1)])
def test_merging_is_the_statistics_of_both_together(library, sizes):
    make, tolerance = library
    values = np.random.default_rng(2).normal(0, 3, sum(sizes))
    parts = weight_sums(make(values[: sizes[0]]), "mask", 2.0).merge(weight_sums(make(values[sizes[0] :]), "mask", 2.0))
    whole = weight_sums(make(values), "mask", 2.0)
    for field in fields(WeightSums):
        assert_same(getattr(parts, field.name), np.asarray(getattr(whole, field.name)), 10 * tolerance)


def test_nothing_has_no_statistics_and_raises_no_warning(library):
    sums = weight_sums(library[0]([]), "truncate", 2.0)
    assert float(sums.count) == 0
    for name in ("ess_fraction", "mean", "variance", "clipped_share", "k1", "k2", "k3"):
        assert math.isnan(float(getattr(sums, name))), name
    assert float(sums.max) == 0


def test_weights_that_are_all_zero_have_mean_and_variance_zero(library):
    sums = weight_sums(library[0]([-math.inf] * 3), "none", 1.0)
    assert (float(sums.mean), float(sums.variance), float(sums.max)) == (0, 0, 0)


@pytest.mark.parametrize("huge", [800.0, 1e5])
def test_ess_survives_weights_too_large_to_represent(library, huge):
    sums = weight_sums(library[0]([huge, huge, 0.0, 0.0]), "truncate", 2.0)
    assert float(sums.ess_fraction) == pytest.approx(0.5, rel=1e-4 if library[1] < 1e-6 or huge < 1e4 else 0.1)
    assert float(sums.mean) == float(sums.max) == float(sums.variance) == math.inf
    assert float(sums.clipped_share) == 0.5


def test_kl_sums_may_be_over_other_ratios_than_the_weights(library):
    make, tolerance = library
    sums = weight_sums(make([5.0, 5.0, 5.0]), "none", 1.0, log_ratio=make([0.2, -0.4]))
    assert float(sums.kl_count) == 2
    assert float(sums.k1) == pytest.approx(0.1, rel=tolerance)
    assert float(sums.mean) == pytest.approx(math.exp(5), rel=1e-4)


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=50))
def test_ess_lies_between_one_weight_and_all(values):
    ess = weight_sums(np.array(values), "none", 1.0).ess_fraction
    assert 1 / len(values) * (1 - 1e-9) <= ess <= 1 + 1e-9
