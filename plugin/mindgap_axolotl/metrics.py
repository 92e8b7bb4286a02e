"""What a run says of its weights: statistics by tier, summed over micro-batches, accumulation steps and ranks."""

from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from mindgap_data.errors import UserError
from mindgap_data.importance import WeightSums, weight_sums
from mindgap_data.record import TIERS
from mindgap_loss.loss import LossOutput
from mindgap_loss.options import LossOptions
from mindgap_loss.weights import TokenFields, tier_sums


@dataclass(frozen=True)
class TierStatistics:
    """Raw-weight statistics and the NLL sum of some tokens, in float64, wherever the tokens are."""

    weights: WeightSums
    nll_sum: Tensor

    def merge(self, other: "TierStatistics") -> "TierStatistics":
        """Of both sets of tokens together."""
        return TierStatistics(self.weights.merge(other.weights), self.nll_sum + other.nll_sum)

    def summary(self) -> dict[str, float]:
        """The numbers to log; nothing for a set of no tokens."""
        weights = self.weights
        if not weights.count:
            return {}
        values = {
            "ess": weights.ess_fraction,
            "weight_mean": weights.mean,
            "weight_variance": weights.variance,
            "weight_max": weights.max,
            "clipped_share": weights.clipped_share,
            "k1": weights.k1,
            "k3": weights.k3,
            "nll": self.nll_sum / weights.count,
            "tokens": weights.count,
        }
        # The KL estimators are NaN where no token has a recorded log-prob (plain SFT rows).
        return {name: float(value) for name, value in values.items() if not torch.isnan(value)}


class WeightMetrics:
    """Collects the statistics of micro-batches between two logs, on the device: only a log waits for it."""

    def __init__(self, options: LossOptions) -> None:
        self.options = options
        self.tiers: dict[str, TierStatistics] = {}
        self.reset()

    def reset(self) -> None:
        """Start anew."""
        self.tiers = {}

    def add(self, output: LossOutput, fields: TokenFields) -> None:
        """Count one micro-batch in."""
        nll = -output.log_probs.double()
        for code, (tier, sums) in enumerate(
            tier_sums(output.log_probs, output.log_weights, fields, self.options).items()
        ):
            found = TierStatistics(sums, torch.where(fields.tier == code, nll, 0.0).sum())
            self.tiers[tier] = self.tiers[tier].merge(found) if tier in self.tiers else found

    def take(self, gather: Callable[[Tensor], Tensor], device: Any = "cpu", prefix: str = "") -> dict[str, float]:
        """The numbers to log since the last call, of all ranks together, and start anew.

        Args:
            gather: stacks a tensor [1, ...] of every rank to [ranks, ...].
            device: where ``gather`` wants it.
            prefix: before each name, as in ``eval_mindgap/self/ess``.

        Raises:
            UserError: a weight is NaN: the model's log-probs are, or a row's are not where they belong.
        """
        ours = [_as_tensor(self.tiers.get(tier, _NONE)).to(device) for tier in TIERS]
        self.reset()
        by_tier: dict[str, TierStatistics] = dict.fromkeys(TIERS, _NONE)
        for rank in gather(torch.stack(ours)[None]).cpu():
            for tier, values in zip(TIERS, rank, strict=True):
                by_tier[tier] = by_tier[tier].merge(_from_tensor(values))
        for name, statistics in by_tier.items():
            if torch.isnan(statistics.weights.log_sum):
                raise UserError(
                    f"an importance weight of the {name} tier is NaN: the model diverged (lower the learning rate, "
                    "train in bfloat16 rather than float16), or something moved the rows' log-probs after encoding"
                )
        groups = {**by_tier, "all": reduce(TierStatistics.merge, by_tier.values())}
        return {
            f"{prefix}mindgap/{group}/{name}": value
            for group, statistics in groups.items()
            for name, value in statistics.summary().items()
        }


def _as_tensor(statistics: TierStatistics) -> Tensor:
    return torch.stack([*astuple(statistics.weights), statistics.nll_sum])


def _from_tensor(values: Tensor) -> TierStatistics:
    *weights, nll_sum = values
    return TierStatistics(WeightSums(*weights), nll_sum)


_NONE = TierStatistics(
    weight_sums(torch.zeros(0, dtype=torch.float64), "none", 1.0), torch.zeros((), dtype=torch.float64)
)
