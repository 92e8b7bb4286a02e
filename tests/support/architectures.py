"""Tiny models of many architectures, with heads that do something, and LoRA on them."""

import torch
import transformers
from peft import LoraConfig, get_peft_model

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


def lora(model, **settings):
    wrapped = get_peft_model(model, LoraConfig(r=2, lora_alpha=6, **settings))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    return wrapped.eval()
