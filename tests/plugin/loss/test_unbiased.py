"""Expectations by full enumeration: every sequence of a tiny model, weighed by the behaviour policy's probability."""

import pytest
import torch
from torch import Tensor

from enumerable import LENGTH, SEQUENCES, Model
from mindgap_data.policy.head import Head
from mindgap_loss.loss import weighted_nll
from mindgap_loss.options import LossOptions
from mindgap_loss.weights import TokenFields

REWARD = torch.tensor([float(1 + 2 * (s.sum() % 3 == 0) + s[0]) for s in SEQUENCES], dtype=torch.float64)
POLICY, BEHAVIOR = Model.random(0), Model.random(1)
MU = BEHAVIOR.log_probs().detach()
PI = POLICY.log_probs().detach()


def expected_gradient(mu: Tensor, **options) -> Tensor:
    """Mean over y ~ mu of reward(y) times the gradient of the loss of y, summed over its tokens.

    Each sequence is a call of its own, as the samples of a batch are independent.
    """
    total = torch.zeros(POLICY.table.numel() + POLICY.weight.numel(), dtype=torch.float64)
    for s, sequence in enumerate(SEQUENCES):
        fields = TokenFields(
            torch.zeros(LENGTH, dtype=torch.int64), mu[s], mu[s], torch.zeros(LENGTH, dtype=torch.int64)
        )
        states = POLICY.states(sequence[None])[0]
        loss = weighted_nll(states, Head(POLICY.weight), sequence, fields, LossOptions(**options), 1.0).loss
        total += mu[s].sum().exp() * REWARD[s] * POLICY.gradient(loss)
    return total


def on_policy_gradient() -> Tensor:
    """Gradient of -E_{y ~ pi}[reward(y)], exact: what REINFORCE estimates without bias."""
    return POLICY.gradient(-(POLICY.log_probs().sum(1).exp() * REWARD).sum())


def test_every_sequence_is_listed():
    torch.testing.assert_close(MU.sum(1).exp().sum(), torch.tensor(1.0, dtype=torch.float64))
    assert not torch.allclose(MU, PI, atol=0.1)


def test_unclipped_sequence_weights_give_exactly_the_on_policy_gradient():
    found = expected_gradient(MU, level="sequence", clip="none")
    torch.testing.assert_close(found, on_policy_gradient(), rtol=1e-9, atol=1e-12)


def test_without_weights_the_gradient_is_that_of_the_behaviour_policy_s_data():
    found = expected_gradient(MU, preset="sft")
    expected = POLICY.gradient(-(MU.sum(1).exp() * REWARD * POLICY.log_probs().sum(1)).sum())
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(found, on_policy_gradient(), rtol=0.1)


def test_unclipped_token_weights_have_their_stated_bias_and_no_other():
    """E_mu[R sum_t w_t grad p_t]: the prefix and the rest are the behaviour's, only token t is the policy's.

    The sequence weight is w_t times the product of the other ratios; leaving that product out is the
    bias. Enumerated here from the definition, with nothing of the package.
    """
    found = expected_gradient(MU, level="token", clip="none")
    mixed = (MU.sum(1)[:, None] - MU + PI).exp()  # mu of the other tokens times pi of token t
    torch.testing.assert_close(
        found, POLICY.gradient(-(mixed * REWARD[:, None] * POLICY.log_probs()).sum()), rtol=1e-9, atol=1e-12
    )
    bias = found - on_policy_gradient()
    others = ((PI - MU).sum(1, keepdim=True) - (PI - MU)).exp()
    stated = POLICY.gradient((mixed * (others - 1) * REWARD[:, None] * POLICY.log_probs()).sum())
    torch.testing.assert_close(bias, stated, rtol=1e-9, atol=1e-12)
    assert bias.norm() > 0.05 * on_policy_gradient().norm()


