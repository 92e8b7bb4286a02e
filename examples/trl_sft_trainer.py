"""Train on a rewritten file with importance weights and TRL's SFTTrainer, with everything else it offers (PEFT, ...).

python examples/trl_sft_trainer.py MODEL out.jsonl OUTPUT_FOLDER
"""

import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from mindgap_loss import LossOptions
from mindgap_loss.trainer import WeightedLossMixin, collate, encode


class WeightedTrainer(WeightedLossMixin, SFTTrainer):
    """TRL's trainer with the loss replaced."""


def main(model_name: str, data: str, output: str) -> WeightedTrainer:
    """Train MODEL on the rows of DATA for an epoch, save it in OUTPUT."""
    tokenizer = AutoTokenizer.from_pretrained(model_name)
    options = LossOptions(preset="is")
    lines = Path(data).read_text(encoding="utf-8").splitlines()
    rows = [encode(json.loads(line), tokenizer, options) for line in lines]
    trainer = WeightedTrainer(
        AutoModelForCausalLM.from_pretrained(model_name),
        SFTConfig(
            output,
            remove_unused_columns=False,
            dataset_kwargs={"skip_prepare_dataset": True},  # the rows are tokenised, to the recorded ids
            loss_type="nll",  # the others patch the model for a loss that is not used
            bf16=torch.cuda.is_available(),
            num_train_epochs=1,
            logging_steps=1,
            report_to="none",
        ),
        data_collator=collate,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        options=options,
    )
    trainer.train()
    trainer.save_model(output)
    return trainer


if __name__ == "__main__":
    main(*sys.argv[1:4])
