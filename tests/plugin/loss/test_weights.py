"""Weights of a packed micro-batch, token by token, by hand."""

import math

import pytest
import torch

from mindgap_loss.options import LossOptions
from mindgap_loss.weights import (
    TokenFields,
    TokenValues,
    tier_sums,
    token_log_weights,
    token_weights,
    weigh,
)

NAN = math.nan
# Two self tokens, one guided, two expert (the second sample of expert is plain SFT data, nothing recorded).
FIELDS = TokenFields(
    tier=torch.tensor([0, 0, 1, 2, 2]),
    behavior=torch.tensor([-1.0, -2.0, -1.5, NAN, NAN]),
    policy=torch.tensor([-1.1, -2.1, -3.0, -4.0, NAN]),
    sample=torch.tensor([0, 0, 1, 2, 3]),
)
LOG_PROBS = torch.tensor([-0.5, -1.9, -2.5, -3.0, -0.7])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.5, 0.1, -1.0, -3.0, -0.7]),
        ({"expert_behavior": "unit"}, [0.5, 0.1, -1.0, 0.0, 0.0]),
        ({"expert_behavior": "reference"}, [0.5, 0.1, -1.0, 1.0, NAN]),
        ({"expert_behavior": "logged"}, [0.5, 0.1, -1.0, NAN, NAN]),
        ({"level": "sequence"}, [0.6, 0.6, -1.0, -3.0, -0.7]),
        ({"level": "geometric"}, [0.3, 0.3, -1.0, -3.0, -0.7]),
        ({"level": "sequence", "expert_behavior": "unit"}, [0.6, 0.6, -1.0, 0.0, 0.0]),
        ({"preset": "paper"}, [-0.5, -1.9, -2.5, -3.0, -0.7]),
        ({"preset": "sft"}, [0.0, 0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_log_weights(options, expected):
    found = token_log_weights(TokenValues(LOG_PROBS), FIELDS, LossOptions(**options))
    torch.testing.assert_close(found, torch.tensor(expected), equal_nan=True)
    assert found.dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"clip_max": 1.2}, [1.2, math.exp(0.1), math.exp(-1.0), math.exp(-3.0), math.exp(-0.7)]),
        # mask drops importance ratios outside [1/C, C]; a dft weight is a probability and stays.
        ({"clip": "mask", "clip_max": 1.2}, [0.0, math.exp(0.1), 0.0, math.exp(-3.0), math.exp(-0.7)]),
        ({"clip": "none"}, [math.exp(0.5), math.exp(0.1), math.exp(-1.0), math.exp(-3.0), math.exp(-0.7)]),
        ({"preset": "paper"}, [math.exp(x) for x in (-0.5, -1.9, -2.5, -3.0, -0.7)]),
        ({"preset": "sft", "tier_weights": {"self": 2, "guided": 0, "expert": 0.5}}, [2, 2, 0, 0.5, 0.5]),
        (
            {"clip_max": 1.2, "tier_weights": {"self": 3}},
            [3.6, 3 * math.exp(0.1), *(math.exp(x) for x in (-1.0, -3.0, -0.7))],
        ),
    ],
)
def test_weights(options, expected):
    options = LossOptions(**options)
    found = token_weights(token_log_weights(TokenValues(LOG_PROBS), FIELDS, options), FIELDS, options)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))


def test_iw_sft_is_the_geometric_level_against_the_reference_bounded_by_16():
    """w = clip(exp(mean_t(log pi - log pi_ref)), 0, 16) (arXiv 2507.12856), whatever the tier."""
    options = LossOptions(preset="iw-sft")
    fields = TokenFields(
        tier=torch.tensor([0, 0, 1, 1, 2]),
        behavior=torch.tensor([-3.0, -3.0, -3.0, -3.0, NAN]),
        policy=torch.tensor([-1.0, -2.0, -9.0, -8.0, -0.5]),
        sample=torch.tensor([0, 0, 1, 1, 2]),
    )
    values = TokenValues(torch.tensor([-0.5, -1.0, -0.1, -0.2, -3.0]))
    found = weigh(values, fields, options).weights
    torch.testing.assert_close(found, torch.tensor([math.exp(0.75), math.exp(0.75), 16.0, 16.0, math.exp(-2.5)]))


