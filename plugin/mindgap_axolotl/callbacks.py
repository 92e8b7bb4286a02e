"""Alarms: a warning with a remedy when the logged numbers say that the weights or the run go wrong."""

from pathlib import Path
from typing import Any

from axolotl.utils.logging import get_logger
from transformers import TrainerCallback

from mindgap_axolotl.args import AlarmOptions
from mindgap_data.checks.noise import noise_findings
from mindgap_data.checks.training import TrainingLog, TrainingWatch
from mindgap_data.gap.noise import read_noise
from mindgap_data.importance import Level

LOG = get_logger(__name__)


class AlarmCallback(TrainerCallback):
    """Looks at every training log; warns once as an alarm starts, and stops the run if the recipe says so.

    The rules and their thresholds are those of ``mindgap-data report``: ``mindgap_data.checks``.
    """

    def __init__(self, options: AlarmOptions, level: Level = "token") -> None:
        """Start watching.

        Raises:
            UserError: ``options.noise`` is not a file of `mindgap-data noise`.
        """
        self.options = options
        self.level = level
        self.noise = read_noise(Path(options.noise)) if options.noise else None
        self.watch = TrainingWatch(options, None if self.noise is None else self.noise.ess[level])
        self.lasting: dict[str, int] = {}  # alarm -> logs in a row it has been on

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Name a level whose weights rounding alone spoils."""
        if self.noise is not None:
            for finding in noise_findings(self.noise, self.level, self.options):
                LOG.warning(f"mindgap: {finding.in_words}")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Judge one log."""
        if not logs or "loss" not in logs:
            return
        findings = self.watch.see(TrainingLog.of(state.global_step, logs))
        for finding in findings:
            if finding.rule not in self.lasting:
                LOG.warning(f"mindgap, step {state.global_step}: {finding.in_words}")
        self.lasting = {finding.rule: self.lasting.get(finding.rule, 0) + 1 for finding in findings}
        longest = max(self.lasting, key=lambda name: self.lasting[name], default=None)
        if self.options.stop and longest is not None and self.lasting[longest] >= self.options.patience:
            LOG.warning(
                f"mindgap, step {state.global_step}: stopping, since the alarm {longest} has lasted "
                f"{self.lasting[longest]} logs (mindgap.alarms.stop)"
            )
            control.should_save = True
            control.should_training_stop = True
