"""The options of the importance-weighted loss: what the ``mindgap:`` block of a recipe accepts."""

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mindgap_data.importance import Clip, Level
from mindgap_data.record import TIERS, Tier

Preset = Literal["is", "paper", "sft", "iw-sft", "asft", "eaft"]
ExpertBehavior = Literal["dft", "unit", "reference", "logged"]
# Where a token's weight comes from: a ratio to the recorded behaviour or to the recorded policy, its probability, 1,
# or the entropy of the policy's next-token distribution.
WeightSource = Literal["recorded", "reference", "dft", "unit", "entropy"]
RATIOS = ("recorded", "reference")

# What a preset other than `is` means: where every tier's weights come from, the options it fixes, and those it only
# gives another default.
SOURCE: dict[str, WeightSource] = {
    "paper": "dft",
    "sft": "unit",
    "iw-sft": "reference",
    "asft": "dft",
    "eaft": "entropy",
}
FIXED: dict[str, dict[str, str]] = {
    "paper": {"level": "token", "clip": "none", "expert_behavior": "dft"},
    "sft": {"level": "token", "clip": "none", "expert_behavior": "unit"},
    "iw-sft": {"level": "geometric", "clip": "truncate", "expert_behavior": "reference"},
    "asft": {"level": "token", "clip": "none", "expert_behavior": "dft", "kl": "forward"},
    # The weight is of no behaviour policy at all; expert_behavior has no say.
    "eaft": {"level": "token", "clip": "none", "expert_behavior": "unit"},
}
DEFAULTS: dict[str, dict[str, float]] = {"iw-sft": {"clip_max": 16.0}, "asft": {"kl_coef": 0.1}}
DEFAULT_CLIP_MAX = 2.0

# Tokens of whose logits EAFT takes the entropy, renormalised among them (arXiv 2601.02151: K = 20).
EAFT_TOP = 20
# Tokens whose logits exist at once. A frozen head reads its weights once a chunk, and 256 tokens hide that behind the
# products. A trained one also reads and writes its float32 gradient once a chunk, 8 V H bytes against 6 C V H floating
# point operations: on a GPU of 800 TFLOP/s and 3.3 TB/s the two take equal time at C = 320, so 1,024 are taken.
CHUNK_FROZEN, CHUNK_TRAINED = 256, 1024


class LossOptions(BaseModel):
    """Options of the loss, checked against each other; a checked object says what it means in full.

    Under a preset other than ``is`` the fields it fixes hold what the preset means, so the object can be
    dumped and read back.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Preset = Field(
        default="is",
        description="is: importance weights as the options below say; paper: the Dynamic Fine-Tuning weight "
        "(the policy's own probability of the token) on every tier, as arXiv 2509.15157 trains; sft: weight 1; "
        "iw-sft: min(e^mean(log pi - log pi_0), 16) of each response (arXiv 2507.12856); asft: paper plus a KL "
        "penalty to the recorded policy (arXiv 2509.23753); eaft: the entropy of the policy's 20 likeliest tokens "
        "over log 20 (arXiv 2601.02151)",
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
        description="factor of the k3 penalty towards the recorded policy, mean over the trained tokens; 0 for none "
        "(preset asft: 0.1)",
    )
    kl: Literal["reverse", "forward"] = Field(
        default="reverse",
        description="which divergence k3 estimates, with d = policy_logprobs - log pi: reverse: KL(pi || pi_0), "
        "e^d - 1 - d; forward: KL(pi_0 || pi), e^-d - 1 + d, whose gradient is unbiased on responses pi_0 drew",
    )
    pass_rate: bool = Field(
        default=False,
        description="multiply the weights of self and guided rows by the share of their stage's draws that were "
        "correct: the gradient is then the on-policy one of the expected reward, not divided by the pass rate",
    )
    kernel: Literal["auto", "torch", "cce"] = Field(
        default="auto",
        description="what computes the loss: torch: mindgap's own chunks, in plain torch; cce: Apple's Cut "
        "Cross-Entropy, which needs CUDA, its package, and a head without adapter; auto: torch, until cce has been "
        "measured faster",
    )
    chunk_tokens: int | None = Field(
        default=None,
        ge=1,
        description="tokens whose logits are held at once; by default 256 for a frozen head and 1,024 for a trained "
        "one. Memory: chunk_tokens x vocabulary x 6 bytes in bfloat16 (14 with soft-capped logits), 4 in float32",
    )

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, data: Any) -> Any:
        """Fill in what the preset fixes; an option that says otherwise is an error. Null means not given."""
        if not isinstance(data, dict):
            return data
        data = {name: value for name, value in data.items() if value is not None}
        preset = str(data.get("preset"))
        data = {**DEFAULTS.get(preset, {}), **data}
        for name, meaning in FIXED.get(preset, {}).items():
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

    @model_validator(mode="after")
    def _no_entropy_from_cce(self) -> "LossOptions":
        if self.kernel == "cce" and self.top_entropy:
            raise ValueError(
                f"kernel: cce and preset: {self.preset} contradict each other: the preset needs the entropy of the "
                "next token, and cce gives log-probs only; use kernel: torch"
            )
        return self

    def source(self, tier: Tier) -> WeightSource:
        """Where the weights of a tier come from.

        recorded: a ratio to behavior_logprobs; reference: a ratio to policy_logprobs; dft: the policy's
        probability; unit: 1; entropy: that of the policy's next-token distribution.
        """
        if self.preset in SOURCE:
            return SOURCE[self.preset]
        if tier != "expert" or self.expert_behavior == "logged":
            return "recorded"
        return self.expert_behavior

    def chunk_size(self, head_is_trained: bool) -> int:
        """Tokens whose logits are held at once."""
        return self.chunk_tokens or (CHUNK_TRAINED if head_is_trained else CHUNK_FROZEN)

    @property
    def top_entropy(self) -> int:
        """Of how many of the likeliest tokens the entropy is needed; 0 for none."""
        return EAFT_TOP if self.preset == "eaft" else 0
