"""The plugin as Axolotl sees it: each hook says which part of the package does the work."""

from typing import Any

from axolotl.integrations.base import BasePlugin, PluginManager
from axolotl.utils.logging import get_logger

from mindgap_axolotl import checks, fingerprint
from mindgap_axolotl.args import options_of
from mindgap_axolotl.launch import quiet_worker
from mindgap_data.errors import UserError

LOG = get_logger(__name__)


class MindGapPlugin(BasePlugin):
    """Importance-weighted supervised fine-tuning on rows written by mindgap-data."""

    def register(self, cfg: dict) -> None:
        """Refuse what cannot work, and let the prepared-dataset cache notice changed files and options."""
        quiet_worker()
        checks.check_version()
        checks.check_config(cfg)
        fingerprint.note_changes(cfg)

    def get_input_args(self) -> str:
        """The ``mindgap:`` block."""
        return "mindgap_axolotl.args.MindGapArgs"

    def get_training_args_mixin(self) -> str:
        """Its place in the training arguments."""
        return "mindgap_axolotl.args.MindGapTrainingArgsMixin"

    def get_training_args(self, cfg: Any) -> dict[str, Any]:
        """The checked block for the trainer, and one denominator for all ranks, which Axolotl turns off."""
        return {"mindgap": options_of(cfg).model_dump(), "average_tokens_across_devices": True}

    def load_datasets(self, cfg: Any, preprocess: bool = False) -> None:
        """Look again at the validated recipe before anything is prepared; Axolotl loads the data itself."""
        checks.check_config(cfg)
        checks.check_plugins(cfg, PluginManager.get_instance().plugins, self)

    def pre_model_load(self, cfg: Any) -> None:
        """Once more, for programs that load data without asking plugins; and say what has no effect."""
        checks.check_config(cfg)
        checks.check_plugins(cfg, PluginManager.get_instance().plugins, self)
        checks.say_what_is_bypassed(cfg)

    def get_trainer_cls(self, cfg: Any) -> type:
        """The trainer with the weighted loss."""
        from mindgap_axolotl.trainer import MindGapTrainer

        return MindGapTrainer

    def get_collator_cls_and_kwargs(self, cfg: Any, is_eval: bool = False) -> tuple[type, dict[str, Any]]:
        """The stock collator this run would use, with the log-prob columns padded or packed beside."""
        from mindgap_axolotl.collators import collator_for, collator_kwargs

        return collator_for(cfg, is_eval), collator_kwargs(cfg, is_eval)

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        """Make sure that the weighted loss is what will be trained."""
        from mindgap_axolotl.trainer import MindGapTrainer

        if not isinstance(trainer, MindGapTrainer):
            raise UserError(
                f"the run would train with {type(trainer).__name__}, without importance weights; "
                "remove what replaces the trainer, or the mindgap plugin"
            )

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[Any]:
        """The alarms, and what refreshes the rows."""
        from mindgap_axolotl.callbacks import AlarmCallback

        options = options_of(cfg)
        callbacks: list[Any] = [AlarmCallback(options.alarms, options.level)]
        if options.refresh is not None:
            from mindgap_axolotl.chat_template import encoder_of
            from mindgap_axolotl.refresh import refresh_callback

            entry = next(one for one in cfg.datasets if one["type"] == checks.STRATEGY)
            encoder = encoder_of(trainer.processing_class, cfg, entry)
            callbacks.append(refresh_callback(trainer, encoder, options.refresh, cfg.mindgap_fingerprint))
        return callbacks
