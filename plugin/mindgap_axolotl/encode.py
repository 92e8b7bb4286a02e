"""One row of a dataset to the columns of training, with every check that a row can fail."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import TemplateError

from mindgap_axolotl.args import MindGapOptions
from mindgap_axolotl.collators import ROW_ID
from mindgap_data.errors import UserError
from mindgap_data.policy.models import same_model
from mindgap_data.record import TIERS, record_error
from mindgap_data.rendering import RenderingError, prompt_ids
from mindgap_loss.rows import missing_log_probs, pass_rate
from mindgap_loss.weights import EXPERT

IGNORED = -100
# A row with any of these and no response_token_ids is a broken record, not a plain SFT row.
RECORD_FIELDS = ("response_token_ids", "tier", "behavior_logprobs", "policy_logprobs")


@dataclass(frozen=True)
class Run:
    """What a row must fit to.

    Attributes:
        path: of the dataset, for messages.
        model: base_model of the recipe.
        adapter: lora_model_dir of the recipe, or None.
        tokenizer: fingerprint of the vocabulary.
        chat_template: fingerprint of the template.
        sequence_len: longest row, in tokens.
        truncate: cut longer rows (else Axolotl drops them or raises, as the recipe says).
        rows_in_file_order: whether a row's index is its place in the file.
    """

    path: str
    model: str
    adapter: str | None
    tokenizer: str
    chat_template: str
    sequence_len: int
    truncate: bool
    rows_in_file_order: bool = True


@dataclass(frozen=True)
class RowEncoder:
    """Callable for ``Dataset.map(..., with_indices=True)``.

    Attributes:
        run: what rows must fit to.
        options: of the loss; they decide which log-probs a row needs.
        tokenizer: the run's.
        template: Jinja text of the chat template.
        arguments: of the template (``chat_template_kwargs``).
        stock: Axolotl's own chat-template strategy, for plain SFT rows.
    """

    run: Run
    options: MindGapOptions
    tokenizer: Any
    template: str
    arguments: Mapping[str, Any]
    stock: Any

    def __call__(self, row: dict[str, Any], index: int) -> dict[str, Any]:
        """Columns of one row, all of one length, prompt first.

        Returns:
            input_ids, attention_mask, labels (-100 but on the response), tier (the index in ``TIERS``),
            behavior_logprobs and policy_logprobs (float32, NaN where there is none), pass_rate (float32, 1 where
            there is none), and of the whole row row_id (empty in a plain SFT row), is_record, is_unchecked and
            trained_tokens.

        Raises:
            UserError: naming the row and what is wrong with it.
        """
        row = {name: _without_nulls(value) for name, value in row.items()}
        where = self._where(row, index)
        if any(row.get(name) is not None for name in RECORD_FIELDS):
            columns = self._encode_record(row, where)
            is_record = True
        else:
            columns = self._encode_plain(row, where)
            is_record = False
        if self.run.truncate:
            columns = {name: values[: self.run.sequence_len] for name, values in columns.items()}
        trained = sum(label != IGNORED for label in columns["labels"])
        unchecked = is_record and row["tier"] != "expert" and row["provenance"].get("verifier_kind") == "unchecked"
        whole = {ROW_ID: str(row["id"]) if is_record else "", "is_record": is_record, "is_unchecked": unchecked}
        return {**columns, **whole, "trained_tokens": trained}

    def _encode_record(self, row: dict[str, Any], where: str) -> dict[str, Any]:
        if error := record_error(row):
            raise UserError(f"{where}: {error}")
        self._check_provenance(row["provenance"], where)
        tier, ids = row["tier"], list(row["response_token_ids"])
        vocabulary = len(self.tokenizer)  # counted anew by every call, which takes milliseconds
        outside = next((token for token in ids if token >= vocabulary), None)
        if outside is not None:
            raise UserError(
                f"{where}: response_token_ids holds {outside}, outside the tokenizer's vocabulary of {vocabulary}"
            )
        behavior, policy = row["behavior_logprobs"], row["policy_logprobs"]
        if error := missing_log_probs(tier, behavior, policy, self.options):
            raise UserError(f"{where}: {error}")
        prompt = self._prompt_ids(row["messages"][:-1], row.get("tools"), where)
        nothing = [np.nan] * len(prompt)
        total = len(prompt) + len(ids)
        return {
            "input_ids": prompt + ids,
            "attention_mask": [1] * total,
            "labels": [IGNORED] * len(prompt) + ids,
            "tier": np.full(total, TIERS.index(tier), dtype=np.int8),
            "behavior_logprobs": np.array(nothing + (behavior or [np.nan] * len(ids)), dtype=np.float32),
            "policy_logprobs": np.array(nothing + policy, dtype=np.float32),
            "pass_rate": np.full(total, pass_rate(row, self.options, where), dtype=np.float32),
        }

    def _encode_plain(self, row: dict[str, Any], where: str) -> dict[str, Any]:
        if error := missing_log_probs("expert", None, None, self.options):
            raise UserError(f"{where}: the row has no response_token_ids (a plain SFT row?): {error}")
        messages = row.get(self.stock.prompter.field_messages)
        if not messages:
            raise UserError(
                f"{where}: neither a rewritten row (no response_token_ids) nor a plain SFT row "
                f"(no {self.stock.prompter.field_messages}); its columns are {', '.join(sorted(row))}"
            )
        try:
            stock = self.stock.tokenize_prompt({self.stock.prompter.field_messages: messages})
        except (TemplateError, KeyError, ValueError, TypeError) as cause:
            raise UserError(f"{where}: the chat template refuses this conversation: {cause}") from cause
        if all(label == IGNORED for label in stock["labels"]):
            raise UserError(f"{where}: no trainable token: the conversation has no assistant turn")
        total = len(stock["input_ids"])
        return {
            "input_ids": list(stock["input_ids"]),
            "attention_mask": [1] * total,
            "labels": list(stock["labels"]),
            "tier": np.full(total, EXPERT, dtype=np.int8),
            "behavior_logprobs": np.full(total, np.nan, dtype=np.float32),
            "policy_logprobs": np.full(total, np.nan, dtype=np.float32),
            "pass_rate": np.ones(total, dtype=np.float32),
        }

    def _prompt_ids(self, messages: list[dict[str, Any]], tools: Any, where: str) -> list[int]:
        try:
            ids = prompt_ids(self.tokenizer, self.template, messages, tools, self.arguments)
        except RenderingError as error:
            raise UserError(f"{where}: {error}") from error
        if not ids:
            raise UserError(f"{where}: the prompt is empty, so the response's first token has nothing to follow")
        return ids

    def _check_provenance(self, provenance: dict[str, Any], where: str) -> None:
        # Whose policy_logprobs these are: a later round or `score` may have refreshed them.
        policy = provenance.get("policy") or provenance
        run, model = self.run, policy["model"]
        theirs, own = provenance.get("chat_template_kwargs") or {}, _without_nulls(dict(self.arguments))
        if theirs != own:
            raise UserError(
                f"{where}: the row was made with chat_template_kwargs {theirs} and this recipe has "
                f"chat_template_kwargs: {own}; make them the same"
            )
        for name, what in (("tokenizer", "tokenizer"), ("chat_template", "chat template")):
            ours = getattr(run, name)
            if provenance[name] != ours:
                raise UserError(
                    f"{where}: the row was made with another {what} ({provenance[name]}, model {model}) than this "
                    f"run's ({ours}, base_model {run.model}); rewrite with this model, or train {model} with its own "
                    f"{what}"
                )
        if self.options.allow_other_model:
            return
        if not same_model(model, run.model):
            raise UserError(
                f"{where}: the row was rewritten for model {model} and this run trains {run.model}; rewrite with this "
                "model, or set mindgap.allow_other_model: true if the two are the same weights"
            )
        adapter = policy.get("adapter")
        if (adapter is None) != (run.adapter is None) or (adapter and not same_model(adapter, str(run.adapter))):
            raise UserError(
                f"{where}: the row was rewritten with adapter {adapter} and this run starts from lora_model_dir: "
                f"{run.adapter}; make them the same, or set mindgap.allow_other_model: true"
            )

    def _where(self, row: dict[str, Any], index: int) -> str:
        name = f" (id {row['id']})" if row.get("id") is not None else ""
        place = f"row {index + 1}" if self.run.rows_in_file_order else "a row"
        return f"{self.run.path}: {place}{name}"


def _without_nulls(value: Any) -> Any:
    """Nested objects without their null members: Arrow gives each row the members of all the others, as nulls."""
    if isinstance(value, dict):
        return {name: _without_nulls(member) for name, member in value.items() if member is not None}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_without_nulls(member) for member in value]
    return value
