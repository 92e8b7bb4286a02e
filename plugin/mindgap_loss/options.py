"""The options of the importance-weighted loss: what the ``mindgap:`` block of a recipe accepts."""

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mindgap_data.importance import Clip, Level
from mindgap_data.record import TIERS, Tier

Preset = Literal["is", "paper", "sft"]
ExpertBehavior = Literal["dft", "unit", "reference", "logged"]

# What a preset other than `is` means, in the options it fixes.
FIXED: dict[str, dict[str, str]] = {
    "paper": {"level": "token", "clip": "none", "expert_behavior": "dft"},
    "sft": {"level": "token", "clip": "none", "expert_behavior": "unit"},
}
DEFAULT_CLIP_MAX = 2.0


class LossOptions(BaseModel):
    """Options of the loss, checked against each other; a checked object says what it means in full.

    Under ``paper`` and ``sft`` the fields the preset fixes (level, clip, expert_behavior) hold what
    the preset means, so the object can be dumped and read back.

    iw-SFT (arXiv 2507.12856) is ``level: geometric``, ``expert_behavior: reference``, ``clip_max: 16``:
    w = min(exp(mean_t(log pi - log pi_0)), 16) on every expert response; on self rows sampled at
    temperature 1 the behaviour policy is the reference, so they get the same form.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Preset = Field(
        default="is",
        description="is: importance weights as the options below say; paper: the Dynamic Fine-Tuning weight "
        "(the policy's own probability of the token) on every tier, as arXiv 2509.15157 trains; sft: weight 1",
    )
    level: Level = Field(
        default="token",
        description="importance ratio of a token: its own (token), its response's product (sequence), or that "
        "product's geometric mean (geometric). Has no effect on dft and unit weights, which have no behaviour policy",
    )
    clip: Clip = Field(
        default="truncate",
        description="truncate: min(w, clip_max); mask: 0 where w is outside [1/clip_max, clip_max]; none. Applies to "
        "importance ratios only: a dft weight is a probability, at most 1 by nature and rightly small",
    )
    clip_max: float = Field(default=DEFAULT_CLIP_MAX, ge=1, description="bound C of truncate and mask, 1 or more")
    expert_behavior: ExpertBehavior = Field(
        default="dft",
        description="behaviour policy of expert tokens: dft: none, the weight is the policy's probability of the "
        "token (arXiv 2508.05629, eq. 9); unit: none, weight 1 (plain SFT); reference: the recorded policy "
        "(policy_logprobs); logged: behavior_logprobs that came with the input",
    )
    normalize: Literal["none", "batch"] = Field(
        default="none",
        description="none: divide by the trained tokens of the global batch; batch: by the sum of their weights "
        "(self-normalised importance sampling)",
    )
    tier_weights: dict[Tier, float] = Field(
        default_factory=lambda: dict.fromkeys(TIERS, 1.0),
        description="factor on the weights of each tier, 0 or more; a tier not named has 1",
    )
    kl_coef: float = Field(
        default=0.0,
        ge=0,
        description="factor of the k3 penalty towards the recorded policy, mean over the trained tokens of "
        "exp(d) - 1 - d with d = policy_logprobs - log pi; 0 for none",
    )
    chunk_tokens: int = Field(
        default=256,
        ge=1,
        description="tokens whose logits are held at once: memory is chunk_tokens x vocabulary x 4 bytes",
    )

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, data: Any) -> Any:
        """Fill in what the preset fixes; an option that says otherwise is an error. Null means not given."""
        if not isinstance(data, dict):
            return data
        data = {name: value for name, value in data.items() if value is not None}
        preset = data.get("preset")
        for name, meaning in FIXED.get(preset, {}).items() if isinstance(preset, str) else ():
            if data.setdefault(name, meaning) != meaning:
                raise ValueError(
                    f"preset: {preset} and {name}: {data[name]} contradict each other (preset {preset} means "
                    f"{name}: {meaning}); drop one of them, or use preset: is"
                )
        return data

    @field_validator("clip_max", "kl_coef")
    @classmethod
    def _finite(cls, value: float) -> float:
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a finite number")
        return value

    @field_validator("tier_weights")
    @classmethod
    def _complete_tiers(cls, value: dict[Tier, float]) -> dict[Tier, float]:
        for tier, weight in value.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"weight {weight} of tier {tier} is not a finite number of 0 or more")
        complete = {tier: value.get(tier, 1.0) for tier in TIERS}
        if not any(complete.values()):
            raise ValueError("every tier has weight 0: nothing would be trained")
        return complete

    @model_validator(mode="after")
    def _no_bound_without_clip(self) -> "LossOptions":
        if self.clip == "none" and self.clip_max != DEFAULT_CLIP_MAX:
            cause = "clip: none" if self.preset == "is" else f"preset: {self.preset} (which means clip: none)"
            raise ValueError(f"{cause} and clip_max: {self.clip_max:g} contradict each other; drop one of them")
        return self

    def behavior(self, tier: Tier) -> Literal["recorded", "dft", "unit", "reference"]:
        """Where the behaviour log-probs of a tier come from: the row's own, the recorded policy, or no ratio at all.

        recorded: behavior_logprobs; reference: policy_logprobs; dft: the weight is the policy's
        probability; unit: the weight is 1.
        """
        if self.preset == "paper":
            return "dft"
        if self.preset == "sft":
            return "unit"
        if tier != "expert" or self.expert_behavior == "logged":
            return "recorded"
        return self.expert_behavior
