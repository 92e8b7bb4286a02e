"""Importance weights of trained tokens: from log-probs, tiers and options to detached float weights.

Plain torch on the formulas of :mod:`mindgap_data.importance`.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mindgap_data.importance import WeightSums, clip_weights, kl_k3, level_log_weights, weight_sums
from mindgap_data.record import TIERS
from mindgap_loss.options import EAFT_TOP, RATIOS, LossOptions

SELF, GUIDED, EXPERT = range(3)


@dataclass(frozen=True)
class TokenFields:
    """What is known of each of the N trained tokens of a micro-batch, in the order of the hidden states.

    Attributes:
        tier: integers [N], 0 self, 1 guided, 2 expert (the index in ``record.TIERS``).
        behavior: float32 [N], recorded behaviour log-prob; NaN where the row has none.
        policy: float32 [N], recorded log-prob of the policy that was rewritten for; NaN where none.
        sample: int64 [N] in 0..S-1, the sample (response) a token belongs to; need not be sorted.
        samples: S or any bound on it; None to look it up in ``sample``, which waits for the device.
        pass_rate: float32 [N], share of correct draws of the stage that drew the row, 1 where unknown; None for 1.
    """

    tier: Tensor
    behavior: Tensor
    policy: Tensor
    sample: Tensor
    samples: int | None = None
    pass_rate: Tensor | None = None

    def __len__(self) -> int:
        return self.tier.shape[0]

    def __getitem__(self, tokens: slice | Tensor) -> "TokenFields":
        """The fields of some of the tokens (a slice, a mask or indices)."""
        rate = None if self.pass_rate is None else self.pass_rate[tokens]
        return TokenFields(
            self.tier[tokens], self.behavior[tokens], self.policy[tokens], self.sample[tokens], self.samples, rate
        )


class TokenValues(NamedTuple):
    """What the current policy says of N trained tokens, detached, at least float32.

    Attributes:
        log_probs: p_t [N].
        entropy: of the next-token distribution among its likeliest tokens, nats [N]; None where no option needs it.
    """

    log_probs: Tensor
    entropy: Tensor | None = None


@dataclass(frozen=True)
class Weighed:
    """Weights of N tokens, detached, dtype of their log-probs.

    Attributes:
        log_weights: raw log-weights [N], see :func:`token_log_weights`.
        weights: what the loss multiplies -p_t by [N]: clipped, times the tier weights and pass rates.
        coefficients: c_t = -dLoss/dp_t [N]: the weight, and the slope of the KL penalty.
    """

    log_weights: Tensor
    weights: Tensor
    coefficients: Tensor


def weigh(values: TokenValues, fields: TokenFields, options: LossOptions) -> Weighed:
    """Weights and coefficients of tokens. Levels other than token need every token of a sample among them."""
    log_weights = token_log_weights(values, fields, options)
    weights = token_weights(log_weights, fields, options)
    if not options.kl_coef:
        return Weighed(log_weights, weights, weights)
    d = fields.policy - values.log_probs
    # -d/dp of e^d - 1 - d is e^d - 1; that of e^-d - 1 + d is 1 - e^-d.
    pull = torch.expm1(d) if options.kl == "reverse" else -torch.expm1(-d)
    return Weighed(log_weights, weights, weights + options.kl_coef * pull)


def weighted_total(log_probs: Tensor, weights: Tensor, fields: TokenFields, options: LossOptions) -> Tensor:
    """sum_t w_t (-p_t) + kl_coef sum_t k3_t: a scalar, differentiable in p_t, with weights [N] that are constant."""
    total = -(weights * log_probs).sum()
    return total + options.kl_coef * kl_penalty(log_probs, fields, options).sum() if options.kl_coef else total


def kl_penalty(log_probs: Tensor, fields: TokenFields, options: LossOptions) -> Tensor:
    """k3 estimates of the divergence from the recorded policy (Schulman 2020), by ``options.kl``: [N].

    reverse: KL(pi || pi_0), as GRPO has it (arXiv 2402.03300, eq. 4); forward: KL(pi_0 || pi), that of ASFT
    (arXiv 2509.23753), which its authors sum over the vocabulary with a second model.
    """
    d = fields.policy - log_probs
    penalty: Tensor = kl_k3(d if options.kl == "reverse" else -d)
    return penalty


def token_log_weights(values: TokenValues, fields: TokenFields, options: LossOptions) -> Tensor:
    """Raw (unclipped) log-weight of every token; tier weights and pass rates are not in it.

    A ratio l_t = p_t - beta_t is taken at ``options.level`` within each sample. Where there is no
    behaviour policy: p_t itself (dft), 0 (unit) or log(H_t / log K) (entropy, arXiv 2601.02151), whatever
    the level.

    Args:
        values: of the current policy at the N tokens.
        fields: of the same N tokens. Levels other than token need every token of a sample in it.
        options: of the loss.

    Returns:
        floats [N], dtype of the log-probs; NaN where the row lacks the log-probs the options need.
    """
    own, is_ratio = _token_log_weights(values, fields, options)
    if options.level == "token" or not len(fields):
        return own
    samples = int(fields.sample.max()) + 1 if fields.samples is None else fields.samples
    ratio = level_log_weights(torch.where(is_ratio, own, 0.0), fields.sample, samples, options.level)
    return torch.where(is_ratio, ratio, own)


def token_weights(log_weights: Tensor, fields: TokenFields, options: LossOptions) -> Tensor:
    """The weights the loss uses: importance ratios clipped, times the tier's factor and the pass rate.

    Args:
        log_weights: floats [N] from :func:`token_log_weights`.
        fields: of the same N tokens.
        options: of the loss.

    Returns:
        floats [N], dtype of ``log_weights``.
    """
    raw, clipped = torch.exp(log_weights), clip_weights(log_weights, options.clip, options.clip_max)
    weights = raw
    for code, tier in enumerate(TIERS):
        of_tier = clipped if options.source(tier) in RATIOS else raw
        weights = torch.where(fields.tier == code, of_tier * options.tier_weights[tier], weights)
    if options.pass_rate and fields.pass_rate is not None:
        weights = weights * torch.where(fields.tier == EXPERT, 1.0, fields.pass_rate).to(weights.dtype)
    return weights


def tier_sums(
    log_probs: Tensor, log_weights: Tensor, fields: TokenFields, options: LossOptions
) -> dict[str, WeightSums]:
    """Sufficient statistics of the raw weights, by tier: what the metrics are computed from.

    They add up (``WeightSums.merge``) over micro-batches, accumulation steps and ranks; "all" is the
    merge of the three. Their KL sums are over the tokens' own ratios l_t = p_t - beta_t whatever the
    level; where the weight is no ratio, beta is the recorded behaviour log-prob, or the recorded policy's,
    and a token with neither is left out (``kl_count``). Only of the model's own responses (self, guided)
    do they estimate a KL divergence; of expert text they measure drift.

    Args:
        log_probs: p_t, detached floats [N].
        log_weights: floats [N] from :func:`token_log_weights`.
        fields: of the same N tokens.
        options: of the loss.

    Returns:
        {"self", "guided", "expert"} to statistics in float64, of no tokens where a tier has none.
    """
    recorded = torch.where(fields.behavior.isnan(), fields.policy, fields.behavior)
    sums: dict[str, WeightSums] = {}
    for code, tier in enumerate(TIERS):
        source = options.source(tier)
        beta = {"recorded": fields.behavior, "reference": fields.policy}.get(source, recorded)
        sums[tier] = weight_sums(
            log_weights.double(),
            options.clip if source in RATIOS else "none",
            options.clip_max,
            (log_probs - beta).double(),
            within=fields.tier == code,
        )
    return sums


def _token_log_weights(values: TokenValues, fields: TokenFields, options: LossOptions) -> tuple[Tensor, Tensor]:
    """Log-weight of every token by itself [N], and where it is a ratio [N]."""
    p = values.log_probs
    found, is_ratio = torch.zeros_like(p), torch.zeros_like(p, dtype=torch.bool)
    for code, tier in enumerate(TIERS):
        here, source = fields.tier == code, options.source(tier)
        if source in RATIOS:
            beta = fields.behavior if source == "recorded" else fields.policy
            found, is_ratio = torch.where(here, p - beta.to(p.dtype), found), is_ratio | here
        elif source == "dft":
            found = torch.where(here, p, found)
        elif source == "entropy":
            assert values.entropy is not None, "the entropy is computed where options.top_entropy asks for it"
            found = torch.where(here, torch.log(values.entropy / math.log(EAFT_TOP)), found)
    return found, is_ratio
