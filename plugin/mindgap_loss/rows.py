"""What the loss needs of a row, whatever trainer reads it: its log-probs and its pass rate."""

from collections.abc import Mapping, Sequence
from typing import Any

from mindgap_data.errors import UserError
from mindgap_data.record import Tier, stage_of
from mindgap_loss.options import LossOptions


def missing_log_probs(
    tier: Tier, behavior: Sequence[float] | None, policy: Sequence[float] | None, options: LossOptions
) -> str | None:
    """Why a row lacks log-probs the options need, or None: one line, to be prefixed with where the row is.

    Args:
        tier: the row's tier.
        behavior: its ``behavior_logprobs`` or None.
        policy: its ``policy_logprobs`` or None.
        options: of the loss.
    """
    source = options.source(tier)
    if source == "recorded" and behavior is None:
        if tier == "expert":
            return (
                "behavior_logprobs is null in an expert row, and expert_behavior: logged needs them; "
                "use expert_behavior: dft, unit or reference"
            )
        return f"behavior_logprobs is null in a {tier} row, and preset: is needs them; use preset: paper or sft"
    if policy is not None:
        return None
    if source == "reference" and options.preset != "is":
        return (
            f"policy_logprobs is missing, and preset: {options.preset} needs them in every row; use preset: is, paper "
            "or sft"
        )
    if source == "reference":
        return (
            "policy_logprobs is missing in an expert row, and expert_behavior: reference needs them; "
            "use expert_behavior: dft or unit"
        )
    if options.kl_coef > 0:
        return f"policy_logprobs is missing, and kl_coef: {options.kl_coef:g} needs them in every row; set kl_coef: 0"
    return None


def pass_rate(row: Mapping[str, Any], options: LossOptions, where: str) -> float:
    """Share of the draws of a record's own stage that were correct; 1 where no option needs it.

    Args:
        row: a record.
        options: of the loss.
        where: the row is, for messages.

    Raises:
        UserError: nobody checked the record, or it counts no correct draw.
    """
    tier = row["tier"]
    if not options.pass_rate or tier == "expert":
        return 1.0
    if (row.get("provenance") or {}).get("verifier_kind") == "unchecked":
        raise UserError(
            f"{where}: the row is unchecked (--verifier none), so it has no pass rate; set mindgap.pass_rate: false"
        )
    stage = stage_of(row.get("hint") or "full") if tier == "guided" else tier
    counts = row["attempts"].get(stage) or {}
    if not counts.get("correct"):
        raise UserError(
            f"{where}: attempts.{stage} counts no correct draw, and pass_rate: true needs the share of correct ones; "
            "set mindgap.pass_rate: false"
        )
    return float(counts["correct"]) / float(counts["sampled"])
