"""On real architectures and PEFT wrappers the loss with weight 1 trains as the model's own loss does."""

import pytest
import torch

from architectures import ARCHITECTURES, IDS, lora, tiny
from mindgap_data.policy.head import final_hidden_states, head_of
from mindgap_loss.loss import weighted_nll
from mindgap_loss.options import LossOptions
from mindgap_loss.weights import TokenFields


def losses_and_gradients(model):
    """The model's own loss, and ours with weight 1, with the gradients of every trained parameter."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    targets, nothing = IDS[:, 1:].flatten(), torch.full((12,), torch.nan)
    fields = TokenFields(torch.full((12,), 2), nothing, nothing, torch.zeros(12, dtype=torch.int64))
    theirs = model(input_ids=IDS, labels=IDS).loss
    expected = torch.autograd.grad(theirs, list(trained.values()), allow_unused=True)
    hidden = final_hidden_states(model, input_ids=IDS)[0][:, :-1].flatten(0, 1)
    options = LossOptions(preset="sft", chunk_tokens=5)
    ours = weighted_nll(hidden, head_of(model), targets, fields, options).loss
    found = torch.autograd.grad(ours, list(trained.values()), allow_unused=True)
    return theirs, ours, {name: (a, b) for name, a, b in zip(trained, expected, found, strict=True)}


def assert_same_training(model):
    theirs, ours, gradients = losses_and_gradients(model)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    for name, (expected, found) in gradients.items():
        if expected is None:
            assert found is None or not found.any(), name
        else:
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")
    return gradients


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_loss_and_gradients_are_the_model_s_own(architecture):
    model = tiny(architecture)
    assert_same_training(model)


PEFT = {
    "lora elsewhere, head frozen": {"target_modules": ["q_proj"]},
    "lora on the head": {"target_modules": ["q_proj", "lm_head"]},
    "rank-stabilised": {"target_modules": ["lm_head"], "use_rslora": True},
    "lora bias": {"target_modules": ["lm_head"], "lora_bias": True},
    "dropout, evaluated": {"target_modules": ["lm_head"], "lora_dropout": 0.5},
    "head trained whole": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "new tokens trained": {"target_modules": ["q_proj"], "trainable_token_indices": {"lm_head": [3, 7]}},
}


@pytest.mark.parametrize("settings", PEFT.values(), ids=PEFT)
@pytest.mark.parametrize("architecture", ["Llama", "Gemma2", "Cohere"])
def test_peft_wrapped(settings, architecture):
    if architecture == "Gemma2" and "trainable_token_indices" in settings:
        settings = {**settings, "trainable_token_indices": {"embed_tokens": [3, 7]}}
    model = lora(tiny(architecture, tie_word_embeddings=architecture == "Gemma2"), **settings)
    gradients = assert_same_training(model)
    on_head = [name for name in gradients if "lm_head" in name]
    expected = any("lm_head" in str(v) for v in settings.values())
    assert bool(on_head) == expected
    for name in on_head:
        assert gradients[name][1] is not None, name
        assert gradients[name][1].abs().sum() > 0, name
