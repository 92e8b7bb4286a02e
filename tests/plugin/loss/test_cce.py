"""Cut Cross-Entropy gives mindgap's own numbers; run on the implementation its package has for CPUs."""

import dataclasses
from importlib.util import find_spec

import pytest
import torch

from mindgap_data.errors import UserError
from mindgap_loss import cce
from mindgap_loss.loss import weighted_nll
from mindgap_loss.options import LossOptions
from naive import naive_loss, problem

needs_package = pytest.mark.skipif(
    find_spec("cut_cross_entropy") is None, reason="the package cut_cross_entropy is not installed"
)
HEADS = {"frozen": {"trained": False}, "trained": {"trained": True}, "softcap": {"softcap": 1.5}}
OPTIONS = [
    {},
    {"level": "sequence", "clip": "none"},
    {"level": "geometric", "expert_behavior": "reference", "normalize": "batch"},
    {"kl_coef": 0.3},
    {"preset": "asft"},
    {"preset": "iw-sft", "tier_weights": {"expert": 0.5}},
    {"preset": "sft"},
]


@pytest.fixture(autouse=True)
def _eager():
    """The package compiles its CPU implementation, which takes a minute and a C++ compiler."""
    torch.compiler.set_stance("force_eager")
    yield
    torch.compiler.set_stance("default")


@needs_package
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("options", OPTIONS)
def test_values_and_gradients_are_the_formula_s(head, options):
    of, exact = problem(dtype=torch.float32, **HEADS[head]), problem(**HEADS[head])
    for name, tensor in exact.leaves().items():
        tensor.data.copy_(of.leaves()[name])
    expected = naive_loss(exact, options)
    expected.backward()
    output = weighted_nll(of.hidden, of.head(), of.targets, of.fields, LossOptions(**options, kernel="cce"))
    output.loss.backward()
    torch.testing.assert_close(output.loss.double(), expected, rtol=1e-5, atol=1e-6)
    for (name, found), wanted in zip(of.gradients().items(), exact.gradients().values(), strict=True):
        if wanted is None:
            assert found is None, name
        else:
            torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-6)


@needs_package
@pytest.mark.parametrize("level", ["token", "sequence", "geometric"])
@pytest.mark.parametrize("head", HEADS)
def test_a_bfloat16_model_gets_the_same_from_both_kernels(head, level):
    of = problem((40, 30, 50), hidden=32, vocabulary=300, dtype=torch.bfloat16, **HEADS[head])
    of.hidden.data /= 8
    fields = dataclasses.replace(of.fields, behavior=of.fields.behavior - 4, policy=of.fields.policy - 4)
    found = {}
    for kernel in ("torch", "cce"):
        output = weighted_nll(of.hidden, of.head(), of.targets, fields, LossOptions(level=level, kernel=kernel))
        output.loss.backward()
        found[kernel] = output, of.gradients()
    (ours, our_gradients), (theirs, their_gradients) = found.values()
    assert theirs.log_probs.dtype == theirs.weights.dtype == torch.float32
    # CCE's CPU implementation rounds soft-capped logits to bfloat16 once more.
    torch.testing.assert_close(theirs.log_probs, ours.log_probs, rtol=0, atol=0.02 if head == "softcap" else 1e-5)
    if level == "sequence" and head == "softcap":
        return
    for name, gradient in their_gradients.items():
        if gradient is not None:
            assert gradient.dtype == torch.bfloat16
            difference = (gradient.double() - our_gradients[name].double()).norm()
            assert difference <= 0.02 * our_gradients[name].double().norm(), name


@needs_package
def test_under_autocast_it_multiplies_in_autocast_s_dtype():
    of, found = problem((20, 20, 20), hidden=32, vocabulary=100, dtype=torch.float32), []
    for kernel in ("torch", "cce"):
        with torch.autocast("cpu", torch.bfloat16):
            output = weighted_nll(of.hidden, of.head(), of.targets, of.fields, LossOptions(kernel=kernel))
        output.loss.backward()
        found.append((output.log_probs, of.gradients()))
    (ours, our_gradients), (theirs, their_gradients) = found
    torch.testing.assert_close(theirs, ours)
    for name, gradient in their_gradients.items():
        assert gradient.dtype == torch.float32
        assert (gradient - our_gradients[name]).norm() <= 0.02 * our_gradients[name].norm(), name


@needs_package
def test_a_batch_without_trained_token_and_one_without_gradient():
    empty = problem((), ())
    output = weighted_nll(empty.hidden, empty.head(), empty.targets, empty.fields, LossOptions(kernel="cce"))
    output.loss.backward()
    assert output.loss.item() == 0
    assert empty.hidden.grad is not None
    of = problem(dtype=torch.float32)
    with torch.no_grad():
        output = weighted_nll(of.hidden, of.head(), of.targets, of.fields, LossOptions(kernel="cce"))
    assert not output.loss.requires_grad


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (
            {"head": "lora"},
            "kernel: cce cannot train an adapter on lm_head; use kernel: torch, or take lm_head out of "
            "lora_target_modules",
        ),
        (
            {"scale": 0.0625},
            "kernel: cce cannot scale logits, and this model's are scaled by 0.0625; use kernel: torch",
        ),
    ],
)
def test_heads_that_it_cannot_compute(head, message, monkeypatch):
    monkeypatch.setattr(cce, "check_installed", lambda: None)
    of = problem(**head)
    with pytest.raises(UserError) as error:
        weighted_nll(of.hidden, of.head(), of.targets, of.fields, LossOptions(kernel="cce"))
    assert error.value.message == message


def test_a_head_parted_by_zero_3():
    of = problem()
    of.weight.ds_id = 1
    with pytest.raises(UserError) as error:
        cce.check_supported(of.head())
    assert error.value.message == (
        "kernel: cce does not work under DeepSpeed ZeRO-3, which has parted the head again by the backward pass; use "
        "kernel: torch"
    )


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(cce, "find_spec", lambda name: None)
    of = problem()
    with pytest.raises(UserError) as error:
        weighted_nll(of.hidden, of.head(), of.targets, of.fields, LossOptions(kernel="cce"))
    assert error.value.message == (
        "kernel: cce needs the package cut_cross_entropy; use kernel: torch, or run: pip uninstall -y "
        "cut-cross-entropy && pip install 'cut-cross-entropy[transformers] @ "
        "git+https://github.com/axolotl-ai-cloud/ml-cross-entropy.git@v0.1.1'"
    )


def test_auto_is_torch(monkeypatch):
    monkeypatch.setattr(cce, "log_probs", lambda *_: pytest.fail("auto took cce"))
    of = problem()
    for kernel in ("auto", "torch"):
        weighted_nll(of.hidden, of.head(), of.targets, of.fields, LossOptions(kernel=kernel))
