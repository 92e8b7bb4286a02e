"""Rules that judge a file before training and a run while it trains: weights, the mix of tiers, who checked."""

from collections.abc import Iterator
from math import isfinite

from mindgap_data.checks.finding import Finding
from mindgap_data.checks.thresholds import AlarmThresholds
from mindgap_data.record import Tier

# Expert weights are policy probabilities, small and uneven by nature: only these tiers are judged by their weights.
REWRITTEN: tuple[Tier, ...] = ("self", "guided")


def weight_findings(
    tier: str,
    ess_fraction: float | None,
    variance: float | None,
    clipped_share: float | None,
    limits: AlarmThresholds,
    noise_ess: float | None = None,
) -> Iterator[Finding]:
    """What is wrong with the raw weights of a self or guided tier.

    Args:
        tier: "self" or "guided".
        ess_fraction: ESS/N, in (0, 1]; None where it is not known, as for the others.
        variance: of the raw weights.
        clipped_share: share of weights the clip changes.
        limits: the thresholds.
        noise_ess: the ESS/N that rounding alone leaves at this level, where `mindgap-data noise` measured it.
    """
    if ess_fraction is not None and ess_fraction < limits.ess_floor:
        beside = "" if noise_ess is None else f" (noise alone leaves {noise_ess:.3g})"
        yield Finding(
            f"ess_floor.{tier}",
            "bad",
            f"Few tokens carry the gradient in the {tier} tier",
            f"ESS/N is {ess_fraction:.3g}, below {limits.ess_floor:g}{beside}",
            "Use level: token or geometric with clip: truncate, train for fewer steps at a lower learning rate, or "
            "rewrite again with the current model.",
        )
    if variance is not None and variance > limits.weight_variance:
        yield Finding(
            f"weight_variance.{tier}",
            "warn",
            f"High weight variance in the {tier} tier",
            f"the variance of the raw weights is {variance:.3g}, above {limits.weight_variance:g}",
            "Use level: token or geometric with clip: truncate, or rewrite again with the current model.",
        )
    if clipped_share is not None and clipped_share > limits.clipped_share:
        yield Finding(
            f"clipped_share.{tier}",
            "warn",
            f"Much of the {tier} tier is clipped",
            f"the clip changes {clipped_share:.1%} of the weights, above {limits.clipped_share:.0%}",
            "Clipping biases the gradient. Sample at temperature 1 without top-p or top-k, or rewrite again with the "
            "current model.",
        )


def expert_share_findings(expert: float, total: float, unit: str, limits: AlarmThresholds) -> Iterator[Finding]:
    """Whether too much of the data is still the expert's.

    Args:
        expert: rows or tokens of the expert tier.
        total: of all tiers.
        unit: what is counted: "rows" or "trained tokens".
        limits: the thresholds.
    """
    if not (total > 0 and isfinite(total)) or expert / total <= limits.expert_share:
        return
    yield Finding(
        "expert_share",
        "warn",
        "Few rows were rewritten",
        f"{expert / total:.0%} of the {unit} are expert text, above {limits.expert_share:.0%}",
        "The gap stays where nothing is rewritten. Raise --samples, raise --max-tokens if draws are truncated, or "
        "start with problems closer to what the model can do.",
    )


def unchecked_findings(unchecked: int, rewritten: int) -> Iterator[Finding]:
    """Whether responses were kept that nobody checked (``--verifier none``).

    Args:
        unchecked: self and guided rows whose ``verifier_kind`` is "unchecked".
        rewritten: self and guided rows.
    """
    if unchecked:
        yield Finding(
            "unchecked",
            "warn",
            "Responses that nobody checked",
            f"{unchecked:,} of {rewritten:,} self and guided rows are unchecked (--verifier none)",
            "They are complete, not known to be right: a wrong one is trained like any other, in place of the expert's "
            "text. Read a sample, or rewrite with a verifier, a judge or a reward model.",
        )
