"""Importance-weight formulas, once, for numpy and torch arrays alike.

Every function takes arrays of one library (numpy, torch, or anything array-api-compat knows) and
returns arrays of the same library and dtype. Nothing here takes gradients: callers detach first.

Notation, as in the README: for a token y_t of a response, p_t = log pi(y_t) under the policy,
beta_t = log mu(y_t) under the behaviour policy that sampled it, and l_t = p_t - beta_t.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal

from array_api_compat import array_namespace

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
    xp = array_namespace(values, segments)
    index = xp.arange(count, dtype=segments.dtype, device=values.device)
    member = segments[None, :] == index[:, None]
    return xp.sum(xp.where(member, values[None, :], xp.zeros_like(values)[None, :]), axis=1)


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
        return xp.exp(log_weight)
    bound = xp.log(xp.full_like(log_weight, clip_max))
    if clip == "truncate":
        return xp.exp(xp.where(log_weight > bound, bound, log_weight))
    inside = outside_interval(log_weight, clip_max) == 0
    return xp.where(inside, xp.exp(xp.where(inside, log_weight, xp.zeros_like(log_weight))), xp.zeros_like(log_weight))


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
    return log_ratio * log_ratio / 2


def kl_k3(log_ratio: Array) -> Array:
    """k3 = e^l - 1 - l >= 0, unbiased, low variance (Schulman 2020). Floats [N]."""
    return array_namespace(log_ratio).expm1(log_ratio) - log_ratio


def logsumexp(values: Array) -> Array:
    """log(sum(exp(values))) over all of ``values`` [N]; a 0-d array, -inf when N = 0."""
    xp = array_namespace(values)
    if values.shape[0] == 0:
        return xp.sum(values) - float("inf")
    top = xp.max(values)
    shift = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
    return xp.log(xp.sum(xp.exp(values - shift))) + shift


@dataclass(frozen=True)
class WeightSums:
    """Sufficient statistics of a set of raw (unclipped) weights: they add up over rows, steps and ranks.

    Every field is a 0-d array (or float). ``count`` is N. Build with :func:`weight_sums`, add with
    :meth:`merge`, read with the properties.
    """

    count: Array
    log_sum: Array  # lse(l)
    log_sum_squares: Array  # lse(2 l)
    log_max: Array
    clipped: Array
    k1_sum: Array
    k2_sum: Array
    k3_sum: Array

    def merge(self, other: "WeightSums") -> "WeightSums":
        """The statistics of both sets together."""
        xp = array_namespace(self.log_sum)
        join = {"log_sum": xp.logaddexp, "log_sum_squares": xp.logaddexp, "log_max": xp.maximum}
        return WeightSums(
            **{f.name: join.get(f.name, xp.add)(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        )

    @property
    def ess_fraction(self) -> Array:
        """Kish effective sample size over N, exp(2 lse(l) - lse(2l)) / N, in (0, 1]."""
        return array_namespace(self.log_sum).exp(2 * self.log_sum - self.log_sum_squares) / self.count

    @property
    def mean(self) -> Array:
        """Mean weight; 1 in expectation when the samples are from the behaviour policy."""
        return array_namespace(self.log_sum).exp(self.log_sum) / self.count

    @property
    def variance(self) -> Array:
        """Population variance of the weights, N ddof."""
        second = array_namespace(self.log_sum).exp(self.log_sum_squares) / self.count
        return second - self.mean * self.mean

    @property
    def max(self) -> Array:
        """Largest weight."""
        return array_namespace(self.log_max).exp(self.log_max)

    @property
    def clipped_share(self) -> Array:
        """Share of weights the clip changes."""
        return self.clipped / self.count

    @property
    def k1(self) -> Array:
        """Mean k1."""
        return self.k1_sum / self.count

    @property
    def k2(self) -> Array:
        """Mean k2."""
        return self.k2_sum / self.count

    @property
    def k3(self) -> Array:
        """Mean k3."""
        return self.k3_sum / self.count


def weight_sums(log_weight: Array, clip: Clip, clip_max: float) -> WeightSums:
    """Statistics of raw log-weights [N] (N may be 0); the KL sums treat ``log_weight`` as l.

    ``clipped`` counts what ``clip`` would change: weights above C for truncate, outside [1/C, C] for
    mask, none for none.
    """
    xp = array_namespace(log_weight)
    if clip == "none":
        changed = xp.zeros_like(log_weight)
    else:
        changed = (above_ceiling if clip == "truncate" else outside_interval)(log_weight, clip_max)
    empty = log_weight.shape[0] == 0
    return WeightSums(
        count=xp.sum(xp.ones_like(log_weight)),
        log_sum=logsumexp(log_weight),
        log_sum_squares=logsumexp(2 * log_weight),
        log_max=xp.sum(log_weight) - float("inf") if empty else xp.max(log_weight),
        clipped=xp.sum(changed),
        k1_sum=xp.sum(kl_k1(log_weight)),
        k2_sum=xp.sum(kl_k2(log_weight)),
        k3_sum=xp.sum(kl_k3(log_weight)),
    )
