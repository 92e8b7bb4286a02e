"""The weighted loss for trainers of the transformers family: ``Trainer`` itself, TRL's ``SFTTrainer``."""

from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from mindgap_data.errors import UserError
from mindgap_data.policy.head import check_head, final_hidden_states, head_of
from mindgap_data.record import TIERS
from mindgap_data.rendering import prompt_ids
from mindgap_loss.loss import log_probs, weighted_nll
from mindgap_loss.options import LossOptions
from mindgap_loss.rows import missing_log_probs, pass_rate
from mindgap_loss.weights import TokenFields

Row = dict[str, Any]
DEFAULTS = LossOptions()


class WeightedLossMixin:
    """Put before the trainer's class: replaces its loss; evaluation reports plain NLL.

    Rows come from :func:`encode`, batches from :func:`collate`; set ``remove_unused_columns=False``.
    """

    args: Any  # of the trainer behind it
    accelerator: Any

    def __init__(self, *args: Any, options: LossOptions = DEFAULTS, **kwargs: Any) -> None:
        """Take the arguments of the trainer, and the options of the loss.

        Raises:
            UserError: ``options.normalize`` is batch.
        """
        if options.normalize == "batch":
            raise UserError(
                "normalize: batch needs the weights of every micro-batch of a step, which a trainer hands over one at "
                "a time; use normalize: none, or Axolotl"
            )
        super().__init__(*args, **kwargs)
        self.options, self.head_is_checked = options, False
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
            pass_rate=inputs["pass_rate"][sample],
        )
        loss = weighted_nll(states, head, targets, fields, self.options, num_items_in_batch).loss
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes  # which their gradients are averaged over
        return loss


def encode(row: Row, tokenizer: Any, options: LossOptions = DEFAULTS) -> Row:
    """Prompt as the chat template renders it, then the recorded ids: the response is never tokenised again.

    Args:
        row: a record, as ``mindgap-data rewrite`` writes it.
        tokenizer: of the model that is trained, with its chat template.
        options: of the loss; they decide what a row must have.

    Raises:
        UserError: the row lacks log-probs or counts that the options need.
    """
    where = f"row {row.get('id')}"
    behavior, policy, response = row["behavior_logprobs"], row["policy_logprobs"], row["response_token_ids"]
    if cause := missing_log_probs(row["tier"], behavior, policy, options):
        raise UserError(f"{where}: {cause}")
    arguments = row.get("provenance", {}).get("chat_template_kwargs") or {}
    prompt = prompt_ids(tokenizer, tokenizer.chat_template, row["messages"][:-1], row.get("tools"), arguments)
    nothing = [float("nan")]
    return {
        "input_ids": prompt + response,
        "labels": [-100] * len(prompt) + response,
        "tier": TIERS.index(row["tier"]),
        "behavior": nothing * len(prompt) + (behavior or nothing * len(response)),
        "policy": nothing * len(prompt) + policy,
        "pass_rate": pass_rate(row, options, where),
    }


def collate(rows: list[Row]) -> Row:
    """[B, L] of each column of encoded rows, padded on the right; tiers and pass rates [B]."""
    padding = {"input_ids": 0, "labels": -100, "behavior": float("nan"), "policy": float("nan")}
    batch: Row = {
        name: pad_sequence([torch.tensor(row[name]) for row in rows], batch_first=True, padding_value=value)
        for name, value in padding.items()
    }
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    batch["attention_mask"] = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    return {**batch, **{name: torch.tensor([row[name] for row in rows]) for name in ("tier", "pass_rate")}}
