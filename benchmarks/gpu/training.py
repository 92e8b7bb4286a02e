"""LoRA training with transformers' Trainer: plain cross-entropy, and the weighted loss on the same rows."""

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from benchmarks.gpu.clock import wait
from benchmarks.gpu.kit import Kit, Measure

from mindgap_loss import LossOptions
from mindgap_loss.trainer import WeightedLossMixin, collate

WARM_UP = 2  # steps
# Preset sft is plain cross-entropy: each step's loss must agree, so gradients must, too. Relative.
LOSSES = {"float32": 1e-3, "bfloat16": 0.02}


@dataclass
class _Run:
    """One training run."""

    seconds: list[float] = field(default_factory=list)  # of each step
    losses: list[float] = field(default_factory=list)
    peak: int | None = None  # bytes


def run(kit: Kit) -> Iterator[Measure]:
    """Plain cross-entropy, the weighted loss as plain SFT, and with importance weights."""
    runs = {
        "plain cross-entropy": _train(kit, None),
        "mindgap, preset sft": _train(kit, LossOptions(preset="sft")),
        "mindgap, preset is": _train(kit, LossOptions()),
    }
    sizes = kit.sizes
    for name, one in runs.items():
        speed = sizes.train_rows * sizes.train_tokens / statistics.median(one.seconds[WARM_UP:])
        yield Measure(f"{kit.dtype}, {name}", "speed", speed, "tokens/s")
        if one.peak is not None:
            yield Measure(f"{kit.dtype}, {name}", "peak memory", one.peak / 2**30, "GiB")
    plain, ours = runs["plain cross-entropy"].losses, runs["mindgap, preset sft"].losses
    difference = max(abs(a - b) / b for a, b in zip(ours, plain, strict=True))
    case = f"{kit.dtype}, {sizes.train_steps} steps"
    yield Measure(case, "loss of preset sft against plain", difference, "relative", LOSSES[kit.dtype])


def _train(kit: Kit, options: LossOptions | None) -> _Run:
    """A LoRA adapter on every linear layer, AdamW; ``options`` None: the Trainer's own loss."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments, set_seed

    measured = _Run()

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            wait(kit.device)
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            wait(kit.device)
            measured.seconds.append(time.perf_counter() - self.began)

    class WeightedTrainer(WeightedLossMixin, Trainer):
        """The Trainer with the loss replaced."""

    set_seed(0)
    model: Any = AutoModelForCausalLM.from_pretrained(kit.model, dtype=getattr(torch, kit.dtype))
    model = get_peft_model(
        model.to(kit.device), LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    if kit.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            scratch,
            remove_unused_columns=False,
            per_device_train_batch_size=kit.sizes.train_rows,
            max_steps=kit.sizes.train_steps,
            learning_rate=1e-4,
            lr_scheduler_type="constant",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=kit.device == "cpu",
            bf16=kit.dtype == "bfloat16",
        )
        given: dict[str, Any] = {"model": model, "args": arguments, "train_dataset": _rows(kit), "callbacks": [Clock()]}
        if options is None:
            trainer = Trainer(**given, data_collator=_plain_columns)
        else:
            trainer = WeightedTrainer(**given, data_collator=collate, options=options)
        trainer.remove_callback(_printer())
        trainer.train()
    measured.losses = [step["loss"] for step in trainer.state.log_history if "loss" in step]
    if kit.device == "cuda":
        measured.peak = torch.cuda.max_memory_allocated()
    return measured


def _rows(kit: Kit) -> list[dict[str, Any]]:
    """Rows of random tokens as ``mindgap_loss.trainer.encode`` makes them; the second half is the response."""
    from transformers import AutoConfig

    sizes = kit.sizes
    vocabulary = AutoConfig.from_pretrained(kit.model).get_text_config().vocab_size
    torch.manual_seed(0)
    ids = torch.randint(0, vocabulary, (sizes.train_rows * sizes.train_steps, sizes.train_tokens)).tolist()
    half = sizes.train_tokens // 2
    recorded = [float("nan")] * half + [-8.0] * (sizes.train_tokens - half)
    return [
        {
            "input_ids": row,
            "labels": [-100] * half + row[half:],
            "tier": number % 3,
            "pass_rate": 1.0,
            "behavior": recorded,
            "policy": recorded,
        }
        for number, row in enumerate(ids)
    ]


def _plain_columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The batch without what only the weighted loss reads."""
    batch = collate(rows)
    return {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}


def _printer() -> type:
    from transformers import PrinterCallback

    return PrinterCallback
