"""Importance-weight formulas, once, for numpy and torch arrays alike.

Every function takes floating arrays of one library (numpy or torch) and returns arrays of the same
library and dtype. IEEE 754 rules without warnings: exp overflows to inf, and what is undefined (a
mean over no token) is NaN. Where a formula has a gradient in torch, it passes through.

Notation, as in the README: for a token y_t of a response, p_t = log pi(y_t) under the policy,
beta_t = log mu(y_t) under the behaviour policy that sampled it, and l_t = p_t - beta_t.
"""

from dataclasses import dataclass, fields
from operator import add
from typing import Any, Literal

import numpy as np
from array_api_compat import array_namespace, is_torch_array

Array = Any
Level = Literal["token", "sequence", "geometric"]
Clip = Literal["truncate", "mask", "none"]


def segment_sum(values: Array, segments: Array, count: int) -> Array:
    """Sum ``values`` [N] within each segment.

    Args:
        values: floats [N].
        segments: integers [N] in [0, count): which sample each token belongs to.
        count: number of segments S.

    Returns:
        floats [S], dtype of ``values``; 0 for a segment with no token.
    """
    if is_torch_array(values):
        return values.new_zeros(count).index_add(0, segments, values)
    return np.bincount(segments, values, count).astype(values.dtype)


def level_log_weights(log_ratio: Array, segments: Array, count: int, level: Level) -> Array:
    """Log importance weight of every token at the given level.

    token: l_t; sequence: sum_t l_t; geometric: mean_t l_t (the sequence weight to the power 1/T,
    as in GSPO, arXiv 2507.18071, eq. 7). Sequence and geometric are constant within a sample.

    Args:
        log_ratio: l_t, floats [N], the trained tokens of one or more samples.
        segments: integers [N] in [0, count): the sample of each token.
        count: number of samples S.
        level: which of the three.

    Returns:
        floats [N], dtype of ``log_ratio``.
    """
    if level == "token":
        return log_ratio
    xp = array_namespace(log_ratio, segments)
    per_sample = segment_sum(log_ratio, segments, count)
    if level == "geometric":
        lengths = segment_sum(xp.ones_like(log_ratio), segments, count)
        per_sample = per_sample / xp.where(lengths > 0, lengths, xp.ones_like(lengths))
    return xp.take(per_sample, segments, axis=0)


def clip_weights(log_weight: Array, clip: Clip, clip_max: float) -> Array:
    """Importance weights from log-weights, clipped.

    truncate: min(w, C) (truncated importance sampling, Ionides 2008); mask: w where 1/C <= w <= C,
    else 0; none: w. The comparison is made on logs, so an overflowing weight is clipped correctly.

    Args:
        log_weight: floats [N].
        clip: which of the three.
        clip_max: C >= 1; ignored for "none".

    Returns:
        floats [N], dtype of ``log_weight``.
    """
    xp = array_namespace(log_weight)
    if clip == "none":
        return _exp(log_weight)
    kept = (above_ceiling if clip == "truncate" else outside_interval)(log_weight, clip_max) == 0
    weight = xp.exp(xp.where(kept, log_weight, xp.zeros_like(log_weight)))
    return xp.where(kept, weight, xp.full_like(log_weight, clip_max if clip == "truncate" else 0.0))


def outside_interval(log_weight: Array, clip_max: float) -> Array:
    """1.0 where the weight lies outside [1/C, C], else 0.0: what ``mask`` removes. Floats [N]."""
    xp = array_namespace(log_weight)
    bound = xp.log(xp.full_like(log_weight, clip_max))
    return xp.where(xp.abs(log_weight) > bound, xp.ones_like(log_weight), xp.zeros_like(log_weight))


def above_ceiling(log_weight: Array, clip_max: float) -> Array:
    """1.0 where the weight exceeds C, else 0.0: what ``truncate`` changes. Floats [N]."""
    xp = array_namespace(log_weight)
    bound = xp.log(xp.full_like(log_weight, clip_max))
    return xp.where(log_weight > bound, xp.ones_like(log_weight), xp.zeros_like(log_weight))


def kl_k1(log_ratio: Array) -> Array:
    """k1 = -l, unbiased per-token estimator of KL(mu || pi) on samples from mu (Schulman 2020). Floats [N]."""
    return -log_ratio


def kl_k2(log_ratio: Array) -> Array:
    """k2 = l^2 / 2, biased, low variance (Schulman 2020). Floats [N]."""
    with _ieee():
        return log_ratio * log_ratio / 2


def kl_k3(log_ratio: Array) -> Array:
    """k3 = e^l - 1 - l >= 0, unbiased, low variance (Schulman 2020). Floats [N]."""
    with _ieee():
        return array_namespace(log_ratio).expm1(log_ratio) - log_ratio


def logsumexp(values: Array) -> Array:
    """log(sum(exp(values))) over all of ``values`` [N]; a 0-d array, -inf when N = 0."""
    xp = array_namespace(values)
    if values.shape[0] == 0:
        return xp.sum(values) - float("inf")
    top = xp.max(values)
    shift = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
    with _ieee():
        return xp.log(xp.sum(xp.exp(values - shift))) + shift


