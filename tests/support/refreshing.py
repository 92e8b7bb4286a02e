"""A training run without a trainer: its problems, its claim to a shared folder, and adapters of its steps."""

from pathlib import Path
from typing import Any

from mindgap_data.policy.models import ModelSpec, load_tokenizer
from mindgap_data.refresh.folder import RefreshFolder, TrainingRun
from rewritten import write_rows

VERIFIED = ["--verifier", "verdicts:by_length", "--max-tokens", "24", "--samples", "2", "--batch-size", "4"]


def write_problems(path: Path, count: int = 8) -> Path:
    rows = [{"id": f"p{n}", "problem": f"{n} + {n}?", "solution": f"\\boxed{{{2 * n}}}"} for n in range(count)]
    return write_rows(path, rows)


def run_of(model: Path, count: int = 8, **changes: Any) -> TrainingRun:
    tokenizer = load_tokenizer(ModelSpec(str(model)))
    fields = {
        "base_model": str(model),
        "tokenizer": tokenizer.fingerprint,
        "chat_template": tokenizer.template,
        "sequence_len": 512,
        "data": "sha256:data",
        "rows": tuple(f"p{n}" for n in range(count)),
    }
    return TrainingRun.model_validate({**fields, **changes})


def save_adapter(model: Path, folder: Path, seed: int, **changes: Any) -> None:
    """A LoRA adapter of random weights, as PEFT saves it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    options = {"r": 4, "target_modules": ["q_proj", "v_proj", "down_proj"], "init_lora_weights": False, **changes}
    get_peft_model(AutoModelForCausalLM.from_pretrained(model), LoraConfig(**options)).save_pretrained(folder)


def publish(folder: RefreshFolder, model: Path, step: int, **changes: Any) -> None:
    folder.publish(step, lambda part: save_adapter(model, part, seed=step, **changes))
