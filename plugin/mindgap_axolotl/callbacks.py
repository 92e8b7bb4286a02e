"""Alarms: a warning with a remedy when the logged numbers say that the weights or the run go wrong."""

from collections import deque
from collections.abc import Iterator
from statistics import median
from typing import Any

from axolotl.utils.logging import get_logger
from transformers import TrainerCallback

from mindgap_axolotl.args import AlarmOptions
from mindgap_data.record import TIERS

LOG = get_logger(__name__)
REWRITTEN = ("self", "guided")
MEMORY = 20  # logs that "usual" and "recent" are taken of
FEWEST = 5  # logs before anything is called unusual


class AlarmCallback(TrainerCallback):
    """Looks at every training log; warns once as an alarm starts, and stops the run if the recipe says so."""

    def __init__(self, options: AlarmOptions) -> None:
        self.options = options
        self.nlls: dict[str, deque[float]] = {tier: deque(maxlen=MEMORY) for tier in TIERS}
        self.lowest_nll: dict[str, float] = {}
        self.grad_norms: deque[float] = deque(maxlen=MEMORY)
        self.lasting: dict[str, int] = {}  # alarm -> logs in a row it has been on

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Judge one log."""
        if not logs or "loss" not in logs:
            return
        alarms = dict(self.alarms(logs))
        for name, message in alarms.items():
            if name not in self.lasting:
                LOG.warning(f"mindgap, step {state.global_step}: {message}")
        self.lasting = {name: self.lasting.get(name, 0) + 1 for name in alarms}
        longest = max(self.lasting, key=lambda name: self.lasting[name], default=None)
        if self.options.stop and longest is not None and self.lasting[longest] >= self.options.patience:
            LOG.warning(
                f"mindgap, step {state.global_step}: stopping, since the alarm {longest} has lasted "
                f"{self.lasting[longest]} logs (mindgap.alarms.stop)"
            )
            control.should_save = True
            control.should_training_stop = True

    def alarms(self, logs: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """(name, message) of every alarm these logs raise; remembers what later logs are compared with."""
        yield from self._weights(logs)
        yield from self._nll(logs)
        yield from self._grad_norm(logs)
        yield from self._tier_mix(logs)

    def _weights(self, logs: dict[str, Any]) -> Iterator[tuple[str, str]]:
        options = self.options
        for tier in REWRITTEN:
            ess, variance = logs.get(f"mindgap/{tier}/ess"), logs.get(f"mindgap/{tier}/weight_variance")
            if ess is not None and ess < options.ess_floor:
                yield (
                    f"ess_floor.{tier}",
                    f"ESS/N of {tier} rows is {ess:.3g}, below {options.ess_floor:g}: few tokens carry the gradient; "
                    "lower the learning rate, train fewer epochs, or rewrite again with the model as it is now",
                )
            if variance is not None and variance > options.weight_variance:
                yield (
                    f"weight_variance.{tier}",
                    f"weight variance of {tier} rows is {variance:.3g}, above {options.weight_variance:g}; use "
                    "level: token or geometric, clip: truncate, or rewrite again with the model as it is now",
                )

    def _nll(self, logs: dict[str, Any]) -> Iterator[tuple[str, str]]:
        # By tier and over several logs: the mix of tiers in a batch moves the NLL more than training does.
        for tier, recent in self.nlls.items():
            nll = logs.get(f"mindgap/{tier}/nll")
            if nll is None:
                continue
            recent.append(nll)
            if len(recent) < FEWEST:
                continue
            mean = sum(recent) / len(recent)
            lowest = self.lowest_nll[tier] = min(mean, self.lowest_nll.get(tier, mean))
            if mean > lowest + self.options.nll_rise:
                yield (
                    f"nll_rise.{tier}",
                    f"NLL of {tier} rows, mean of {len(recent)} logs, is {mean:.3g}, {mean - lowest:.3g} nats above "
                    f"its lowest ({lowest:.3g}): the weighted loss may fall while the model unlearns; lower the "
                    "learning rate or clip_max, or use normalize: batch",
                )

    def _grad_norm(self, logs: dict[str, Any]) -> Iterator[tuple[str, str]]:
        norm = logs.get("grad_norm")
        if norm is None:
            return
        factor = self.options.grad_norm_spike
        if len(self.grad_norms) >= FEWEST:
            usual = median(self.grad_norms)
            if norm > factor * usual > 0:
                yield (
                    "grad_norm_spike",
                    f"gradient norm is {norm:.3g}, {norm / usual:.3g} times the usual {usual:.3g}; set "
                    "max_grad_norm: 1, lower clip_max, or look at the rows of this step",
                )
        self.grad_norms.append(float(norm))

    def _tier_mix(self, logs: dict[str, Any]) -> Iterator[tuple[str, str]]:
        tokens = {tier: logs.get(f"mindgap/{tier}/tokens", 0) for tier in TIERS}
        rewritten, limit = tokens["self"] + tokens["guided"], self.options.expert_share
        if rewritten and tokens["expert"] > limit * (rewritten + tokens["expert"]):
            share = tokens["expert"] / (rewritten + tokens["expert"])
            yield (
                "expert_share",
                f"{share:.0%} of the trained tokens are expert text: the rewriting reached little; "
                "draw more --samples a stage, or weigh the tier down with tier_weights",
            )
