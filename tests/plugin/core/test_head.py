"""The head found on real architectures and PEFT wrappers gives the model's own logits, loss and gradients."""

import copy

import pytest
import torch
import transformers
from peft import IA3Config, LoraConfig, get_peft_model
from torch import nn

from mindgap_axolotl.head import Head, final_hidden_states, gathered, head_of, plain_logits
from mindgap_axolotl.loss import weighted_nll
from mindgap_axolotl.options import LossOptions
from mindgap_axolotl.weights import TokenFields
from mindgap_data.errors import UserError

SMALL = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}
# Architecture -> what its head adds, exaggerated so that leaving it out shows.
ARCHITECTURES = {
    "Llama": {},
    "Llama tied": {"tie_word_embeddings": True},
    "Qwen2": {},
    "Qwen3": {},
    "Mistral": {},
    "Phi": {},  # a bias on lm_head
    "Gemma": {"tie_word_embeddings": True},
    "Gemma2": {"final_logit_softcapping": 0.8, "tie_word_embeddings": True},
    "VaultGemma": {"final_logit_softcapping": 0.8},
    "Gemma3 text": {"final_logit_softcapping": 0.8},
    "NanoChat": {"final_logit_softcapping": 0.8},
    "Granite": {"logits_scaling": 0.2},
    "GraniteMoe": {"logits_scaling": 0.2, "num_local_experts": 2, "num_experts_per_tok": 1},
    "Cohere": {"logit_scale": 4.0},
    "Cohere2": {"logit_scale": 4.0},
    "HyperCLOVAX": {"logits_scaling": 4.0},
    "Mpt": {"logit_scale": 3.0},  # a field its forward does not read
    "GPT2": {"tie_word_embeddings": True},
}


def tiny(architecture: str, **more):
    name = architecture.split()[0]
    config_name = {"Gemma3": "Gemma3TextConfig"}.get(name, f"{name}Config")
    settings = {**SMALL, **ARCHITECTURES.get(architecture, {}), **more}
    renamed = {
        "GPT2": {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"},
        "Mpt": {"hidden_size": "d_model", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"},
    }.get(name, {})
    if renamed:
        settings = {renamed.get(k, k): v for k, v in settings.items() if k not in ("head_dim", "intermediate_size")}
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, config_name)(**settings)).eval()
    with torch.no_grad():
        head = model.get_output_embeddings()
        head.weight.normal_()
        if getattr(head, "bias", None) is not None:
            head.bias.normal_()
    return model


IDS = torch.randint(1, 60, (2, 7), generator=torch.Generator().manual_seed(0))


