"""Axolotl's trainer with the importance-weighted loss."""

from typing import Any

import torch
from axolotl.core.trainers.base import AxolotlTrainer
from torch import Tensor
from transformers import Trainer, TrainerCallback

from mindgap_axolotl.args import MindGapOptions
from mindgap_axolotl.collators import BATCH_COLUMNS
from mindgap_axolotl.forward import MicroBatch, teach_loss
from mindgap_axolotl.metrics import WeightMetrics
from mindgap_axolotl.refresh import Staleness
from mindgap_data.errors import UserError


class PlainLossLog(Trainer):
    """Stands behind AxolotlTrainer: takes back its ``ppl``, since exp(weighted loss) is no perplexity.

    (``eval_ppl`` stays: the evaluation loss is the plain NLL.)
    """

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log without ``ppl``."""
        logs.pop("ppl", None)
        super().log(logs, *args, **kwargs)


class WeightedLossMixin(Trainer):
    """Stands before AxolotlTrainer: the loss, its normalisation and its metrics."""

    args: Any  # AxolotlTrainingArguments, with MindGapTrainingArgsMixin in them

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.options = MindGapOptions.model_validate(self.args.mindgap or {})
        if self.compute_loss_func is not None:
            raise UserError(
                f"the recipe brings a loss of its own ({_name_of(self.compute_loss_func)}), and so does mindgap; keep "
                "one of them"
            )
        if self.args.n_gpu > 1:
            raise UserError(
                "several GPUs in one process (torch DataParallel) are not supported; "
                "start with: axolotl train (accelerate), one process a GPU"
            )
        # The loss divides by the trained tokens of the global batch, so the trainer must hand them over.
        self.model_accepts_loss_kwargs = True
        teach_loss(self.model, self.options)
        self.train_metrics = WeightMetrics(self.options)
        self.eval_metrics = WeightMetrics(self.options)
        self.staleness = Staleness()
        self._window = BatchWeights(self.args.device)
        self.add_callback(_Restart(self._window, self.train_metrics))

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        known: list[str] = self._signature_columns or []
        self._signature_columns: Any = [*known, *(name for name in BATCH_COLUMNS if name not in known)]

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The weighted loss in training, the plain NLL in evaluation."""
        inputs = dict(inputs)
        if model.training and self.options.refresh is not None:
            self.staleness.add(inputs["drawn_at"], inputs["labels"], self.state.global_step)
        batch = MicroBatch(
            inputs["labels"], {name: inputs.pop(name) for name in BATCH_COLUMNS}, denominator=num_items_in_batch
        )
        inputs["mindgap"] = batch
        result = super().compute_loss(
            model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch
        )
        assert batch.output is not None, "the model's forward did not see the micro-batch"
        (self.train_metrics if model.training else self.eval_metrics).add(batch.output, batch.fields)
        if model.training and self.options.normalize == "batch":
            self._window.add(batch.output.weights)
        return result

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """One micro-batch; after the last of a step, ``normalize: batch`` rescales what has been accumulated."""
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        if self.options.normalize != "batch":
            return loss
        return self._window.normalise(loss, model, self.accelerator)

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
        """Add the weight metrics of all ranks to what an evaluation finds, under the evaluation's own prefix."""
        self.eval_metrics.reset()
        output: Any = super().evaluation_loop(*args, **{**kwargs, "metric_key_prefix": metric_key_prefix})
        output.metrics.update(self.eval_metrics.take(self._gather, self.args.device, prefix=f"{metric_key_prefix}_"))
        return output

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the weight metrics of all ranks to a training log."""
        if "loss" in logs:
            logs.update(self.train_metrics.take(self._gather, self.args.device))
            if self.options.refresh is not None:
                logs.update(self.staleness.take(self._gather, self.args.device))
        super().log(logs, start_time)

    def _gather(self, values: Tensor) -> Tensor:
        if self.accelerator.num_processes == 1:
            return values
        gathered: Tensor = self.accelerator.gather(values)
        return gathered


class BatchWeights:
    """Self-normalisation over the global batch: the loss by sum of weights instead of by trained tokens.

    The gradient is linear in 1 / denominator, so the accumulated one is multiplied by T / W once W, the sum of
    weights over accumulation steps and ranks, is known: after the last backward, before clipping.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.reset()

    def reset(self) -> None:
        """Start a step."""
        self.tokens_and_weights = torch.zeros(2, dtype=torch.float32, device=self.device)
        self.loss = torch.zeros((), dtype=torch.float32, device=self.device)

    def add(self, weights: Tensor) -> None:
        """Count the weights of one micro-batch, floats [N]."""
        self.tokens_and_weights[0] += weights.numel()
        self.tokens_and_weights[1] += weights.sum()

    def normalise(self, loss: Tensor, model: Any, accelerator: Any) -> Tensor:
        """The micro-batch's share of the logged loss; on the last of a step, the gradients are rescaled as well."""
        before, self.loss = self.loss, self.loss + loss
        if not accelerator.sync_gradients:
            return loss
        tokens, weights = accelerator.reduce(self.tokens_and_weights, "sum")
        scale = torch.where(weights > 0, tokens / weights, 0.0)
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(scale)
        normalised = self.loss * scale - before
        self.reset()
        return normalised


class _Restart(TrainerCallback):
    """Forgets what an attempt left that ran out of memory half-way (``auto_find_batch_size``)."""

    def __init__(self, window: BatchWeights, metrics: WeightMetrics) -> None:
        self.window, self.metrics = window, metrics

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.window.reset()
        self.metrics.reset()


def _name_of(function: Any) -> str:
    return str(getattr(getattr(function, "func", function), "__name__", type(function).__name__))


class MindGapTrainer(WeightedLossMixin, AxolotlTrainer, PlainLossLog):
    """AxolotlTrainer between the two."""
