"""Every threshold of the rules, once. Those of training alarms can be set in a recipe, under ``mindgap: alarms``."""

from pydantic import BaseModel, ConfigDict, Field

# Fewer rows or draws than these say nothing about a file.
MIN_ROWS = 10
# A trend is judged on the median of this many logs, once there are at least so many: one odd batch is no trend.
TREND_LOGS = 20
MIN_LOGS = 5

# KL k3 between sampler and policy on self rows, nats per token: 0 but for rounding, which in bfloat16 comes to about
# 0.001 (log-prob differences of sd 0.05). 0.005 is a difference of 0.1 nats per token.
SELF_KL = 0.005
# |policy - behaviour| of guided rows, nats per token: the part of a response the policy would not write unaided.
PROMPT_GAP = 0.3
# Share of a stage's draws.
TRUNCATED_DRAWS = 0.1
NO_ANSWER_DRAWS = 0.3
CHECKER_ERROR_DRAWS = 0.01
LEAKED_DRAWS = 0.1
# Words of rewritten responses over those of their expert texts, medians.
SHORT_RESPONSES = 1 / 3
# A guided response's length, formulae and marks of doubt per word are compared with the self tier's: this many times.
STYLE_RATIO = 2.0


class AlarmThresholds(BaseModel):
    """Thresholds of the rules that judge a file and a training run alike.

    0 as a floor, 1 as a share and .inf elsewhere turn a rule off.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ess_floor: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="warn when ESS/N of self or guided rows is below: few tokens carry the gradient",
    )
    weight_variance: float = Field(
        default=10.0,
        gt=0,
        description="warn when the variance of the raw weights of self or guided rows is above",
    )
    clipped_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="warn when the clip changes more than this share of the weights of self or guided rows",
    )
    nll_rise: float = Field(
        default=0.3,
        gt=0,
        description="warn when the NLL of a tier, median of the last 20 logs, is this many nats above its lowest",
    )
    grad_norm_spike: float = Field(
        default=10.0,
        gt=1,
        description="warn when the gradient norm is this many times the median of the last 20 logged",
    )
    expert_share: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="warn when more than this share of the rows, or of the tokens of the last 20 logs, is expert text",
    )