def test_the_pass_rate_multiplies_the_models_own_rows_only():
    rate = torch.tensor([0.5, 0.5, 0.25, 0.1, 0.1])
    fields = TokenFields(FIELDS.tier, FIELDS.behavior, FIELDS.policy, FIELDS.sample, pass_rate=rate)
    plain = weigh(TokenValues(LOG_PROBS), fields, LossOptions())
    found = weigh(TokenValues(LOG_PROBS), fields, LossOptions(pass_rate=True))
    torch.testing.assert_close(found.weights, plain.weights * torch.tensor([0.5, 0.5, 0.25, 1.0, 1.0]))
    torch.testing.assert_close(found.log_weights, plain.log_weights)  # the metrics are of the ratios


def test_a_bound_on_the_samples_is_as_good_as_their_number():
    bounded = TokenFields(FIELDS.tier, FIELDS.behavior, FIELDS.policy, FIELDS.sample, samples=50)
    for level in ("sequence", "geometric"):
        options = LossOptions(level=level)
        found = token_log_weights(TokenValues(LOG_PROBS), bounded, options)
        torch.testing.assert_close(found, token_log_weights(TokenValues(LOG_PROBS), FIELDS, options), equal_nan=True)


def test_a_sample_s_weight_does_not_depend_on_what_it_is_packed_with():
    options = LossOptions(level="sequence", clip="none")
    packed = token_log_weights(TokenValues(LOG_PROBS), FIELDS, options)
    for sample in range(4):
        here = FIELDS.sample == sample
        alone = token_log_weights(TokenValues(LOG_PROBS[here]), FIELDS[here], options)
        torch.testing.assert_close(packed[here], alone)


def test_no_token_has_no_weight():
    nothing = FIELDS[:0]
    for level in ("token", "sequence", "geometric"):
        options = LossOptions(level=level)
        assert token_weights(
            token_log_weights(TokenValues(torch.zeros(0)), nothing, options), nothing, options
        ).shape == (0,)


def test_a_ratio_too_large_for_float32_is_clipped_not_infinite():
    fields = TokenFields(*(x[:1] for x in (FIELDS.tier, torch.tensor([-500.0]), FIELDS.policy, FIELDS.sample)))
    found = token_weights(token_log_weights(TokenValues(torch.zeros(1)), fields, LossOptions()), fields, LossOptions())
    assert found.item() == 2.0


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64])
def test_tiers_may_be_any_integers(dtype):
    fields = TokenFields(FIELDS.tier.to(dtype), FIELDS.behavior, FIELDS.policy, FIELDS.sample)
    options = LossOptions(tier_weights={"expert": 0.5})
    found = token_weights(token_log_weights(TokenValues(LOG_PROBS), fields, options), fields, options)
    expected = token_weights(token_log_weights(TokenValues(LOG_PROBS), FIELDS, options), FIELDS, options)
    torch.testing.assert_close(found, expected)


# Statistics


def sums(**options):
    options = LossOptions(**options)
    return tier_sums(LOG_PROBS, token_log_weights(TokenValues(LOG_PROBS), FIELDS, options), FIELDS, options)


def test_statistics_by_tier_are_of_raw_weights():
    found = sums(clip_max=1.2)
    assert {tier: float(s.count) for tier, s in found.items()} == {"self": 2, "guided": 1, "expert": 2}
    assert float(found["self"].mean) == pytest.approx((math.exp(0.5) + math.exp(0.1)) / 2)
    assert float(found["self"].max) == pytest.approx(math.exp(0.5))
    assert float(found["self"].clipped_share) == 0.5
    assert float(found["self"].k1) == pytest.approx(-0.3)
    assert float(found["guided"].k1) == pytest.approx(1.0)


def test_mask_does_not_count_dft_weights_as_clipped():
    found = sums(clip="mask", clip_max=1.2)
    assert float(found["guided"].clipped) == 1
    assert float(found["expert"].clipped) == 0


def test_kl_sums_are_of_the_tokens_own_ratios_at_every_level_and_preset():
    for options in ({"level": "sequence"}, {"level": "geometric"}, {"preset": "paper"}, {"preset": "sft"}):
        assert float(sums(**options)["self"].k1) == pytest.approx(-0.3), options


def test_kl_of_expert_text_is_against_the_recorded_policy_where_there_is_one():
    found = sums()["expert"]  # p = -3.0 against -4.0; the other token has nothing recorded
    assert float(found.kl_count) == 1
    assert float(found.k1) == pytest.approx(-1.0)


def test_merged_tiers_are_all_tokens():
    found = sums()
    everything = found["self"].merge(found["guided"]).merge(found["expert"])
    weights = torch.exp(token_log_weights(TokenValues(LOG_PROBS), FIELDS, LossOptions()).double())
    assert float(everything.count) == 5
    assert float(everything.mean) == pytest.approx(float(weights.mean()))
    assert float(everything.variance) == pytest.approx(float(weights.var(correction=0)))