@pytest.mark.parametrize("level", ["token", "sequence", "geometric"])
def test_on_its_own_samples_every_level_gives_the_on_policy_gradient(level):
    found = expected_gradient(PI, level=level, clip="none")
    torch.testing.assert_close(found, on_policy_gradient(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("clip_max", [1.0, 2.0, 8.0])
def test_truncation_biases_by_exactly_the_mass_it_cuts(clip_max):
    exact = on_policy_gradient()
    found = expected_gradient(MU, level="sequence", clip="truncate", clip_max=clip_max)
    ratio = (PI - MU).sum(1).exp()
    cut = MU.sum(1).exp() * (ratio - ratio.clamp(max=clip_max)) * REWARD
    torch.testing.assert_close(exact - found, POLICY.gradient(-(cut * POLICY.log_probs().sum(1)).sum()))
    assert cut.sum() > 0


CORRECT = (SEQUENCES.sum(1) % 3 == 0).double()  # what a verifier says of each sequence


def kept_gradient(**options) -> tuple[Tensor, float]:
    """Mean gradient over the responses that are kept, mu conditioned on correct; and the pass rate Z of mu."""
    law = MU.sum(1).exp() * CORRECT
    pass_rate = float(law.sum())
    total = torch.zeros(POLICY.table.numel() + POLICY.weight.numel(), dtype=torch.float64)
    for s, sequence in enumerate(SEQUENCES):
        if not CORRECT[s]:
            continue
        index = torch.zeros(LENGTH, dtype=torch.int64)
        fields = TokenFields(
            index, MU[s], MU[s], index, pass_rate=torch.full((LENGTH,), pass_rate, dtype=torch.float64)
        )
        states = POLICY.states(sequence[None])[0]
        loss = weighted_nll(states, Head(POLICY.weight), sequence, fields, LossOptions(**options), 1.0).loss
        total += law[s] / pass_rate * POLICY.gradient(loss)
    return total, pass_rate


def on_policy_gradient_of_correctness() -> Tensor:
    """Gradient of -P_{y ~ pi}(correct)."""
    return POLICY.gradient(-(POLICY.log_probs().sum(1).exp() * CORRECT).sum())


def test_on_kept_responses_the_gradient_is_the_on_policy_one_over_the_pass_rate():
    """Rewriting keeps a correct draw, so its law is mu(y) correct(y) / Z: rare successes count 1/Z times."""
    found, pass_rate = kept_gradient(level="sequence", clip="none")
    assert 0.1 < pass_rate < 0.9
    torch.testing.assert_close(found, on_policy_gradient_of_correctness() / pass_rate, rtol=1e-9, atol=1e-12)


def test_with_the_pass_rate_it_is_the_on_policy_gradient():
    found, _ = kept_gradient(level="sequence", clip="none", pass_rate=True)
    torch.testing.assert_close(found, on_policy_gradient_of_correctness(), rtol=1e-9, atol=1e-12)


def test_at_the_recorded_policy_that_is_the_gradient_of_log_pass_rate():
    """For pi = mu every weight is 1, and E[grad log pi | correct] = grad log Z."""
    total = torch.zeros(POLICY.table.numel() + POLICY.weight.numel(), dtype=torch.float64)
    law = PI.sum(1).exp() * CORRECT
    for s, sequence in enumerate(SEQUENCES):
        index = torch.zeros(LENGTH, dtype=torch.int64)
        fields = TokenFields(index, PI[s], PI[s], index)
        states = POLICY.states(sequence[None])[0]
        loss = weighted_nll(states, Head(POLICY.weight), sequence, fields, LossOptions(), 1.0).loss
        total += law[s] / law.sum() * POLICY.gradient(loss)
    log_rate = torch.log((POLICY.log_probs().sum(1).exp() * CORRECT).sum())
    torch.testing.assert_close(total, POLICY.gradient(-log_rate), rtol=1e-9, atol=1e-12)


def test_dft_on_its_own_samples_sharpens_the_policy():
    """E_pi[sg(pi) grad log pi] = grad sum pi^2 / 2 for a single token: the paper's preset is no correction."""
    logits = torch.randn(1, 5, dtype=torch.float64, requires_grad=True)
    identity, found = torch.eye(5, dtype=torch.float64), torch.zeros(1, 5, dtype=torch.float64)
    pi = logits.softmax(-1)
    for token in range(5):
        nothing = torch.full((1,), torch.nan)
        fields = TokenFields(torch.zeros(1, dtype=torch.int64), nothing, nothing, torch.zeros(1, dtype=torch.int64))
        loss = weighted_nll(logits, Head(identity), torch.tensor([token]), fields, LossOptions(preset="paper")).loss
        found += pi.detach()[0, token] * torch.autograd.grad(loss, logits)[0]
    torch.testing.assert_close(found, torch.autograd.grad(-(pi**2).sum() / 2, logits)[0])
