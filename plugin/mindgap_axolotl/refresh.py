"""Refreshing while training: publishes the adapter every few steps, and keeps training from outrunning the worker."""

import time
from pathlib import Path
from typing import Any

import torch
from axolotl.utils.logging import get_logger
from torch import Tensor
from transformers import TrainerCallback

from mindgap_axolotl.args import RefreshOptions
from mindgap_axolotl.encode import RowEncoder
from mindgap_axolotl.refreshed import RefreshedRows
from mindgap_data.refresh.folder import RefreshFolder, TrainingRun
from mindgap_data.refresh.pacing import awaited_step

LOG = get_logger(__name__)

POLL_SECONDS = 0.5


def refresh_callback(trainer: Any, encoder: RowEncoder, options: RefreshOptions, data: str) -> "RefreshCallback":
    """Put a data set that is refreshed into ``trainer``, and return the callback that goes with it.

    Args:
        trainer: built, and not yet training.
        encoder: of the recipe's strategy.
        options: the ``mindgap.refresh`` block.
        data: fingerprint of the data files.
    """
    folder = RefreshFolder(Path(options.folder))
    rows = trainer.train_dataset = RefreshedRows(trainer.train_dataset, folder, encoder)
    run = TrainingRun(
        base_model=encoder.run.model,
        adapter=encoder.run.adapter,
        tokenizer=encoder.run.tokenizer,
        chat_template=encoder.run.chat_template,
        sequence_len=encoder.run.sequence_len,
        data=data,
        rows=rows.ids,
    )
    return RefreshCallback(trainer, folder, rows, run, options)


class RefreshCallback(TrainerCallback):
    """After every step: publishes the adapter if it is time, takes in new rows, and waits where rows are too old.

    Every rank looks at the folder, which all of them see; the first one alone writes to it.
    """

    def __init__(
        self, trainer: Any, folder: RefreshFolder, rows: RefreshedRows, run: TrainingRun, options: RefreshOptions
    ) -> None:
        self.trainer, self.folder, self.rows, self.run, self.options = trainer, folder, rows, run, options
        self._claimed = False
        self._waits = True  # until it has been in vain
        self._warned = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Claim the folder; after a resume, take in what is there.

        Raises:
            UserError: the folder is another run's.
        """
        if state.is_world_process_zero:
            self.folder.claim(self.run, resumes=self._claimed or state.global_step > 0)
        self._claimed = True
        self.rows.take_in()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Publish, take in, wait; see the class."""
        step: int = state.global_step
        if step % self.options.every == 0:
            self._publish(step, state.is_world_process_zero)
        if self.rows.take_in():
            self._waits = True
        if step < state.max_steps and not control.should_training_stop:
            self._wait(step)
            self._warn_of_staleness(step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Let the worker go."""
        if state.is_world_process_zero:
            self.folder.finish()

    def _publish(self, step: int, writes: bool) -> None:
        model = self.trainer.accelerator.unwrap_model(self.trainer.model, keep_torch_compile=False)
        weights = adapter_weights(model)  # of all ranks together
        if not writes:
            return
        if self.folder.publish(step, lambda folder: save_adapter(model, weights, folder)):
            LOG.info(f"mindgap.refresh: {self.folder.adapter(step)} published")
        else:
            LOG.info(
                f"mindgap.refresh: {self.folder.adapter(step)} is there already, of the run before this one resumed"
            )

    def _wait(self, step: int) -> None:
        """Wait until no row is too old, as long as rows come."""
        if not self._waits or not self._behind(step):
            return
        LOG.info(f"mindgap.refresh, step {step}: waiting for rows, since the oldest are of step {self.rows.last_tried}")
        last = time.monotonic()
        while self._behind(step):
            if time.monotonic() - last > self.options.wait:
                self._waits = False
                return
            time.sleep(POLL_SECONDS)
            if self.rows.take_in():
                last = time.monotonic()

    def _behind(self, step: int) -> bool:
        newest = max(self.folder.versions(), default=0)
        return self.rows.last_tried < awaited_step(step, self.options.max_staleness, newest)

    def _warn_of_staleness(self, step: int) -> None:
        """Say once, as long as it lasts, that rows are staler than allowed, and what it does."""
        too_old = step + 1 - self.rows.last_tried > self.options.max_staleness
        if too_old and not self._warned:
            why = (
                f"no newer adapter could be used, see {self.folder.path / 'adapters'}/*.skipped"
                if self._waits
                else f"no rows came for {self.options.wait:g} s; start `mindgap-data refresh` with --folder "
                f"{self.folder.path} again"
            )
            LOG.warning(
                f"mindgap.refresh, step {step}: rows are staler than max_staleness: {self.options.max_staleness}: some "
                f"were drawn at step {self.rows.last_tried} ({why}). Training goes on with them: the further the "
                "policy moves from what drew them, the more their importance weights spread, so ESS/N falls, and the "
                "more of them the clip changes, which biases the gradient"
            )
        self._warned = too_old


def adapter_weights(model: Any) -> dict[str, Tensor]:
    """The adapter's weights by the names they have in PEFT's file, whole, on the CPU. Every rank must call it."""
    from peft import get_peft_model_state_dict

    return {name: _whole(tensor) for name, tensor in get_peft_model_state_dict(model).items()}


def save_adapter(model: Any, weights: dict[str, Tensor], folder: Path) -> None:
    """Write an adapter as PEFT does, without anything else."""
    from copy import copy

    from safetensors.torch import save_file

    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = copy(model.peft_config[model.active_adapter])
    config.inference_mode = True
    config.save_pretrained(folder)


def _whole(tensor: Tensor) -> Tensor:
    from torch.distributed.tensor import DTensor

    whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return whole.detach().to("cpu", copy=True).contiguous()


class Staleness:
    """How many steps lie between the policy that drew a token and the step it is trained at, since the last log."""

    def __init__(self) -> None:
        self._seen: list[Tensor] = []  # [sum, count, max] of each micro-batch, on its device

    def add(self, drawn_at: Tensor, labels: Tensor, step: int) -> None:
        """Count the trained tokens of a micro-batch.

        Args:
            drawn_at: int64 [B, L], steps the drawing policy had been trained for.
            labels: int64 [B, L], -100 where not trained.
            step: optimizer steps the policy has been trained for.
        """
        # A row of an attempt that a resume has undone may be of a later step than this one.
        steps = torch.where(labels != -100, (step - drawn_at).clamp(min=0), 0).double()
        self._seen.append(torch.stack([steps.sum(), (labels != -100).sum().double(), steps.max()]))

    def take(self, gather: Any, device: Any) -> dict[str, float]:
        """Mean and maximum over the trained tokens of all ranks, and start anew."""
        seen = torch.stack(self._seen) if self._seen else torch.zeros(1, 3, dtype=torch.float64)
        self._seen = []
        ours = torch.stack([seen[:, 0].sum(), seen[:, 1].sum(), seen[:, 2].max()]).to(device)
        ranks = gather(ours[None]).cpu()
        count = float(ranks[:, 1].sum())
        if not count:
            return {}
        mean, largest = float(ranks[:, 0].sum()) / count, float(ranks[:, 2].max())
        return {"mindgap/staleness/mean": mean, "mindgap/staleness/max": largest}
