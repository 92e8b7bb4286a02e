"""Values and gradients of the chunked loss against autograd on the naive formula."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mindgap_data.policy.head import Adapter, Head
from mindgap_loss.loss import log_probs, weighted_nll
from mindgap_loss.options import LossOptions
from naive import naive_loss, naive_weights, problem

LEVELS = ("token", "sequence", "geometric")
CROSSED = [
    {"level": level, "clip": clip, "expert_behavior": expert, "normalize": normalize, "kl_coef": kl_coef}
    for level, clip, expert, normalize, kl_coef in itertools.product(
        LEVELS, ("truncate", "mask", "none"), ("dft", "unit", "reference", "logged"), ("none", "batch"), (0.0, 0.3)
    )
]
PRESETS = [
    {"preset": preset, "normalize": normalize, "kl_coef": kl_coef}
    for preset, normalize, kl_coef in itertools.product(
        ("paper", "sft", "iw-sft", "asft", "eaft"), ("none", "batch"), (0.0, 0.3)
    )
]
HEADS = {
    "frozen": {"trained": False},
    "trained": {"trained": True},
    "bias": {"head": "bias"},
    "lora": {"head": "lora", "trained": False},
    "lora-on-trained": {"head": "lora", "trained": True},
    "softcap": {"softcap": 1.5},
    "scaled": {"scale": 0.4},
    "softcap-scaled-lora": {"head": "lora", "scale": 1.7, "softcap": 2.0},
}


def assert_same(of, options, denominator=None, chunk_tokens=4, tolerance=1e-10):
    """Loss, weights and every gradient agree with the naive formula."""
    expected = naive_loss(of, options, denominator)
    expected.backward()
    expected_gradients = of.gradients()
    output = weighted_nll(
        of.hidden, of.head(), of.targets, of.fields, LossOptions(**options, chunk_tokens=chunk_tokens), denominator
    )
    output.loss.backward()
    gradients = of.gradients()
    torch.testing.assert_close(output.loss, expected, rtol=tolerance, atol=tolerance)
    for name, gradient in expected_gradients.items():
        if gradient is None:
            assert gradients[name] is None, name
        else:
            torch.testing.assert_close(
                gradients[name], gradient, rtol=tolerance, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}"
            )
    return output


@pytest.mark.parametrize("head", HEADS)
def test_gradients_of_all_options_crossed(head):
    of = problem(**HEADS[head])
    for options in (*CROSSED, *PRESETS):
        assert_same(of, options)


@given(
    samples=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2)), min_size=0, max_size=5),
    options=st.sampled_from(CROSSED + PRESETS),
    head=st.sampled_from(list(HEADS)),
    chunk_tokens=st.integers(1, 30),
    tier_weights=st.fixed_dictionaries({tier: st.floats(0.1, 3) for tier in ("self", "guided", "expert")}),
    clip_max=st.floats(1.01, 5),
    denominator=st.one_of(st.none(), st.floats(0.5, 100)),
    seed=st.integers(0, 1000),
)
@settings(max_examples=150, deadline=None)
def test_ragged_packed_batches(samples, options, head, chunk_tokens, tier_weights, clip_max, denominator, seed):
    lengths, tiers = zip(*samples, strict=True) if samples else ((), ())
    options = {**options, "tier_weights": tier_weights}
    if options.get("clip") in ("truncate", "mask"):
        options["clip_max"] = clip_max
    assert_same(problem(lengths, tiers, seed=seed, **HEADS[head]), options, denominator, chunk_tokens)


def test_samples_need_not_be_contiguous():
    of = problem((4, 5, 3))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    shuffled = problem((4, 5, 3))
    shuffled.hidden = of.hidden.detach()[order].requires_grad_()
    shuffled.targets, shuffled.fields = of.targets[order], of.fields[order]
    for level in LEVELS:
        a = assert_same(of, {"level": level, "expert_behavior": "reference"})
        b = assert_same(shuffled, {"level": level, "expert_behavior": "reference"})
        torch.testing.assert_close(a.weights[order], b.weights)


@pytest.mark.parametrize("options", [{}, {"preset": "paper"}, {"level": "sequence"}, {"normalize": "batch"}])
@pytest.mark.parametrize("head", ["frozen", "trained", "lora-on-trained", "bias"])
def test_no_trained_token_gives_a_zero_with_zero_gradients(options, head):
    of = problem((), (), **HEADS[head])
    output = weighted_nll(of.hidden, of.head(), of.targets, of.fields, LossOptions(**options))
    output.loss.backward()
    assert output.loss.item() == 0
    assert output.weights.shape == (0,)
    for name, gradient in of.gradients().items():
        if head != "frozen" or name == "hidden":
            assert gradient is not None, f"{name} is not connected"
            assert not gradient.any()


def test_weights_all_masked_with_batch_normalisation_give_zero_not_nan():
    of = problem((6,), (0,))
    output = weighted_nll(
        of.hidden, of.head(), of.targets, of.fields, LossOptions(clip="mask", clip_max=1.0, normalize="batch")
    )
    output.loss.backward()
    assert output.weights.sum() == 0
    assert output.loss.item() == 0
    assert not of.hidden.grad.any()


def test_what_comes_back_is_detached_and_by_the_formula():
    of = problem()
    output = weighted_nll(of.hidden, of.head(), of.targets, of.fields, LossOptions(level="geometric"))
    p = of.logits().log_softmax(-1)[torch.arange(13), of.targets].detach()
    torch.testing.assert_close(output.log_probs, p)
    assert output.weights.tolist() == pytest.approx(naive_weights(p.tolist(), of.fields, {"level": "geometric"}))
    assert not any(x.requires_grad for x in (output.log_probs, output.log_weights, output.weights))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("chunk_tokens", [1, 5, 1000])
def test_log_probs_without_gradient_are_the_loss_s(head, chunk_tokens):
    of = problem(**HEADS[head])
    found = log_probs(of.hidden, of.head(), of.targets, chunk_tokens)
    torch.testing.assert_close(found, of.logits().log_softmax(-1)[torch.arange(13), of.targets].detach())
    assert not found.requires_grad
    with torch.no_grad():
        output = weighted_nll(of.hidden, of.head(), of.targets, of.fields, LossOptions())
    torch.testing.assert_close(output.log_probs, found)
    assert not output.loss.requires_grad


def test_log_probs_of_no_token():
    of = problem((), ())
    assert log_probs(of.hidden, of.head(), of.targets).shape == (0,)


def test_a_frozen_model_under_a_trained_head():
    of = problem()
    of.hidden.requires_grad_(False)
    output = weighted_nll(of.hidden, of.head(), of.targets, of.fields, LossOptions(chunk_tokens=4))
    output.loss.backward()
    found = of.gradients()
    naive_loss(of, {}).backward()
    torch.testing.assert_close(found["weight"], of.weight.grad)
    assert found["hidden"] is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("head", ["frozen", "trained", "softcap-scaled-lora"])
def test_low_precision_models_get_float32_log_probs_and_weights(dtype, level, head):
    of = problem((40, 30, 50), hidden=32, vocabulary=300, dtype=dtype, **HEADS[head])
    of.hidden.data /= 8
    exact = problem((40, 30, 50), hidden=32, vocabulary=300, **HEADS[head])
    for name, tensor in exact.leaves().items():
        tensor.data.copy_(of.leaves()[name])
    of.fields = exact.fields = type(of.fields)(
        of.fields.tier, of.fields.behavior - 4, of.fields.policy - 4, of.fields.sample
    )
    options = LossOptions(level=level, expert_behavior="reference", clip="none", chunk_tokens=32)
    output = weighted_nll(of.hidden, of.head(), of.targets, of.fields, options)
    expected = weighted_nll(exact.hidden, exact.head(), exact.targets, exact.fields, options)
    assert {output.loss.dtype, output.log_probs.dtype, output.log_weights.dtype, output.weights.dtype} == {
        torch.float32
    }
    rounding = torch.finfo(dtype).eps
    torch.testing.assert_close(output.log_probs.double(), expected.log_probs, rtol=0, atol=10 * rounding + 1e-5)
    if level == "sequence":  # a product of 50 ratios is as uncertain as its log
        return
    output.loss.backward()
    expected.loss.backward()
    for (name, low), high in zip(of.gradients().items(), exact.gradients().values(), strict=True):
        if high is not None:
            assert low.dtype == dtype
            assert (low.double() - high).norm() <= 6 * rounding * high.norm() + 1e-12, name


def test_small_log_ratios_survive_bfloat16():
    """A ratio computed in bfloat16 would see steps of 0.03 at log-prob -6; float32 sees what the logits say."""
    of = problem((200,), (0,), hidden=32, vocabulary=300, dtype=torch.bfloat16, trained=False)
    of.hidden.data /= 8
    output = weighted_nll(of.hidden, of.head(), of.targets, of.fields, LossOptions())
    in_bfloat16 = output.log_probs.to(torch.bfloat16).float()
    assert (output.log_probs - in_bfloat16).abs().max() > 5e-3
    expected = (of.hidden @ of.weight.T).float().log_softmax(-1).gather(1, of.targets[:, None])[:, 0]
    torch.testing.assert_close(output.log_probs, expected, rtol=0, atol=1e-5)


def test_autocast_multiplies_in_its_dtype_and_returns_gradients_in_the_parameters():
    of = problem((20, 20, 20), hidden=32, vocabulary=100, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        output = weighted_nll(of.hidden, of.head(), of.targets, of.fields, LossOptions())
        z = torch.nn.functional.linear(of.hidden, of.weight)
    assert z.dtype == torch.bfloat16
    torch.testing.assert_close(
        output.log_probs, z.float().log_softmax(-1).gather(1, of.targets[:, None])[:, 0].detach()
    )
    output.loss.backward()
    found = of.gradients()
    weighted_nll(of.hidden, of.head(), of.targets, of.fields, LossOptions()).loss.backward()
    for name, gradient in of.gradients().items():
        assert found[name].dtype == torch.float32
        assert (found[name] - gradient).norm() <= 0.05 * gradient.norm(), name


def test_a_float32_head_on_bfloat16_states():
    of = problem(dtype=torch.float32)
    hidden = of.hidden.detach().bfloat16().requires_grad_()
    output = weighted_nll(hidden, of.head(), of.targets, of.fields, LossOptions())
    output.loss.backward()
    assert hidden.grad.dtype == torch.bfloat16
    torch.testing.assert_close(
        output.log_probs, log_probs(hidden.detach().float(), of.head(), of.targets), rtol=0, atol=1e-6
    )


def test_lora_dropout_acts_on_its_own_path_only():
    torch.manual_seed(0)
    of = problem(head="lora", trained=False)
    head = of.head()
    dropped = Head(head.weight, adapters=(Adapter(of.down, of.up, 1.5, nn.Dropout(0.5)),))
    state = torch.get_rng_state()
    output = weighted_nll(of.hidden, dropped, of.targets, of.fields, LossOptions(preset="sft"))
    output.loss.backward()
    found = of.gradients()
    torch.set_rng_state(state)
    z = of.hidden @ of.weight.T + 1.5 * (nn.functional.dropout(of.hidden, 0.5) @ of.down.T @ of.up.T)
    nn.functional.cross_entropy(z, of.targets).backward()
    for name, gradient in of.gradients().items():
        if gradient is not None:
            torch.testing.assert_close(found[name], gradient)


def test_several_adapters_with_a_bias_add_up():
    of = problem(head="lora")
    down, up, bias = (x.detach().clone().requires_grad_() for x in (of.down * 0.5, of.up + 0.1, of.weight[:, 0]))
    adapters = (
        Adapter(of.down, of.up, 1.5, nn.Identity()),
        Adapter(down, up, 0.5, nn.Identity(), bias),
    )
    leaves = [*of.leaves().values(), down, up, bias]
    loss = weighted_nll(of.hidden, Head(of.weight, adapters=adapters), of.targets, of.fields, LossOptions(preset="sft"))
    found = torch.autograd.grad(loss.loss, leaves)
    z = of.hidden @ (of.weight + 1.5 * of.up @ of.down + 0.5 * up @ down).T + 0.5 * bias
    expected = torch.autograd.grad(nn.functional.cross_entropy(z, of.targets), leaves)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_tied_embeddings_sum_both_uses():
    torch.manual_seed(0)
    embedding = torch.randn(11, 6, dtype=torch.float64, requires_grad=True)
    ids, of = torch.randint(0, 11, (13,)), problem()

    def hidden():
        return torch.tanh(nn.functional.embedding(ids, embedding))

    weighted_nll(hidden(), Head(embedding), of.targets, of.fields, LossOptions(preset="sft")).loss.backward()
    found, embedding.grad = embedding.grad, None
    nn.functional.cross_entropy(hidden() @ embedding.T, of.targets).backward()
    torch.testing.assert_close(found, embedding.grad)


def test_upstream_factors_scale_the_gradient():
    of = problem()
    (weighted_nll(of.hidden, of.head(), of.targets, of.fields, LossOptions()).loss * 3).backward()
    found = of.gradients()
    (naive_loss(of, {}) * 3).backward()
    for name, gradient in of.gradients().items():
        torch.testing.assert_close(found[name], gradient)


def test_a_second_backward_is_an_error_not_a_wrong_gradient():
    of = problem()
    loss = weighted_nll(of.hidden, of.head(), of.targets, of.fields, LossOptions()).loss
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError) as caught:
        loss.backward()
    assert str(caught.value) == "the loss was already backpropagated: its gradients are formed once and scaled in place"


@pytest.mark.parametrize(
    ("trained", "level", "passes"), [(False, "sequence", 1), (True, "token", 1), (True, "sequence", 2)]
)
def test_number_of_passes_over_the_vocabulary(monkeypatch, trained, level, passes):
    from mindgap_loss.chunks import ChunkedLogits

    of, seen = problem(trained=trained), []
    plain = ChunkedLogits._logits
    monkeypatch.setattr(ChunkedLogits, "_logits", lambda self, rows: (seen.append(rows), plain(self, rows))[1])
    weighted_nll(of.hidden, of.head(), of.targets, of.fields, LossOptions(level=level, chunk_tokens=5)).loss.backward()
    assert len(seen) == 3 * passes


def test_logits_are_never_held_for_more_than_a_chunk():
    """Every allocation is watched: none has room for the logits of two chunks."""
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            for x in out if isinstance(out, (tuple, list)) else [out]:
                if isinstance(x, torch.Tensor):
                    sizes.append(x.numel())
            return out

    of = problem((60, 60), (0, 2), hidden=4, vocabulary=500)
    with Watch():
        weighted_nll(of.hidden, of.head(), of.targets, of.fields, LossOptions(chunk_tokens=10)).loss.backward()
        log_probs(of.hidden, of.head(), of.targets, 10)
    assert max(sizes) == 10 * 500


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_inside_a_compiled_model_the_loss_stays_as_it_is(level):
    of, options = problem(head="lora"), LossOptions(level=level, chunk_tokens=4)

    def step(hidden):
        return weighted_nll(torch.tanh(hidden), of.head(), of.targets, of.fields, options).loss * 2

    step(of.hidden).backward()
    expected = of.gradients()
    torch.compile(step, backend="eager")(of.hidden).backward()
    for name, gradient in of.gradients().items():
        torch.testing.assert_close(gradient, expected[name])
