"""What cannot work together is refused here, before anything is loaded."""

import json
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from axolotl.utils.logging import get_logger
from pydantic import ValidationError

from mindgap_axolotl.args import MindGapOptions, plain
from mindgap_data.errors import UserError
from mindgap_data.gap.noise import read_noise
from mindgap_loss import cce
from mindgap_loss.rows import missing_log_probs

LOG = get_logger(__name__)

# The versions that the test suite runs on.
AXOLOTL_VERSIONS = ("0.19", "0.21")
STRATEGY = "mindgap_axolotl.chat_template"

# Option of a recipe -> why the plugin refuses it.
REFUSED = {
    "rl": "the plugin replaces the loss of supervised fine-tuning; preference and RL trainers have their own",
    "reward_model": "a reward model has no next-token loss to weigh",
    "process_reward_model": "a process reward model has no next-token loss to weigh",
    "orpo_alpha": "ORPO brings its own loss",
    "use_dft": "Dynamic Fine-Tuning is mindgap: {preset: paper}; Axolotl's needs full logits",
    "use_eaft": "Entropy-Adaptive Fine-Tuning is mindgap: {preset: eaft}; Axolotl's needs full logits",
    "qat": "quantisation-aware training replaces the output head by one that the loss would by-pass",
    "label_smoothing_factor": "the loss is -log p of the recorded token, with nothing to smooth",
    "trainer_cls": "the plugin brings its own trainer",
    "streaming": "streaming drops the log-prob columns",
    "pretraining_dataset": "streaming drops the log-prob columns",
    "skip_prepare_dataset": "the rows must be encoded before training",
    "train_on_inputs": "only the recorded response_token_ids are trained",
    "batch_flattening": "its collator drops the log-prob columns; use sample_packing",
    "processor_type": "images are not supported",
}
# Options that replace a loss on full logits, which the plugin never forms: harmless, and without effect.
BYPASSED = (
    "liger_fused_linear_cross_entropy",
    "liger_cross_entropy",
    "cut_cross_entropy",
    "chunked_cross_entropy",
)
# Parallelism that splits what the loss must see whole.
SPLITTING = {
    "context_parallel_size": "a rank would see parts of a response",
    "sequence_parallel_degree": "a rank would see parts of a response",
    "tensor_parallel_size": "a rank would hold a part of the vocabulary",
}


def check_version() -> None:
    """Refuse an Axolotl that the tests do not run on.

    Raises:
        UserError: naming the version found and those tested.
    """
    try:
        found = version("axolotl")
    except PackageNotFoundError as error:
        raise UserError("axolotl is not installed; run: pip install 'mindgap[axolotl]'") from error
    if ".".join(found.split(".")[:2]) not in AXOLOTL_VERSIONS:
        raise UserError(
            f"axolotl {found} is not supported; this mindgap is tested with axolotl {' and '.join(AXOLOTL_VERSIONS)}: "
            f"run pip install 'axolotl=={AXOLOTL_VERSIONS[-1]}.*' "
            f"(Python 3.11: 'axolotl=={AXOLOTL_VERSIONS[0]}.*')"
        )


def check_options(cfg: Any) -> MindGapOptions:
    """The checked ``mindgap:`` block of a raw configuration.

    Raises:
        UserError: naming the first wrong option.
    """
    try:
        return MindGapOptions.model_validate(plain(cfg.get("mindgap") or {}))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(("mindgap", *(str(part) for part in first["loc"])))
        cause = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{where}: {cause[:1].lower()}{cause[1:]}") from error