def losses_and_gradients(model):
    """The model's own loss, and ours with weight 1, with the gradients of every trained parameter."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    targets, nothing = IDS[:, 1:].flatten(), torch.full((12,), torch.nan)
    fields = TokenFields(torch.full((12,), 2), nothing, nothing, torch.zeros(12, dtype=torch.int64))
    theirs = model(input_ids=IDS, labels=IDS).loss
    expected = torch.autograd.grad(theirs, list(trained.values()), allow_unused=True)
    hidden = final_hidden_states(model, input_ids=IDS)[:, :-1].flatten(0, 1)
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
    with torch.no_grad():
        hidden = final_hidden_states(model, input_ids=IDS)
        torch.testing.assert_close(plain_logits(head_of(model), hidden[0]), model(input_ids=IDS).logits[0])
    assert_same_training(model)


@pytest.mark.parametrize(
    ("architecture", "scale", "softcap"),
    [("Gemma2", 1.0, 0.8), ("Granite", 5.0, None), ("Cohere", 4.0, None), ("Mpt", 1.0, None), ("Llama", 1.0, None)],
)
def test_transform_of_the_logits(architecture, scale, softcap):
    head = head_of(tiny(architecture))
    assert (head.scale, head.softcap) == (scale, softcap)


def test_hidden_states_come_without_logits_of_every_position():
    model, widths = tiny("Llama"), []
    model.lm_head.register_forward_hook(lambda module, args, output: widths.append(output.shape[1]))
    assert final_hidden_states(model, input_ids=IDS).shape == (2, 7, 32)
    assert widths == [1]


def lora(model, **settings):
    wrapped = get_peft_model(model, LoraConfig(r=2, lora_alpha=6, **settings))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    return wrapped.eval()


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


def test_lora_switched_off_or_merged_is_the_plain_head():
    model = lora(tiny("Llama"), target_modules=["lm_head"])
    with_lora = plain_logits(head_of(model), torch.ones(1, 32))
    with model.disable_adapter():
        head = head_of(model)
        assert head.adapters == ()
        assert not torch.allclose(plain_logits(head, torch.ones(1, 32)), with_lora)
    model.base_model.merge_adapter()
    head = head_of(model)
    assert head.adapters == ()
    torch.testing.assert_close(plain_logits(head, torch.ones(1, 32)), with_lora)


def test_only_the_active_adapter_counts():
    model = lora(tiny("Llama"), target_modules=["lm_head"])
    model.add_adapter("other", LoraConfig(r=3, target_modules=["lm_head"]))
    assert [a.down.shape[0] for a in head_of(model).adapters] == [2]
    model.set_adapter("other")
    assert [a.down.shape[0] for a in head_of(model).adapters] == [3]


def test_wrappers_are_looked_through():
    model = tiny("Llama")
    plain = head_of(model).weight
    assert head_of(nn.DataParallel(model)).weight is plain
    assert head_of(torch.compile(model)).weight is plain
    assert head_of(nn.DataParallel(lora(model, target_modules=["q_proj"]))).weight is plain


# What is refused, by full text


def message(run) -> str:
    with pytest.raises(UserError) as caught:
        run()
    return caught.value.message


def test_dora_on_the_head_is_refused():
    model = lora(tiny("Llama"), target_modules=["lm_head"], use_dora=True)
    assert message(lambda: head_of(model)) == (
        "DoRA and other LoRA variants on lm_head are not supported; use plain LoRA there"
    )


def test_another_kind_of_adapter_on_the_head_is_refused():
    model = get_peft_model(
        tiny("Llama"), IA3Config(target_modules=["lm_head"], feedforward_modules=[], task_type="CAUSAL_LM")
    )
    assert message(lambda: head_of(model)) == (
        "peft.tuners.ia3.layer.Linear on lm_head is not supported; use LoRA, or leave lm_head out"
    )


def test_a_model_without_a_head_is_refused():
    model = tiny("Llama").model
    assert message(lambda: head_of(model)) == ("LlamaModel has no output head (lm_head); train a causal language model")


def test_a_quantised_head_is_refused():
    import bitsandbytes

    model = tiny("Llama")
    quantised = bitsandbytes.nn.Linear4bit(32, 60, bias=False)
    quantised.load_state_dict({"weight": model.lm_head.weight.data})
    model.lm_head = quantised.to("cpu")
    assert message(lambda: head_of(model)) == (
        "the output head's weight is a Params4bit of torch.uint8, shape (960, 1): quantised and FSDP1-flattened heads "
        "are not supported; exclude lm_head from quantisation (llm_int8_skip_modules: [lm_head]), use FSDP2"
    )


def test_a_trained_head_under_zero3_is_refused():
    weight = nn.Parameter(torch.zeros(3, 2))
    weight.ds_id = 0  # DeepSpeed's mark of a partitioned parameter

    def run():
        with gathered(Head(weight)):
            pass

    assert message(run) == (
        "a trained output head (full fine-tuning, LoRA or modules_to_save on lm_head) does not work under DeepSpeed "
        "ZeRO-3; freeze the head, or use FSDP2 or ZeRO-2"
    )


def test_gathering_whole_tensors_changes_nothing():
    head = head_of(copy.deepcopy(lora(tiny("Phi"), target_modules=["lm_head"])))
    with gathered(head) as full:
        assert all(a is b for a, b in zip(head.tensors(), full.tensors(), strict=True))
