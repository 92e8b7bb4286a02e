"""Dataset strategy ``type: mindgap_axolotl.chat_template``: rows to exactly the recorded tokens and log-probs."""

from collections.abc import Mapping
from typing import Any

from axolotl.prompt_strategies.chat_template import StrategyLoader
from axolotl.prompt_tokenizers import DatasetWrappingStrategy
from axolotl.utils.chat_templates import get_chat_template_from_config
from axolotl.utils.logging import get_logger
from datasets import Dataset

from mindgap_axolotl.args import options_of, plain
from mindgap_axolotl.encode import RowEncoder, Run
from mindgap_data.checks.shared import unchecked_findings
from mindgap_data.errors import UserError
from mindgap_data.fingerprints import template_fingerprint, tokenizer_fingerprint
from mindgap_loss.weights import EXPERT

LOG = get_logger(__name__)


class MindGapStrategy(DatasetWrappingStrategy):
    """Encodes a whole dataset, checking every row of it first."""

    def __init__(self, encoder: RowEncoder) -> None:
        self.encoder = encoder

    def wrap_dataset(
        self, dataset: Any, process_count: int | None = None, keep_in_memory: bool | None = False, **kwargs: Any
    ) -> Dataset:
        """The rows as input_ids, attention_mask, labels, tier and log-probs.

        Raises:
            UserError: at the first row that cannot be trained on, named.
        """
        run = self.encoder.run
        if not isinstance(dataset, Dataset):
            raise UserError(f"{run.path}: streaming drops the log-prob columns; remove streaming: true")
        if not len(dataset):
            raise UserError(f"{run.path}: the file has no rows")
        encoded = dataset.map(
            self.encoder,
            with_indices=True,
            remove_columns=dataset.column_names,
            num_proc=process_count,
            keep_in_memory=bool(keep_in_memory),
            desc="Encoding recorded tokens",
        )
        self._give_notice(encoded)
        trained = [index for index, tokens in enumerate(encoded["trained_tokens"]) if tokens]
        if len(trained) < len(encoded):
            LOG.warning(
                f"{run.path}: {len(encoded) - len(trained)} of {len(encoded)} rows are dropped, since truncation to "
                f"sequence_len: {run.sequence_len} leaves none of their response"
            )
            encoded = encoded.select(trained)
        if not len(encoded):
            raise UserError(
                f"{run.path}: no row has a trained token within sequence_len: {run.sequence_len}; raise sequence_len"
            )
        return encoded.remove_columns(["is_record", "is_unchecked", "trained_tokens"])

    def _give_notice(self, encoded: Dataset) -> None:
        others = len(encoded) - sum(encoded["is_record"])
        if others:
            LOG.warning(
                f"{self.encoder.run.path}: {others} of {len(encoded)} rows have no response_token_ids; they are "
                "trained as plain SFT rows, in the expert tier"
            )
        rewritten = sum(EXPERT not in tier for tier in encoded["tier"])
        for finding in unchecked_findings(sum(encoded["is_unchecked"]), rewritten):
            LOG.warning(f"{self.encoder.run.path}: {finding.in_words}")


def load(tokenizer: Any, cfg: Any, ds_cfg: Any = None, processor: Any = None) -> MindGapStrategy:
    """What Axolotl calls for ``type: mindgap_axolotl.chat_template``."""
    return MindGapStrategy(encoder_of(tokenizer, cfg, ds_cfg, processor))


def encoder_of(tokenizer: Any, cfg: Any, ds_cfg: Any = None, processor: Any = None) -> RowEncoder:
    """What encodes the rows of a data set of this type.

    Args:
        tokenizer: the run's.
        cfg: Axolotl's configuration.
        ds_cfg: the entry of the data set in it.
        processor: the run's, or None.
    """
    entry: Mapping[str, Any] = plain(ds_cfg) or {}
    template = get_chat_template_from_config(cfg=cfg, ds_cfg=entry, tokenizer=tokenizer)
    arguments: Mapping[str, Any] = plain(cfg.get("chat_template_kwargs")) or {}
    options = options_of(cfg)
    run = Run(
        path=str(entry.get("path")),
        model=str(cfg.get("base_model")),
        adapter=cfg.get("lora_model_dir"),
        tokenizer=tokenizer_fingerprint(tokenizer),
        chat_template=template_fingerprint(template, arguments),
        sequence_len=int(cfg.get("sequence_len") or 2048),
        truncate=cfg.get("excess_length_strategy") == "truncate",
        rows_in_file_order=not entry.get("shards"),
    )
    stock = StrategyLoader()(tokenizer, cfg, ds_cfg=entry, processor=processor)
    return RowEncoder(run, options, tokenizer, template, arguments, stock)
