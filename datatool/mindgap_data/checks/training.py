"""Rules on a training run: the alarms while it trains, and the report's findings on its log afterwards."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from statistics import median
from typing import Any

from mindgap_data.checks.finding import Finding, worst_first
from mindgap_data.checks.shared import REWRITTEN, expert_share_findings, weight_findings
from mindgap_data.checks.thresholds import MIN_LOGS, TREND_LOGS, AlarmThresholds
from mindgap_data.record import TIERS


@dataclass(frozen=True)
class TierLog:
    """What was logged of one tier at one step; None where it was not."""

    ess: float | None = None  # ESS/N of the raw weights
    weight_variance: float | None = None
    clipped_share: float | None = None
    nll: float | None = None  # nats per token
    tokens: float = 0.0


@dataclass(frozen=True)
class TrainingLog:
    """What a trainer logged at one step."""

    step: int
    loss: float | None = None
    grad_norm: float | None = None
    tiers: Mapping[str, TierLog] = field(default_factory=dict)  # tier -> its figures

    @classmethod
    def of(cls, step: int, logs: Mapping[str, Any]) -> "TrainingLog":
        """From the trainer's own log, where a tier's figures stand as ``mindgap/<tier>/<name>``."""

        def tier_log(tier: str) -> TierLog:
            values = {name: _number(logs.get(f"mindgap/{tier}/{name}")) for name in TierLog.__dataclass_fields__}
            return TierLog(**{name: value for name, value in values.items() if value is not None})

        return cls(
            step,
            _number(logs.get("loss")),
            _number(logs.get("grad_norm")),
            {tier: tier_log(tier) for tier in TIERS},
        )


class TrainingWatch:
    """Judges a run log by log; remembers only what trends are measured against."""

    def __init__(self, limits: AlarmThresholds, noise_ess: float | None = None) -> None:
        """Start a run.

        Args:
            limits: the thresholds.
            noise_ess: the ESS/N that rounding alone leaves at the run's level, to be shown beside a low one.
        """
        self.limits = limits
        self.noise_ess = noise_ess
        self._nll = {tier: _Trend() for tier in TIERS}
        self._grad_norms: deque[float] = deque(maxlen=TREND_LOGS)
        self._tokens: deque[Mapping[str, float]] = deque(maxlen=TREND_LOGS)

    def see(self, log: TrainingLog) -> list[Finding]:
        """Everything that is wrong at this log, in the light of those before it."""
        return [
            *_not_finite(log),
            *self._weights(log),
            *self._nll_rise(log),
            *self._grad_norm_spike(log),
            *self._tier_mix(log),
        ]

    def _weights(self, log: TrainingLog) -> Iterator[Finding]:
        for tier in REWRITTEN:
            if (seen := log.tiers.get(tier)) is not None:
                yield from weight_findings(
                    tier, seen.ess, seen.weight_variance, seen.clipped_share, self.limits, self.noise_ess
                )

    def _nll_rise(self, log: TrainingLog) -> Iterator[Finding]:
        # By tier: the mix of tiers in a batch moves the NLL more than training does.
        for tier, trend in self._nll.items():
            seen = log.tiers.get(tier)
            if seen is None or seen.nll is None or not isfinite(seen.nll):
                continue
            now, lowest = trend.add(seen.nll)
            if now > lowest + self.limits.nll_rise:
                yield Finding(
                    f"nll_rise.{tier}",
                    "bad",
                    f"NLL rises in the {tier} tier",
                    f"the median of the last {TREND_LOGS} logs is {now:.3g} nats per token, {now - lowest:.2g} above "
                    f"its lowest, {lowest:.3g}",
                    "The weighted loss may fall while the model gets worse at its own data. Lower the learning rate or "
                    "clip_max, or use normalize: batch.",
                )

    def _grad_norm_spike(self, log: TrainingLog) -> Iterator[Finding]:
        norm = log.grad_norm
        if norm is None or not isfinite(norm):
            return
        usual = median(self._grad_norms) if len(self._grad_norms) >= MIN_LOGS else 0.0
        if norm > self.limits.grad_norm_spike * usual > 0:
            yield Finding(
                "grad_norm_spike",
                "warn",
                "The gradient norm spikes",
                f"{norm:.3g} is {norm / usual:.3g} times the usual {usual:.3g}",
                "Set max_grad_norm: 1.0, warm up longer or lower clip_max, and look at the rows of this step.",
            )
        self._grad_norms.append(norm)

    def _tier_mix(self, log: TrainingLog) -> Iterator[Finding]:
        self._tokens.append({tier: seen.tokens for tier, seen in log.tiers.items()})
        tokens = {tier: sum(seen.get(tier, 0.0) for seen in self._tokens) for tier in TIERS}
        # A run on expert text alone is a baseline, not a rewriting that failed.
        if len(self._tokens) >= MIN_LOGS and any(tokens[tier] for tier in REWRITTEN):
            yield from expert_share_findings(tokens["expert"], sum(tokens.values()), "trained tokens", self.limits)


def run_findings(logs: Iterable[TrainingLog], limits: AlarmThresholds | None = None) -> list[Finding]:
    """The alarms a run's log raises, each once with the step it began at, the worst first."""
    watch = TrainingWatch(limits or AlarmThresholds())
    first: dict[str, tuple[int, Finding]] = {}
    for log in logs:
        for finding in watch.see(log):
            first.setdefault(finding.rule, (log.step, finding))
    found = [replace(finding, detail=f"from step {step}: {finding.detail}") for step, finding in first.values()]
    return worst_first(found) or [
        Finding("steady", "good", "Training looks steady", "no alarm was raised at any step of the log", "")
    ]


class _Trend:
    """The median of recent values, and the lowest it has been."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=TREND_LOGS)
        self._lowest = float("inf")

    def add(self, value: float) -> tuple[float, float]:
        """(median of recent values, lowest median so far); equal until there are enough values for a trend."""
        self._recent.append(value)
        now = median(self._recent)
        if len(self._recent) < MIN_LOGS:
            return now, now
        self._lowest = min(now, self._lowest)
        return now, self._lowest


def _not_finite(log: TrainingLog) -> Iterator[Finding]:
    for name, value in (("loss", log.loss), ("grad_norm", log.grad_norm)):
        if value is not None and not isfinite(value):
            yield Finding(
                f"not_finite.{name}",
                "bad",
                f"{name} is not finite",
                f"it is {value}",
                "Lower the learning rate, use clip: truncate, and train in bfloat16 or float32 instead of float16.",
            )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
