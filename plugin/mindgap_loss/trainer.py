"""The weighted loss for trainers of the transformers family: ``Trainer`` itself, TRL's ``SFTTrainer``."""

from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from mindgap_data.policy.head import check_head, final_hidden_states, head_of
from mindgap_data.record import TIERS
from mindgap_data.rendering import prompt_ids
from mindgap_loss.loss import log_probs, weighted_nll
from mindgap_loss.options import LossOptions
from mindgap_loss.weights import TokenFields

Row = dict[str, Any]


class WeightedLossMixin:
    """Put before the trainer's class: replaces its loss; evaluation reports plain NLL.

    Rows come from :func:`encode`, batches from :func:`collate`; set ``remove_unused_columns=False``.
    """

    def __init__(self, *args: Any, options: LossOptions | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.options, self.head_is_checked = options or LossOptions(), False
        self.model_accepts_loss_kwargs = True  # so that num_items_in_batch comes, exact under accumulation

    def compute_loss(
        self, model: Any, inputs: Row, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The weighted loss over the trained tokens of the global batch."""
        hidden, own_logits = final_hidden_states(
            model, **{name: inputs[name] for name in ("input_ids", "attention_mask")}
        )
        head = head_of(model)
        if not self.head_is_checked:
            check_head(model, head, hidden[:, -1], own_logits)
            self.head_is_checked = True
        trained = inputs["labels"][:, 1:] != -100
        targets, states = inputs["labels"][:, 1:][trained], hidden[:, :-1][trained]
        if not model.training:
            loss = -log_probs(states, head, targets).mean()
            return (loss, {}) if return_outputs else loss
        sample = torch.arange(len(trained), device=trained.device)[:, None].expand_as(trained)[trained]
        fields = TokenFields(
            tier=inputs["tier"][sample],
            behavior=inputs["behavior"][:, 1:][trained],
            policy=inputs["policy"][:, 1:][trained],
            sample=sample,
            samples=len(trained),
        )
        return weighted_nll(states, head, targets, fields, self.options, num_items_in_batch).loss


def encode(row: Row, tokenizer: Any) -> Row:
    """Prompt as the chat template renders it, then the recorded ids: the response is never tokenised again.

    Args:
        row: a record, as ``mindgap-data rewrite`` writes it.
        tokenizer: of the model that is trained, with its chat template.
    """
    arguments = row.get("provenance", {}).get("chat_template_kwargs") or {}
    prompt = prompt_ids(tokenizer, tokenizer.chat_template, row["messages"][:-1], row.get("tools"), arguments)
    response, nothing = row["response_token_ids"], [float("nan")]
    return {
        "input_ids": prompt + response,
        "labels": [-100] * len(prompt) + response,
        "tier": TIERS.index(row["tier"]),
        "behavior": nothing * len(prompt) + (row["behavior_logprobs"] or nothing * len(response)),
        "policy": nothing * len(prompt) + row["policy_logprobs"],
    }


def collate(rows: list[Row]) -> Row:
    """[B, L] of each column of encoded rows, padded on the right; tiers [B]."""
    padding = {"input_ids": 0, "labels": -100, "behavior": float("nan"), "policy": float("nan")}
    batch: Row = {
        name: pad_sequence([torch.tensor(row[name]) for row in rows], batch_first=True, padding_value=value)
        for name, value in padding.items()
    }
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    batch["attention_mask"] = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    return {**batch, "tier": torch.tensor([row["tier"] for row in rows])}
