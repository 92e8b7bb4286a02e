"""Bootstrap intervals and paired tests over problems, in numpy alone and fast at 100,000 rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, lgamma, log
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 1000

# Resample counts are held as a [chunk, N] matrix of at most this many float64 (32 MiB).
_CHUNK_CELLS = 2**22


@dataclass(frozen=True)
class Interval:
    """A figure and its bootstrap interval."""

    estimate: float
    low: float  # NaN, as high, when no resample gave a finite value
    high: float
    confidence: float = CONFIDENCE

    def as_dict(self) -> dict[str, float | None]:
        """For JSON: estimate, low and high; what is not finite becomes null."""
        return {
            name: value if np.isfinite(value) else None
            for name, value in (("estimate", self.estimate), ("low", self.low), ("high", self.high))
        }


@dataclass(frozen=True)
class PairedDifference:
    """Mean of b - a over problems, with its interval and a two-sided p-value."""

    difference: Interval
    p_value: float
    differing: int  # problems on which a and b differ


@dataclass(frozen=True)
class McNemar:
    """Exact McNemar test on two runs' right and wrong answers to the same problems."""

    only_a: int  # problems a has right and b wrong
    only_b: int
    p_value: float  # two-sided


def bootstrap_sums(columns: npt.ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Column sums of ``resamples`` draws of N rows with replacement.

    Ratios, means and effective sample sizes are functions of sums over rows, so one pass of
    resampling serves every figure of a table, and figures of one call share their resamples.

    Args:
        columns: floats [N] or [N, K], one row per problem (the unit that is resampled).
        resamples: how many draws R.
        seed: the same seed and N give the same resamples.

    Returns:
        float64 [R, K] (K = 1 for a flat input).
    """
    table = _table(columns)
    n = table.shape[0]
    rng = np.random.default_rng(seed)
    sums = np.zeros((resamples, table.shape[1]))
    if n == 0:
        return sums
    chunk = max(1, _CHUNK_CELLS // n)
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        counts = np.empty((size, n))
        for row in counts:
            row[:] = np.bincount(rng.integers(0, n, size=n, dtype=np.int32), minlength=n)
        sums[start : start + size] = counts @ table
    return sums


def bootstrap_interval(
    columns: npt.ArrayLike,
    statistic: Callable[[Floats], Any],
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of a function of column sums (Efron 1979).

    As ``scipy.stats.bootstrap(..., method="percentile")`` with rows as the unit, for statistics that
    depend on the data through sums over rows.

    Args:
        columns: floats [N] or [N, K], one row per problem.
        statistic: takes sums [..., K], returns [...]; called on the data's own sums and on [R, K].
        confidence: of the interval, in (0, 1).
        resamples: how many.
        seed: of the resampling.

    Returns:
        the estimate on the data itself, and the interval.
    """
    table = _table(columns)
    draws = statistic(bootstrap_sums(table, resamples, seed))
    return percentile_interval(statistic(table.sum(axis=0)), draws, confidence)


def mean_interval(
    values: npt.ArrayLike, *, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of the mean of ``values`` [N]; all NaN when N = 0."""
    n = len(_table(values)) or np.nan
    return bootstrap_interval(
        values, lambda sums: sums[..., 0] / n, confidence=confidence, resamples=resamples, seed=seed
    )


def mean_of_means(groups: Sequence[npt.ArrayLike], resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, Floats]:
    """Mean over groups of the group's mean, and its bootstrap draws [R], resampling within each group.

    Args:
        groups: floats [N_g], a value per problem of each benchmark; none is empty.
        resamples: R.
        seed: of the first group's resampling; the others count on from it.
    """
    means = [np.mean(np.asarray(values, dtype=np.float64)) for values in groups]
    draws = [
        bootstrap_sums(values, resamples, seed + index)[:, 0] / len(_table(values))
        for index, values in enumerate(groups)
    ]
    return float(np.mean(means)), np.mean(draws, axis=0)


def percentile_interval(estimate: float, draws: npt.ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Interval between the quantiles of bootstrap draws [R]; draws that are not finite are left out."""
    finite = np.asarray(draws, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if finite.size == 0 or not np.isfinite(estimate):
        return Interval(float(estimate), float("nan"), float("nan"), confidence)
    low, high = np.quantile(finite, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(estimate), float(low), float(high), confidence)


def paired_bootstrap(
    groups: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]],
    *,
    confidence: float = CONFIDENCE,
    resamples: int = 10_000,
    seed: int = 0,
) -> PairedDifference:
    """Paired bootstrap test of two runs on the same problems, in the same order.

    The p-value inverts the percentile interval: twice the smaller share of resampled mean
    differences on either side of 0, counting the data itself as one resample (Davison & Hinkley
    1997, eq. 4.11), so it is never 0. Where few problems differ, resampling sees too little spread:
    the p-value is at least that of a sign test on which all of them agree.

    Args:
        groups: (a, b) of each benchmark, floats [N_g]: the runs' values per problem (accuracy over its draws,
            NLL, ...). Several benchmarks have equal weight, and each is resampled by itself.
        confidence: of the interval.
        resamples: how many.
        seed: of the resampling.

    Raises:
        ValueError: when lengths differ or a group is empty.
    """
    differences = [_table(b)[:, 0] - _pair_of(a, b) for a, b in groups]
    estimate, draws = mean_of_means(differences, resamples, seed)
    tail = min(int(np.sum(draws <= 0)), int(np.sum(draws >= 0)))
    differing = sum(int(np.count_nonzero(difference)) for difference in differences)
    p_value = max(2 * (tail + 1) / (resamples + 1), 2 * 0.5**differing)
    return PairedDifference(percentile_interval(estimate, draws, confidence), min(1.0, p_value), differing)


def mcnemar(a: npt.ArrayLike, b: npt.ArrayLike) -> McNemar:
    """Exact McNemar test: of the problems only one run has right, is each run's share one half?

    The p-value is the two-sided binomial one, min(1, 2 P(X <= min(only_a, only_b))), X ~ Bin(n, 1/2)
    (McNemar 1947; exact form as in statsmodels ``mcnemar(exact=True)``).

    Args:
        a: booleans [N], right or wrong by problem.
        b: booleans [N], the other run, same problems in the same order.

    Raises:
        ValueError: when the lengths differ or N = 0.
    """
    left = _pair_of(a, b) > 0
    right = _table(b)[:, 0] > 0
    only_a, only_b = int(np.sum(left & ~right)), int(np.sum(right & ~left))
    n = only_a + only_b
    tail = sum(exp(_log_choose(n, k) - n * log(2)) for k in range(min(only_a, only_b) + 1))
    return McNemar(only_a, only_b, min(1.0, 2 * tail))


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _pair_of(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    left, right = _table(a), _table(b)
    if left.shape != right.shape or len(left) == 0:
        raise ValueError(f"paired values must be of one length above 0, got {len(left)} and {len(right)}")
    return left[:, 0]


def _table(columns: npt.ArrayLike) -> Floats:
    table = np.asarray(columns, dtype=np.float64)
    return table[:, None] if table.ndim == 1 else table
