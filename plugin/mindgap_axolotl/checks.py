"""What cannot work together is refused here, before anything is loaded."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import ValidationError

from mindgap_axolotl.args import MindGapOptions, plain
from mindgap_data.errors import UserError

# First version supported, first version not.
AXOLOTL_RANGE = ((0, 19), (0, 23))
STRATEGY = "mindgap_axolotl.chat_template"

# Option of a recipe -> why the plugin refuses it.
REFUSED = {
    "rl": "the plugin replaces the loss of supervised fine-tuning; preference and RL trainers have their own",
    "reward_model": "a reward model has no next-token loss to weigh",
    "process_reward_model": "a process reward model has no next-token loss to weigh",
    "orpo_alpha": "ORPO brings its own loss",
    "use_eaft": "EAFT brings its own weighted loss",
    "label_smoothing_factor": "the loss is -log p of the recorded token, with nothing to smooth",
    "trainer_cls": "the plugin brings its own trainer",
    "streaming": "streaming drops the log-prob columns",
    "pretraining_dataset": "streaming drops the log-prob columns",
    "skip_prepare_dataset": "the rows must be encoded before training",
    "train_on_inputs": "only the recorded response_token_ids are trained",
    "batch_flattening": "its collator drops the log-prob columns; use sample_packing",
    "processor_type": "images are not supported",
    "chat_template_kwargs": "the rows were rewritten with the chat template's defaults",
}
# Parallelism that splits what the loss must see whole.
SPLITTING = {
    "context_parallel_size": "a rank would see parts of a response",
    "sequence_parallel_degree": "a rank would see parts of a response",
    "tensor_parallel_size": "a rank would hold a part of the vocabulary",
}


def check_version() -> None:
    """Refuse an Axolotl outside the supported range.

    Raises:
        UserError: naming the version found and the range.
    """
    try:
        found = version("axolotl")
    except PackageNotFoundError as error:
        raise UserError("axolotl is not installed; run: pip install 'mindgap[axolotl]'") from error
    release = tuple(int(part) for part in found.split(".")[:2])
    first, beyond = AXOLOTL_RANGE
    if not first <= release < beyond:
        low, high = (".".join(map(str, bound)) for bound in AXOLOTL_RANGE)
        raise UserError(
            f"axolotl {found} is not supported; this mindgap works with axolotl >={low},<{high}: "
            f"run pip install 'axolotl>={low},<{high}'"
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
    if cfg.get("deepspeed") and options.normalize == "batch":
        raise UserError(
            "mindgap.normalize: batch needs the gradients between backward and step, which DeepSpeed keeps to itself; "
            "use normalize: none, or FSDP"
        )
    if cfg.get("excess_length_strategy") == "truncate" and cfg.get("eval_sequence_len"):
        raise UserError(
            "excess_length_strategy: truncate and eval_sequence_len would cut a row twice; drop eval_sequence_len"
        )
    entries = [*(cfg.get("datasets") or []), *(cfg.get("test_datasets") or [])]
    if not any(_get(entry, "type") == STRATEGY for entry in entries):
        raise UserError(f"no dataset of the recipe has type: {STRATEGY}, so no row would bring its log-probs")


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


def _get(entry: Any, name: str) -> Any:
    return entry.get(name) if hasattr(entry, "get") else getattr(entry, name, None)
