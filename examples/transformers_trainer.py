"""Train on a rewritten file with importance weights and the plain transformers Trainer.

python examples/transformers_trainer.py MODEL out.jsonl OUTPUT_FOLDER
"""

import json
import sys
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

from mindgap_loss import LossOptions
from mindgap_loss.trainer import WeightedLossMixin, collate, encode


class WeightedTrainer(WeightedLossMixin, Trainer):
    """The Trainer with the loss replaced."""


def main(model_name: str, data: str, output: str) -> WeightedTrainer:
    """Train MODEL on the rows of DATA for an epoch, save it in OUTPUT."""
    tokenizer = AutoTokenizer.from_pretrained(model_name)
    options = LossOptions(preset="is")
    lines = Path(data).read_text(encoding="utf-8").splitlines()
    rows = [encode(json.loads(line), tokenizer, options) for line in lines]
    trainer = WeightedTrainer(
        AutoModelForCausalLM.from_pretrained(model_name),
        TrainingArguments(output, remove_unused_columns=False, num_train_epochs=1, logging_steps=1, report_to="none"),
        data_collator=collate,
        train_dataset=rows,
        options=options,
    )
    trainer.train()
    trainer.save_model(output)
    return trainer


if __name__ == "__main__":
    main(*sys.argv[1:4])
