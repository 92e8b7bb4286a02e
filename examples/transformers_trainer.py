"""Train on a rewritten file with importance weights and the plain transformers Trainer (TRL's are subclasses of it).

python examples/transformers_trainer.py MODEL out.jsonl OUTPUT_FOLDER
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

from mindgap_data.record import TIERS
from mindgap_loss import LossOptions, TokenFields, check_head, final_hidden_states, head_of, log_probs, weighted_nll

Row = dict[str, Any]


def encode(row: Row, tokenizer: Any) -> Row:
    """Prompt as the chat template renders it, then the recorded ids: the response is never tokenised again."""
    prompt = tokenizer.apply_chat_template(row["messages"][:-1], add_generation_prompt=True, return_dict=False)
    response, nothing = row["response_token_ids"], [float("nan")]
    return {
        "input_ids": prompt + response,
        "labels": [-100] * len(prompt) + response,
        "tier": TIERS.index(row["tier"]),
        "behavior": nothing * len(prompt) + (row["behavior_logprobs"] or nothing * len(response)),
        "policy": nothing * len(prompt) + row["policy_logprobs"],
    }


def collate(rows: list[Row]) -> Row:
    """[B, L] of each column, padded on the right; tiers [B]."""
    padding = {"input_ids": 0, "labels": -100, "behavior": float("nan"), "policy": float("nan")}
    batch: Row = {
        name: pad_sequence([torch.tensor(row[name]) for row in rows], batch_first=True, padding_value=value)
        for name, value in padding.items()
    }
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    batch["attention_mask"] = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    return {**batch, "tier": torch.tensor([row["tier"] for row in rows])}


class WeightedTrainer(Trainer):
    """The Trainer with the loss replaced; evaluation reports plain NLL."""

    def __init__(self, *args: Any, options: LossOptions, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.options = options
        self.model_accepts_loss_kwargs = True  # so that num_items_in_batch comes, exact under accumulation

    def compute_loss(
        self, model: Any, inputs: Row, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The weighted loss over the trained tokens of the global batch."""
        hidden, last_logits = final_hidden_states(
            model, input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
        )
        head = head_of(model)
        if self.state.global_step == 0:
            check_head(model, head, hidden[:, -1], last_logits)
        trained = inputs["labels"][:, 1:] != -100
        targets, states = inputs["labels"][:, 1:][trained], hidden[:, :-1][trained]
        sample = torch.arange(len(trained), device=trained.device)[:, None].expand_as(trained)[trained]
        fields = TokenFields(
            tier=inputs["tier"][sample],
            behavior=inputs["behavior"][:, 1:][trained],
            policy=inputs["policy"][:, 1:][trained],
            sample=sample,
        )
        if not model.training:
            loss = -log_probs(states, head, targets, self.options.chunk_tokens).mean()
            return (loss, {}) if return_outputs else loss
        return weighted_nll(states, head, targets, fields, self.options, num_items_in_batch).loss


def main(model_name: str, data: str, output: str) -> WeightedTrainer:
    """Train MODEL on the rows of DATA for an epoch, save it in OUTPUT."""
    tokenizer = AutoTokenizer.from_pretrained(model_name)
    rows = [encode(json.loads(line), tokenizer) for line in Path(data).read_text(encoding="utf-8").splitlines()]
    arguments = TrainingArguments(
        output, remove_unused_columns=False, num_train_epochs=1, logging_steps=1, report_to="none"
    )
    trainer = WeightedTrainer(
        AutoModelForCausalLM.from_pretrained(model_name),
        arguments,
        data_collator=collate,
        train_dataset=rows,
        options=LossOptions(preset="is"),
    )
    trainer.train()
    trainer.save_model(output)
    return trainer


if __name__ == "__main__":
    main(*sys.argv[1:4])
