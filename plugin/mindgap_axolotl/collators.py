"""Axolotl's collators, with tier and log-probs padded or packed beside the stock columns."""

from dataclasses import fields
from typing import Any

import torch
from axolotl.monkeypatch.multipack import SUPPORTED_MULTIPACK_MODEL_TYPES
from axolotl.utils.collators import (
    BatchSamplerDataCollatorForSeq2Seq,
    DataCollatorForSeq2Seq,
    V2BatchSamplerDataCollatorForSeq2Seq,
)

from mindgap_data.errors import UserError
from mindgap_loss.weights import EXPERT

LOGPROB_COLUMNS = ("behavior_logprobs", "policy_logprobs")
COLUMNS = ("tier", *LOGPROB_COLUMNS, "pass_rate", "drawn_at")
ROW_ID = "row_id"  # of a prepared row; in no batch
# Columns of a batch: the above and the sample each token belongs to.
BATCH_COLUMNS = (*COLUMNS, "sample")


def collator_for(cfg: Any, is_eval: bool) -> type:
    """The collator class of a run: the one Axolotl itself would pick, extended."""
    packed = cfg.get("eval_sample_packing") if is_eval else cfg.get("sample_packing")
    if not packed:
        return MindGapCollator
    kind, attention = cfg.get("model_config_type"), cfg.get("attn_implementation")
    if (
        attention == "flex_attention"
        or kind in SUPPORTED_MULTIPACK_MODEL_TYPES
        or (kind == "llama" and attention != "flash_attention_2")
    ):
        return MindGapPackedCollatorV2
    return MindGapPackedCollator


def collator_kwargs(cfg: Any, is_eval: bool) -> dict[str, Any]:
    """What Axolotl 0.21 gives its own packed collators only: FlashAttention's variable-length arguments, once a batch.

    Without them transformers derives them in every layer, waiting for the device each time. The
    conditions are those of ``HFCausalTrainerBuilder.build_collator``.
    """
    packed = cfg.get("eval_sample_packing") if is_eval else cfg.get("sample_packing")
    wanted = (
        any(field.name == "emit_fa_varlen_kwargs" for field in fields(DataCollatorForSeq2Seq))
        and packed
        and str(cfg.get("attn_implementation")).startswith("flash_attention")
        and cfg.get("fa_varlen_kwargs_in_collator") is not False
        and cfg.get("model_config_type") in SUPPORTED_MULTIPACK_MODEL_TYPES
        and not (cfg.get("accelerator_config") or {}).get("dispatch_batches")
    )
    return {"emit_fa_varlen_kwargs": True} if wanted else {}


class FieldColumns:
    """Mixin before a stock collator: takes the columns out, lets the stock one work, lays them beside its result.

    Adds to the batch, each of the shape [B, L] of ``input_ids``: ``tier``, ``sample`` and ``drawn_at`` (int64;
    ``sample`` numbers the samples of the batch, also inside packed rows; ``drawn_at`` is the training step whose
    policy drew them, 0 where training has not drawn them again), the two log-prob columns, NaN where there is
    none, and the pass rate, 1 where there is none: these three as the **bits** of float32 in int32, since
    DeepSpeed and FSDP cast floating inputs to bf16.
    """

    tokenizer: Any

    def rows_of(self, features: list[Any]) -> list[list[dict[str, Any]]]:
        """The samples of each row of the batch: one a row when padded."""
        return [[feature] for feature in features]

    def __call__(self, features: list[Any], return_tensors: str | None = None) -> Any:
        """Collate, see the class."""
        rows = self.rows_of(features)
        batch = super().__call__(_without_fields(features), return_tensors=return_tensors)  # type: ignore[misc]
        count, width = batch["input_ids"].shape
        columns = {
            "tier": torch.full((count, width), EXPERT, dtype=torch.int64),
            "sample": torch.zeros((count, width), dtype=torch.int64),
            "drawn_at": torch.zeros((count, width), dtype=torch.int64),
            **{name: torch.full((count, width), float("nan")) for name in LOGPROB_COLUMNS},
            "pass_rate": torch.ones(count, width),
        }
        sample = 0
        for index, row in enumerate(rows):
            length = sum(len(feature["input_ids"]) for feature in row)
            start = 0 if self.tokenizer.padding_side == "right" else width - length
            for feature in row:
                span = slice(start, start + len(feature["input_ids"]))
                columns["sample"][index, span] = sample
                for name in COLUMNS:
                    _fill(columns[name][index, span], feature.get(name), name)
                start, sample = span.stop, sample + 1
        for name in (*LOGPROB_COLUMNS, "pass_rate"):
            columns[name] = columns[name].view(torch.int32)
        batch.update(columns)
        return batch


class PackedFieldColumns(FieldColumns):
    """The same before a multipack collator, whose features are lists of samples."""

    def rows_of(self, features: list[Any]) -> list[list[dict[str, Any]]]:
        """The samples packed into each row."""
        return features if isinstance(features[0], list) else [features]


class MindGapCollator(FieldColumns, DataCollatorForSeq2Seq):
    """Padded batches."""


class MindGapPackedCollator(PackedFieldColumns, BatchSamplerDataCollatorForSeq2Seq):
    """Packed batches whose attention is separated by position ids."""


class MindGapPackedCollatorV2(PackedFieldColumns, V2BatchSamplerDataCollatorForSeq2Seq):
    """Packed batches whose attention mask numbers the samples."""


def _without_fields(features: Any) -> Any:
    if isinstance(features, list):
        return [_without_fields(feature) for feature in features]
    return {name: value for name, value in features.items() if name not in (*COLUMNS, ROW_ID)}


def _fill(target: torch.Tensor, values: Any, name: str) -> None:
    if values is None:  # a row of another dataset type: expert tier, no log-probs, as the columns start out
        return
    if len(values) != len(target):
        raise UserError(
            f"column {name} has {len(values)} values for {len(target)} input_ids: something changed the rows after "
            "they were encoded; remove what does from the recipe"
        )
    target.copy_(torch.as_tensor(values))
