"""The head found on real architectures and PEFT wrappers gives the model's own logits; what it cannot is refused."""

import pytest
import torch
from peft import IA3Config, LoraConfig, get_peft_model
from torch import nn

from architectures import ARCHITECTURES, IDS, lora, tiny
from mindgap_data.errors import UserError
from mindgap_data.policy.head import check_head, final_hidden_states, head_of


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_are_the_model_s_own(architecture):
    model = tiny(architecture)
    with torch.no_grad():
        hidden, last = final_hidden_states(model, input_ids=IDS)
        own = model(input_ids=IDS).logits
    torch.testing.assert_close(head_of(model).logits(hidden[0]), own[0])
    torch.testing.assert_close(last, own[:, -1])
    check_head(model, head_of(model), hidden[0], own[0])


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
    hidden, logits = final_hidden_states(model, input_ids=IDS)
    assert hidden.shape == (2, 7, 32)
    assert logits.shape == (2, 60)
    assert widths == [1]


def test_lora_switched_off_or_merged_is_the_plain_head():
    model = lora(tiny("Llama"), target_modules=["lm_head"])
    with_lora = head_of(model).logits(torch.ones(1, 32))
    with model.disable_adapter():
        head = head_of(model)
        assert head.adapters == ()
        assert not torch.allclose(head.logits(torch.ones(1, 32)), with_lora)
    model.base_model.merge_adapter()
    head = head_of(model)
    assert head.adapters == ()
    torch.testing.assert_close(head.logits(torch.ones(1, 32)), with_lora)


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("architecture", ["Llama", "Gemma2", "Granite", "Cohere"])
def test_rounding_of_the_models_own_dtype_is_no_difference(architecture, dtype):
    """bfloat16 logits of size 100 and more are half a nat apart from one to the next."""
    model = tiny(architecture, tie_word_embeddings=False).to(dtype)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(10)
        hidden, last = final_hidden_states(model, input_ids=IDS)
    check_head(model, head_of(model), hidden[:, -1], last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("factor", [0.9, 1.1, float("nan")])
def test_a_head_that_gives_other_logits_is_refused_by_name(factor, dtype):
    model = tiny("Llama").to(dtype)
    with torch.no_grad():
        hidden, last = final_hidden_states(model, input_ids=IDS)
    difference = float((last.float() * factor - last.float()).abs().max())
    text = message(lambda: check_head(model, head_of(model), hidden[:, -1], last * factor))
    assert text.startswith("LlamaForCausalLM does more between its hidden states and its logits than mindgap knows (")
    assert text.endswith("); this architecture is not supported")
    assert f"logits differ by {difference:.1g}"[:-1] in text
