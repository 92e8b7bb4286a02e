"""Importance weights of trained tokens: from log-probs, tiers and options to detached float weights.

Plain torch on the formulas of :mod:`mindgap_data.importance`; nothing here takes gradients.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mindgap_data.importance import WeightSums, clip_weights, level_log_weights, weight_sums
from mindgap_data.record import TIERS, Tier
from mindgap_loss.options import LossOptions

SELF, GUIDED, EXPERT = range(3)


@dataclass(frozen=True)
class TokenFields:
    """What is known of each of the N trained tokens of a micro-batch, in the order of the hidden states.

    Attributes:
        tier: integers [N], 0 self, 1 guided, 2 expert (the index in ``record.TIERS``).
        behavior: float32 [N], recorded behaviour log-prob; NaN where the row has none.
        policy: float32 [N], recorded log-prob of the policy that was rewritten for; NaN where none.
        sample: int64 [N] in 0..S-1, the sample (response) a token belongs to; need not be sorted.
    """

    tier: Tensor
    behavior: Tensor
    policy: Tensor
    sample: Tensor

    def __len__(self) -> int:
        return self.tier.shape[0]

    def __getitem__(self, tokens: slice | Tensor) -> "TokenFields":
        """The fields of some of the tokens (a slice, a mask or indices)."""
        return TokenFields(self.tier[tokens], self.behavior[tokens], self.policy[tokens], self.sample[tokens])

    def to(self, device: torch.device | str) -> "TokenFields":
        """The same fields on ``device``."""
        return TokenFields(*(x.to(device) for x in (self.tier, self.behavior, self.policy, self.sample)))


def missing_log_probs(
    tier: Tier, behavior: Sequence[float] | None, policy: Sequence[float] | None, options: LossOptions
) -> str | None:
    """Why a row lacks log-probs the options need, or None: one line, to be prefixed with file:line.

    Args:
        tier: the row's tier.
        behavior: its ``behavior_logprobs`` or None.
        policy: its ``policy_logprobs`` or None.
        options: of the loss.
    """
    source = options.behavior(tier)
    if source == "recorded" and behavior is None:
        if tier == "expert":
            return (
                "behavior_logprobs is null in an expert row, and expert_behavior: logged needs them; "
                "use expert_behavior: dft, unit or reference"
            )
        return f"behavior_logprobs is null in a {tier} row, and preset: is needs them; use preset: paper or sft"
    if source == "reference" and policy is None:
        return (
            "policy_logprobs is missing in an expert row, and expert_behavior: reference needs them; "
            "use expert_behavior: dft or unit"
        )
    if options.kl_coef > 0 and policy is None:
        return f"policy_logprobs is missing, and kl_coef: {options.kl_coef:g} needs them in every row; set kl_coef: 0"
    return None


@dataclass(frozen=True)
class Weighed:
    """Weights of N tokens, detached, dtype of their log-probs.

    Attributes:
        log_weights: raw log-weights [N], see :func:`token_log_weights`.
        weights: what the loss multiplies -p_t by [N]: clipped, times the tier weights.
        coefficients: c_t = -dLoss/dp_t = w_t + kl_coef (exp(d_t) - 1), d_t = log pi_0 - p_t [N].
    """

    log_weights: Tensor
    weights: Tensor
    coefficients: Tensor


def weigh(log_probs: Tensor, fields: TokenFields, options: LossOptions) -> Weighed:
    """Weights and coefficients of tokens whose log-probs are ``log_probs`` [N].

    Levels other than token need every token of a sample among them.
    """
    log_weights = token_log_weights(log_probs, fields, options)
    weights = token_weights(log_weights, fields, options)
    if not options.kl_coef:
        return Weighed(log_weights, weights, weights)
    return Weighed(log_weights, weights, weights + options.kl_coef * torch.expm1(fields.policy - log_probs))


def token_log_weights(log_probs: Tensor, fields: TokenFields, options: LossOptions) -> Tensor:
    """Raw (unclipped) log-weight of every token; tier weights are not in it.

    ``is``: log importance ratio l_t = p_t - beta_t, at ``options.level`` within each sample. Where
    there is no behaviour policy: p_t itself (dft) or 0 (unit), whatever the level.

    Args:
        log_probs: p_t, detached floats [N] under the current policy.
        fields: of the same N tokens. Levels other than token need every token of a sample in it.
        options: of the loss.

    Returns:
        floats [N], dtype of ``log_probs``; NaN where the row lacks the log-probs the options need.
    """
    beta, is_ratio = _behavior(log_probs, fields, options)
    ratio = torch.where(is_ratio, log_probs - beta, 0.0)
    if options.level != "token" and len(fields):
        ratio = level_log_weights(ratio, fields.sample, int(fields.sample.max()) + 1, options.level)
    return torch.where(is_ratio, ratio, log_probs - beta)


def token_weights(log_weights: Tensor, fields: TokenFields, options: LossOptions) -> Tensor:
    """The weights the loss uses: importance ratios clipped, times the tier's factor.

    Args:
        log_weights: floats [N] from :func:`token_log_weights`.
        fields: of the same N tokens.
        options: of the loss.

    Returns:
        floats [N], dtype of ``log_weights``.
    """
    codes = fields.tier.long()
    factors = log_weights.new_tensor([options.tier_weights[tier] for tier in TIERS])
    is_ratio = torch.tensor([options.behavior(t) in ("recorded", "reference") for t in TIERS], device=codes.device)
    clipped = clip_weights(log_weights, options.clip, options.clip_max)
    return torch.where(is_ratio[codes], clipped, torch.exp(log_weights)) * factors[codes]


def tier_sums(
    log_probs: Tensor, log_weights: Tensor, fields: TokenFields, options: LossOptions
) -> dict[str, WeightSums]:
    """Sufficient statistics of the raw weights, by tier: what the metrics are computed from.

    They add up (``WeightSums.merge``) over micro-batches, accumulation steps and ranks; "all" is the
    merge of the three. Their KL sums are over the tokens' own ratios l_t = p_t - beta_t whatever the
    level; where the weight is no ratio (dft, unit), beta is the recorded behaviour log-prob, or the
    recorded policy's, and a token with neither is left out (``kl_count``). Only of the model's own
    responses (self, guided) do they estimate a KL divergence; of expert text they measure drift.

    Args:
        log_probs: p_t, detached floats [N].
        log_weights: floats [N] from :func:`token_log_weights`.
        fields: of the same N tokens.
        options: of the loss.

    Returns:
        {"self", "guided", "expert"} to statistics in float64, of no tokens where a tier has none.
    """
    beta, is_ratio = _behavior(log_probs, fields, options)
    recorded = torch.where(fields.behavior.isnan(), fields.policy, fields.behavior).to(log_probs.dtype)
    log_ratios = log_probs - torch.where(is_ratio, beta, recorded)
    sums: dict[str, WeightSums] = {}
    for code, tier in enumerate(TIERS):
        here = fields.tier == code
        clip = options.clip if options.behavior(tier) in ("recorded", "reference") else "none"
        known = log_ratios[here & ~log_ratios.isnan()].double()
        sums[tier] = weight_sums(log_weights[here].double(), clip, options.clip_max, known)
    return sums


def _behavior(log_probs: Tensor, fields: TokenFields, options: LossOptions) -> tuple[Tensor, Tensor]:
    """beta_t [N] (0 for dft, p_t for unit, so that p_t - beta_t is the log-weight) and where it is a ratio [N]."""
    beta = torch.zeros_like(log_probs)
    is_ratio = torch.zeros_like(log_probs, dtype=torch.bool)
    for code, tier in enumerate(TIERS):
        here = fields.tier == code
        source = options.behavior(tier)
        if source == "unit":
            beta = torch.where(here, log_probs, beta)
        elif source != "dft":
            recorded = fields.behavior if source == "recorded" else fields.policy
            beta = torch.where(here, recorded.to(beta.dtype), beta)
            is_ratio = is_ratio | here
    return beta, is_ratio