def check_config(cfg: Any) -> None:
    """Refuse what the plugin cannot work with.

    Asked twice: of the recipe as it is written, and of what Axolotl's validation makes of it, which fills
    in options of its own.

    Args:
        cfg: Axolotl's configuration, raw or validated.

    Raises:
        UserError: naming the option of the recipe and why.
    """
    options = check_options(cfg)
    for name, reason in REFUSED.items():
        if cfg.get(name):
            raise UserError(f"{name}: {cfg.get(name)} does not work with the mindgap plugin: {reason}; remove it")
    for name, reason in SPLITTING.items():
        if (cfg.get(name) or 1) > 1:
            raise UserError(f"{name}: {cfg.get(name)} does not work with the mindgap plugin: {reason}; set it to 1")
    if _get(cfg.get("context_parallel") or {}, "size", 1) > 1:
        raise UserError(
            "context_parallel.size does not work with the mindgap plugin: a rank would see parts of a response; "
            "remove context_parallel"
        )
    if cfg.get("balance_labels") and not cfg.get("sample_packing"):
        raise UserError(
            "balance_labels without sample_packing works with Axolotl's own collator only, and mindgap brings another; "
            "set sample_packing: true, or remove balance_labels"
        )
    if cfg.get("deepspeed") and _zero_stage(cfg) == 3:
        raise UserError(
            "deepspeed: ZeRO-3 does not work with the mindgap plugin: the output head is in parts when the loss needs "
            "it; use FSDP2 or ZeRO-2"
        )
    if options.kernel == "cce":
        _check_cce(cfg)
    if cfg.get("deepspeed") and options.normalize == "batch":
        raise UserError(
            "mindgap.normalize: batch needs the gradients between backward and step, which DeepSpeed keeps to itself; "
            "use normalize: none, or FSDP"
        )
    if options.normalize == "batch" and re.search("layerwise|lomo", str(cfg.get("optimizer"))):
        raise UserError(
            f"mindgap.normalize: batch does not work with optimizer: {cfg.get('optimizer')}, which steps during the "
            "backward pass; use normalize: none, or another optimizer"
        )
    if options.alarms.noise:
        read_noise(Path(options.alarms.noise))
    if cfg.get("excess_length_strategy") == "truncate" and cfg.get("eval_sequence_len"):
        raise UserError(
            "excess_length_strategy: truncate and eval_sequence_len would cut a row twice; drop eval_sequence_len"
        )
    if options.refresh is not None:
        _check_refresh(cfg)
    entries = [*(cfg.get("datasets") or []), *(cfg.get("test_datasets") or [])]
    if not any(_get(entry, "type") == STRATEGY for entry in entries):
        raise UserError(f"no dataset of the recipe has type: {STRATEGY}, so no row would bring its log-probs")
    cause = missing_log_probs("expert", None, None, options)
    other = next((entry for entry in entries if _get(entry, "type") != STRATEGY), None)
    if other is not None and cause:
        raise UserError(
            f"{_get(other, 'path')}: rows of type: {_get(other, 'type')} train in the expert tier, without log-probs: "
            f"{cause}; or give the dataset type: {STRATEGY}"
        )


def _check_refresh(cfg: Any) -> None:
    """Refuse what rows that change while training do not work with."""
    fsdp: Any = cfg.get("fsdp_config") or {}
    first_fsdp = (fsdp or cfg.get("fsdp")) and (cfg.get("fsdp_version") or _get(fsdp, "fsdp_version")) != 2
    for found, reason in (
        (cfg.get("adapter") not in ("lora", "qlora"), "publishes a LoRA adapter: set adapter: lora or qlora"),
        (
            cfg.get("sample_packing"),
            "does not work with sample_packing: a row's length changes after it has been packed; set "
            "sample_packing: false",
        ),
        (
            (cfg.get("dataloader_num_workers") or 0) > 0,
            "does not work with dataloader_num_workers: such a process keeps the rows it was started with; set it to 0",
        ),
        (first_fsdp, "does not work with the first FSDP, which has no whole adapter to publish; set fsdp_version: 2"),
    ):
        if found:
            raise UserError(f"mindgap.refresh {reason}")


def check_plugins(cfg: Any, plugins: dict[str, Any], own: Any) -> None:
    """Refuse another plugin that brings its own trainer or collator: Axolotl takes the first it finds.

    Raises:
        UserError: naming the other plugin.
    """
    for name, plugin in plugins.items():
        if plugin is own or name not in (cfg.get("plugins") or []):
            continue
        collator = plugin.get_collator_cls_and_kwargs(cfg)
        if plugin.get_trainer_cls(cfg) is not None or (collator is not None and collator[0] is not None):
            raise UserError(f"plugins: {name} replaces the trainer or the collator, and so does mindgap; keep one")


def say_what_is_bypassed(cfg: Any) -> None:
    """Log the loss kernels of the recipe that have no effect."""
    for name in BYPASSED:
        if cfg.get(name):
            LOG.info(f"{name} has no effect: mindgap computes its loss from hidden states, without full logits")


def _check_cce(cfg: Any) -> None:
    """What cce.check_supported would say when the model has been loaded."""
    cce.check_installed()
    if cfg.get("adapter") and "lm_head" in (cfg.get("lora_target_modules") or []):
        raise UserError(
            "kernel: cce does not work with lm_head in lora_target_modules; take it out, or use kernel: torch"
        )


def _zero_stage(cfg: Any) -> int:
    """The ZeRO stage of a recipe's DeepSpeed configuration: a dictionary, or a JSON file."""
    config = plain(cfg.get("deepspeed"))
    if isinstance(config, str):
        if not Path(config).is_file():
            return 0  # Axolotl's own error will say so
        try:
            config = json.loads(Path(config).read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{config}: not a JSON file: {error}") from error
    return int((config.get("zero_optimization") or {}).get("stage") or 0)


def _get(entry: Any, name: str, default: Any = None) -> Any:
    value = entry.get(name) if hasattr(entry, "get") else getattr(entry, name, None)
    return default if value is None else value