@dataclass(frozen=True)
class WeightSums:
    """Sufficient statistics of a set of raw (unclipped) weights: they add up over rows, steps and ranks.

    Every field is a 0-d array (or float, or an array of as many sets). ``count`` is N, ``kl_count`` the
    tokens the KL sums are over. Build with :func:`weight_sums`, add with :meth:`merge`, read with the
    properties, which are NaN for no token (the largest weight: 0).
    """

    count: Array
    log_sum: Array  # lse(l)
    log_sum_squares: Array  # lse(2 l)
    log_max: Array
    clipped: Array
    k1_sum: Array
    k2_sum: Array
    k3_sum: Array
    kl_count: Array = 0.0

    def merge(self, other: "WeightSums") -> "WeightSums":
        """The statistics of both sets together."""
        xp = array_namespace(self.log_sum)
        join = {"log_sum": xp.logaddexp, "log_sum_squares": xp.logaddexp, "log_max": xp.maximum}
        return WeightSums(
            **{f.name: join.get(f.name, add)(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        )

    @property
    def ess_fraction(self) -> Array:
        """Kish effective sample size over N, exp(2 lse(l) - lse(2l)) / N, in (0, 1]."""
        with _ieee():
            return _exp(2 * self.log_sum - self.log_sum_squares - _log(self.log_sum, self.count))

    @property
    def mean(self) -> Array:
        """Mean weight; 1 in expectation when the samples are from the behaviour policy."""
        with _ieee():
            return _exp(self.log_sum - _log(self.log_sum, self.count))

    @property
    def variance(self) -> Array:
        """Population variance of the weights, as their mean square times 1 - ESS/N: never negative."""
        xp = array_namespace(self.log_sum)
        log_count = _log(self.log_sum, self.count)
        with _ieee():
            mean_square = _exp(self.log_sum_squares - log_count)
            variance = -mean_square * xp.expm1(2 * self.log_sum - self.log_sum_squares - log_count)
        none_or_negative = (mean_square == 0) | (variance < 0)
        return xp.where(none_or_negative, xp.zeros_like(variance), variance)

    @property
    def max(self) -> Array:
        """Largest weight."""
        return _exp(self.log_max)

    @property
    def clipped_share(self) -> Array:
        """Share of weights the clip changes."""
        return _ratio(self.clipped, self.count)

    @property
    def k1(self) -> Array:
        """Mean k1 of the tokens with a known ratio."""
        return _ratio(self.k1_sum, self.kl_count)

    @property
    def k2(self) -> Array:
        """Mean k2 of the tokens with a known ratio."""
        return _ratio(self.k2_sum, self.kl_count)

    @property
    def k3(self) -> Array:
        """Mean k3 of the tokens with a known ratio."""
        return _ratio(self.k3_sum, self.kl_count)


def weight_sums(
    log_weight: Array, clip: Clip, clip_max: float, log_ratio: Array | None = None, within: Array | None = None
) -> WeightSums:
    """Statistics of raw log-weights.

    Args:
        log_weight: floats [N]; N may be 0.
        clip: ``clipped`` counts what it would change: weights above C for truncate, outside [1/C, C]
            for mask, none for none.
        clip_max: C.
        log_ratio: l_t for the KL sums, floats [M], NaN for a token whose behaviour log-prob is not known;
            None where the log-weights are those ratios.
        within: bool [N], the tokens that count (then M = N); None for all. Nothing is looked up, so a GPU
            need not be waited for.
    """
    xp = array_namespace(log_weight)
    log_ratio = log_weight if log_ratio is None else log_ratio
    if clip == "none":
        changed = xp.zeros_like(log_weight)
    else:
        changed = (above_ceiling if clip == "truncate" else outside_interval)(log_weight, clip_max)
    counted, known = xp.ones_like(log_weight), ~xp.isnan(log_ratio)
    if within is not None:
        nothing = xp.zeros_like(log_weight)
        counted, changed = xp.where(within, counted, nothing), xp.where(within, changed, nothing)
        log_weight = xp.where(within, log_weight, nothing - float("inf"))
        known = known & within
    log_ratio = xp.where(known, log_ratio, xp.zeros_like(log_ratio))  # every k of 0 is 0
    empty = log_weight.shape[0] == 0
    with _ieee():
        return WeightSums(
            count=xp.sum(counted),
            log_sum=logsumexp(log_weight),
            log_sum_squares=logsumexp(2 * log_weight),
            log_max=xp.sum(log_weight) - float("inf") if empty else xp.max(log_weight),
            clipped=xp.sum(changed),
            k1_sum=xp.sum(kl_k1(log_ratio)),
            k2_sum=xp.sum(kl_k2(log_ratio)),
            k3_sum=xp.sum(kl_k3(log_ratio)),
            kl_count=xp.sum(xp.where(known, xp.ones_like(log_ratio), xp.zeros_like(log_ratio))),
        )


def _exp(values: Array) -> Array:
    with _ieee():
        return array_namespace(values).exp(values)


def _log(like: Array, values: Array) -> Array:
    """log of counts that may be Python numbers, as an array of ``like``'s kind."""
    xp = array_namespace(like)
    with _ieee():
        return xp.log(values * xp.ones_like(like))


def _ratio(values: Array, counts: Array) -> Array:
    with _ieee():
        return values / counts


def _ieee() -> np.errstate:
    """Numpy without warnings on overflow, division by zero and undefined results."""
    return np.errstate(over="ignore", divide="ignore", invalid="ignore")
