"""Presets of others against their sources: ASFT (arXiv 2509.23753) and EAFT (arXiv 2601.02151), in float64."""

import math
from types import SimpleNamespace

import pytest
import torch

from mindgap_data.policy.head import Head
from mindgap_loss.loss import weighted_nll
from mindgap_loss.options import LossOptions
from mindgap_loss.weights import TokenFields
from naive import problem

VOCABULARY = 30


def test_asft_on_the_base_models_own_tokens_has_the_gradient_of_dft_plus_the_exact_divergence():
    """The authors sum KL(base || model) over the vocabulary with a second model; one recorded token estimates it.

    Every token of the vocabulary, weighed by the base model's probability of drawing it.
    """
    generator = torch.Generator().manual_seed(0)
    base, logits = torch.randn(2, 1, VOCABULARY, generator=generator, dtype=torch.float64).unbind()
    logits.requires_grad_()
    log_base = base.log_softmax(-1)
    found = torch.zeros_like(logits)
    for token in range(VOCABULARY):
        recorded = log_base[:, token]
        fields = TokenFields(torch.zeros(1, dtype=torch.int64), recorded, recorded, torch.zeros(1, dtype=torch.int64))
        head = Head(torch.eye(VOCABULARY, dtype=torch.float64))
        loss = weighted_nll(logits, head, torch.tensor([token]), fields, LossOptions(preset="asft", kl_coef=0.7)).loss
        found += recorded.exp() * torch.autograd.grad(loss, logits)[0]
    log_probs = logits.log_softmax(-1)
    dft = -(log_base.exp() * log_probs.detach().exp() * log_probs).sum()
    divergence = (log_base.exp() * (log_base - log_probs)).sum()
    expected = torch.autograd.grad(dft + 0.7 * divergence, logits)[0]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("chunk_tokens", [3, 100])
def test_eaft_is_axolotls_over_log_20(chunk_tokens):
    """Axolotl and LLaMA-Factory leave the entropy of the 20 likeliest in nats; the paper divides it by log 20."""
    eaft = pytest.importorskip("axolotl.monkeypatch.loss.eaft", reason="Axolotl is not installed")
    of = problem((6, 7), (0, 2), vocabulary=60)
    labels = torch.cat([torch.zeros(1, dtype=torch.int64), of.targets])[None]
    logits = torch.cat([of.logits(), of.logits()[:1]])[None]
    theirs = eaft.eaft_loss(SimpleNamespace(logits=logits), labels) / math.log(20)
    expected = torch.autograd.grad(theirs, (of.hidden, of.weight))
    output = weighted_nll(
        of.hidden, of.head(), of.targets, of.fields, LossOptions(preset="eaft", chunk_tokens=chunk_tokens)
    )
    found = torch.autograd.grad(output.loss, (of.hidden, of.weight))
    torch.testing.assert_close(output.loss, theirs, rtol=1e-6, atol=1e-9)  # theirs takes the entropy in float32
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_eaft_leaves_a_confident_conflict_alone():
    """A token the model is sure of otherwise: SFT's gradient is largest there, EAFT's vanishes."""
    logits = torch.zeros(2, VOCABULARY, dtype=torch.float64)
    logits[0, 1] = 30.0
    logits.requires_grad_()
    nothing = torch.full((2,), math.nan)
    fields = TokenFields(torch.full((2,), 2), nothing, nothing, torch.zeros(2, dtype=torch.int64))
    head = Head(torch.eye(VOCABULARY, dtype=torch.float64))
    output = weighted_nll(logits, head, torch.zeros(2, dtype=torch.int64), fields, LossOptions(preset="eaft"))
    (gradient,) = torch.autograd.grad(output.loss, logits)
    assert output.weights[1] == pytest.approx(1.0)
    assert output.weights[0] < 1e-9
    assert gradient[0].norm() < 1e-9 * gradient[1].norm()
