"""What the loss must equal: SFT, DFT as TRL has it, transformers' own loss, itself however the batch is cut."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from transformers.loss.loss_utils import ForCausalLMLoss

from mindgap_loss.loss import weighted_nll
from mindgap_loss.options import LossOptions
from mindgap_loss.weights import TokenFields
from naive import Problem, problem

LEVELS = ("token", "sequence", "geometric")


def run(of: Problem, denominator=None, **options) -> tuple[Tensor, dict[str, Tensor]]:
    output = weighted_nll(of.hidden, of.head(), of.targets, of.fields, LossOptions(**options), denominator)
    output.loss.backward()
    return output.loss.detach(), of.gradients()


def assert_close(found, expected):
    torch.testing.assert_close(found[0], expected[0])
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, msg=lambda m, name=name: f"{name}: {m}")


def sft(of: Problem) -> tuple[Tensor, dict[str, Tensor]]:
    loss = nn.functional.cross_entropy(of.logits(), of.targets)
    loss.backward()
    return loss.detach(), of.gradients()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("clip", ["truncate", "mask", "none"])
def test_behaviour_equal_to_the_policy_gives_sft(level, clip):
    """At step 0 on the model's own responses every ratio is 1."""
    of = problem((5, 3, 4), (0, 1, 2))
    p = of.logits().log_softmax(-1)[torch.arange(12), of.targets].detach()
    of.fields = TokenFields(of.fields.tier, p, p, of.fields.sample)
    assert_close(run(of, level=level, clip=clip, expert_behavior="reference"), sft(of))


@pytest.mark.parametrize("tiers", [(0, 0, 0), (1, 1, 1), (2, 2, 2), (0, 1, 2)])
def test_preset_sft_gives_sft_on_every_tier(tiers):
    of = problem(tiers=tiers)
    assert_close(run(of, preset="sft"), sft(of))


def batch(dtype=torch.float32):
    """[2, 9] of labels with prompts and padding masked, hidden states of a head, and the trained positions."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 50, (2, 9), generator=generator)
    labels[0, :3] = labels[1, :5] = labels[1, 8:] = -100
    hidden = torch.randn(2, 9, 8, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(50, 8, generator=generator).to(dtype).requires_grad_()
    return labels, hidden, weight, labels[:, 1:] != -100


def ours(labels, hidden, weight, trained, denominator, **options):
    targets = labels[:, 1:][trained]
    count = len(targets)
    missing = torch.full((count,), torch.nan)
    fields = TokenFields(torch.zeros(count, dtype=torch.int8), missing, missing, torch.zeros(count, dtype=torch.int64))
    from mindgap_data.policy.head import Head

    return weighted_nll(hidden[:, :-1][trained], Head(weight), targets, fields, LossOptions(**options), denominator)


@pytest.mark.parametrize("items", [None, 10, 64])
def test_preset_paper_is_trl_s_dft_loss(items):
    from trl.trainer.sft_trainer import dft_loss

    labels, hidden, weight, trained = batch()
    theirs = dft_loss(SimpleNamespace(logits=hidden @ weight.T), labels.clone(), items)
    expected = torch.autograd.grad(theirs, (hidden, weight))
    found = ours(labels, hidden, weight, trained, items, preset="paper").loss
    torch.testing.assert_close(found, theirs)
    for a, b in zip(torch.autograd.grad(found, (hidden, weight)), expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("items", [None, 10, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_preset_sft_is_transformers_own_loss(items, dtype):
    labels, hidden, weight, trained = batch(dtype)
    theirs = ForCausalLMLoss(hidden @ weight.T, labels, 50, None if items is None else torch.tensor(items))
    expected = torch.autograd.grad(theirs, (hidden, weight))
    found = ours(labels, hidden, weight, trained, items, preset="sft").loss
    torch.testing.assert_close(found, theirs, rtol=1e-6, atol=0)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 0.02, "atol": 1e-3}
    for a, b in zip(torch.autograd.grad(found, (hidden, weight)), expected, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kl_coef", [0.0, 0.2])
def test_packed_is_unpacked_is_split_over_accumulation_steps(level, kl_coef):
    options = {"level": level, "expert_behavior": "reference", "kl_coef": kl_coef}
    of = problem((5, 3, 4, 6), (0, 1, 2, 0))
    packed = run(of, 18, **options)
    for parts in ([[0], [1], [2], [3]], [[0, 2], [1, 3]], [[0, 1, 2], [3]]):
        total = 0.0
        for part in parts:
            here = torch.isin(of.fields.sample, torch.tensor(part))
            output = weighted_nll(
                of.hidden[here], of.head(), of.targets[here], of.fields[here], LossOptions(**options), 18
            )
            output.loss.backward()
            total += output.loss.detach()
        assert_close((total, of.gradients()), packed)


def test_batch_normalisation_is_the_unnormalised_gradient_times_tokens_over_summed_weights():
    """What a trainer does with several micro-batches, against the plain form on one batch."""
    of = problem((5, 3, 4, 6), (0, 1, 2, 0))
    whole = run(of, normalize="batch", kl_coef=0.1)
    loss, weight_sum = 0.0, 0.0
    for part in range(4):
        here = of.fields.sample == part
        output = weighted_nll(
            of.hidden[here],
            of.head(),
            of.targets[here],
            of.fields[here],
            LossOptions(normalize="batch", kl_coef=0.1),
            18,
        )
        output.loss.backward()
        loss, weight_sum = loss + output.loss.detach(), weight_sum + output.weights.sum()
    factor = 18 / weight_sum
    assert_close((loss * factor, {name: g * factor for name, g in of.gradients().items()}), whole)


@pytest.mark.parametrize("preset", ["paper", "sft"])
def test_batch_normalisation_of_equal_weights_changes_nothing(preset):
    of = problem()
    of.hidden.data.zero_()  # every token equally likely, so every weight equal
    plain, normalised = run(of, preset=preset), run(of, preset=preset, normalize="batch")
    share = 1.0 if preset == "sft" else 1 / 11
    assert_close((plain[0] / share, {name: g / share for name, g in plain[1].items()}), normalised)


def test_the_kl_penalty_vanishes_at_the_recorded_policy():
    of = problem()
    p = of.logits().log_softmax(-1)[torch.arange(13), of.targets].detach()
    of.fields = TokenFields(of.fields.tier, p, p, of.fields.sample)
    assert_close(run(of, preset="sft", kl_coef=5.0), run(of, preset="sft"))


def test_the_kl_penalty_pulls_back_what_moved_away():
    """Alone (no weight on the NLL), it raises log-probs below the recorded policy's and lowers those above."""
    of = problem((12,), (0,))
    p = of.logits().log_softmax(-1)[torch.arange(12), of.targets].detach()
    moved = torch.where(torch.arange(12) % 2 == 0, 0.5, -0.5)
    of.fields = TokenFields(of.fields.tier, p, p + moved, of.fields.sample)
    options = LossOptions(preset="sft", tier_weights={"self": 0}, kl_coef=1.0)
    hidden = of.hidden.detach().requires_grad_()
    weighted_nll(hidden, of.head(), of.targets, of.fields, options).loss.backward()
    of.hidden.data = hidden.detach() - 0.05 * hidden.grad
    after = of.logits().log_softmax(-1)[torch.arange(12), of.targets].detach()
    assert ((after - p).sign() == moved.sign()).all()
