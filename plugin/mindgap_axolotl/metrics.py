"""What a run says of its weights: statistics by tier, summed over micro-batches, accumulation steps and ranks."""

from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import reduce

import torch
from torch import Tensor

from mindgap_data.importance import WeightSums, weight_sums
from mindgap_data.record import TIERS
from mindgap_loss.loss import LossOutput
from mindgap_loss.options import LossOptions
from mindgap_loss.weights import TokenFields, tier_sums


@dataclass(frozen=True)
class TierStatistics:
    """Raw-weight statistics and the NLL sum of some tokens; float64 on the CPU."""

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
    """Collects the statistics of micro-batches between two logs."""

    def __init__(self, options: LossOptions) -> None:
        self.options = options
        self.reset()

    def reset(self) -> None:
        """Start anew."""
        empty = TierStatistics(
            weight_sums(torch.zeros(0, dtype=torch.float64), "none", 1.0), torch.zeros((), dtype=torch.float64)
        )
        self.tiers: dict[str, TierStatistics] = dict.fromkeys(TIERS, empty)

    def add(self, output: LossOutput, fields: TokenFields) -> None:
        """Count one micro-batch in.

        Raises:
            FloatingPointError: a weight is NaN: the model's log-probs are, or a row's are not where they belong.
        """
        found, raw, fields = output.log_probs.cpu(), output.log_weights.cpu(), fields.to("cpu")
        if torch.isnan(raw).any():
            raise FloatingPointError(
                "an importance weight is NaN: the model's log-probs are NaN (diverged, or float16 overflow), "
                "or a row's log-probs do not stand where its response does"
            )
        for code, (tier, sums) in enumerate(tier_sums(found, raw, fields, self.options).items()):
            nll = -found[fields.tier == code].double().sum()
            self.tiers[tier] = self.tiers[tier].merge(TierStatistics(sums, nll))

    def take(self, gather: Callable[[Tensor], Tensor], prefix: str = "") -> dict[str, float]:
        """The numbers to log since the last call, of all ranks together, and start anew.

        Args:
            gather: stacks a tensor [1, ...] of every rank to [ranks, ...].
            prefix: before each name, as in ``eval_mindgap/self/ess``.
        """
        ranks = gather(torch.stack([_as_tensor(self.tiers[tier]) for tier in TIERS])[None])
        self.reset()
        for rank in ranks.cpu():
            for tier, values in zip(TIERS, rank, strict=True):
                self.tiers[tier] = self.tiers[tier].merge(_from_tensor(values))
        groups = dict(self.tiers)
        groups["all"] = reduce(TierStatistics.merge, self.tiers.values())
        self.reset()
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
