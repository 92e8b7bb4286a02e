"""The gap's figures from per-row sums, each with a bootstrap interval over rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mindgap_data.gap.sums import SIDES, RowSums, changed_by_clip
from mindgap_data.importance import Clip, Level, WeightSums
from mindgap_data.record import TIERS
from mindgap_data.statistics import CONFIDENCE, RESAMPLES, Floats, Interval, bootstrap_sums, percentile_interval

LEVELS: tuple[Level, ...] = ("token", "sequence", "geometric")
GROUPS = (*TIERS, "all")

_WEIGHT_COLUMNS = ("count", "sum", "sum_squares", "clipped")


@dataclass(frozen=True)
class Settings:
    """What the figures depend on besides the data."""

    clip: Clip = "truncate"
    clip_max: float = 2.0
    confidence: float = CONFIDENCE
    resamples: int = RESAMPLES
    seed: int = 0


@dataclass(frozen=True)
class TextFigures:
    """How likely the policy finds one side's text."""

    rows: int
    tokens: int
    nll: Interval  # nats per token, pooled over tokens: what training minimises
    probability: Interval  # geometric mean per token, exp(-nll)
    perplexity: Interval  # exp(nll)


@dataclass(frozen=True)
class WeightFigures:
    """Raw (unclipped) weights of one side at one level."""

    count: int
    ess_fraction: Interval  # (sum w)^2 / (N sum w^2)
    mean: Interval
    variance: Interval
    chi_square: Interval  # N sum w^2 / (sum w)^2 - 1, which estimates chi^2(pi || mu) where w = pi / mu
    clipped_share: Interval
    max: float


@dataclass(frozen=True)
class KLFigures:
    """KL(mu || pi) per token on chosen responses whose behaviour policy is known (Schulman 2020)."""

    k1: Interval
    k2: Interval
    k3: Interval


@dataclass(frozen=True)
class ShiftFigures:
    """A mean difference of two log-probs of the same tokens."""

    per_token: Interval
    per_response: Interval


@dataclass(frozen=True)
class GapFigures:
    """The gap of one tier, or of all rows."""

    rows: int
    paired: int  # rows whose expert text has log-probs
    before: TextFigures | None  # the expert's text; None when no row of the tier is paired
    after: TextFigures  # the chosen response
    difference: Interval | None  # NLL per token, chosen - expert, mean over paired problems
    closer: Interval | None  # share of paired problems whose chosen response has the lower NLL per token
    weights: dict[str, dict[str, WeightFigures]]  # side -> level; a side without rows is missing
    kl: KLFigures | None  # None when no behaviour policy is known
    prompt_gap: ShiftFigures | None  # recorded policy (plain prompt) - behaviour; guided rows only
    drift: ShiftFigures  # measured - recorded policy on the chosen response; 0 unless rescored


def gap_figures(sums: RowSums, settings: Settings) -> dict[str, GapFigures | None]:
    """GapFigures by tier and for "all"; None for a tier without rows."""
    return {
        group: _group_figures(_rows_of(sums, None if group == "all" else TIERS.index(group)), settings)
        for group in GROUPS
    }


def as_json(value: Any) -> Any:
    """GapFigures as plain JSON values: NaN and infinities become null."""
    if isinstance(value, Interval):
        return value.as_dict()
    if is_dataclass(value):
        return {field.name: as_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value


class _Bootstrap:
    """Named per-row columns [n], summed on the data and on shared resamples."""

    def __init__(self, columns: Mapping[str, Floats], settings: Settings) -> None:
        self.settings = settings
        table = np.stack(list(columns.values()), axis=1)
        self._point = dict(zip(columns, table.sum(axis=0), strict=True))
        draws = bootstrap_sums(table, settings.resamples, settings.seed)
        self._draws = dict(zip(columns, draws.T, strict=True))

    def interval(self, statistic: Callable[[Mapping[str, Any]], Any]) -> Interval:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return percentile_interval(statistic(self._point), statistic(self._draws), self.settings.confidence)

    def total(self, name: str) -> int:
        return int(self._point[name])


def _rows_of(sums: RowSums, tier: int | None) -> RowSums:
    keep = np.ones(len(sums.tier), dtype=bool) if tier is None else sums.tier == tier
    return RowSums(
        tier=sums.tier[keep],
        sides={side: table[keep] for side, table in sums.sides.items()},
        known_behavior=sums.known_behavior[keep],
        k2=sums.k2[keep],
        k3=sums.k3[keep],
        prompt_gap=sums.prompt_gap[keep],
        drift=sums.drift[keep],
        histogram=sums.histogram,
    )


def _group_figures(sums: RowSums, settings: Settings) -> GapFigures | None:
    if len(sums.tier) == 0:
        return None
    weights = {
        (side, level): _LevelWeights.of(sums.sides[side], level, settings)
        for side in SIDES
        for level in LEVELS
        if sums.sides[side]["tokens"].any()
    }
    columns = _gap_columns(sums)
    for (side, level), level_weights in weights.items():
        columns |= {f"{side}/{level}/{name}": column for name, column in level_weights.columns.items()}
    bootstrap = _Bootstrap(columns, settings)
    paired = bootstrap.total("paired")
    figures: dict[str, dict[str, WeightFigures]] = {}
    for (side, level), level_weights in weights.items():
        figures.setdefault(side, {})[level] = level_weights.figures(bootstrap, f"{side}/{level}/")
    return GapFigures(
        rows=bootstrap.total("rows"),
        paired=paired,
        before=_text_figures(bootstrap, "expert", paired) if paired else None,
        after=_text_figures(bootstrap, "chosen", bootstrap.total("rows")),
        difference=bootstrap.interval(lambda s: s["difference"] / s["paired"]) if paired else None,
        closer=bootstrap.interval(lambda s: s["closer"] / s["paired"]) if paired else None,
        weights=figures,
        kl=_kl_figures(bootstrap) if sums.known_behavior.any() else None,
        prompt_gap=_shift_figures(bootstrap, "prompt_gap", "guided_") if bootstrap.total("guided_rows") else None,
        drift=_shift_figures(bootstrap, "drift", ""),
    )


def _gap_columns(sums: RowSums) -> dict[str, Floats]:
    """Columns [n] of everything but the weights."""
    expert, chosen = sums.sides["before"], sums.sides["after_dft"]
    paired = (expert["tokens"] > 0).astype(np.float64)
    difference = chosen["k1"] / chosen["tokens"] - expert["k1"] / np.maximum(expert["tokens"], 1)
    known = sums.known_behavior.astype(np.float64)
    guided = (sums.tier == TIERS.index("guided")).astype(np.float64)
    return {
        "rows": np.ones(len(sums.tier)),
        "tokens": chosen["tokens"],
        "chosen": chosen["k1"],
        "chosen_tokens": chosen["tokens"],
        "expert": expert["k1"],
        "expert_tokens": expert["tokens"],
        "paired": paired,
        "difference": difference * paired,
        "closer": (difference < 0) * paired,
        "known_tokens": chosen["tokens"] * known,
        "k1": sums.sides["after"]["k1"] * known,
        "k2": sums.k2 * known,
        "k3": sums.k3 * known,
        "guided_rows": guided,
        "guided_tokens": chosen["tokens"] * guided,
        "prompt_gap": sums.prompt_gap * guided,
        "drift": sums.drift,
    }


def _text_figures(bootstrap: _Bootstrap, side: str, rows: int) -> TextFigures:
    nll = bootstrap.interval(lambda s: s[side] / s[f"{side}_tokens"])
    return TextFigures(
        rows=rows,
        tokens=bootstrap.total(f"{side}_tokens"),
        nll=nll,
        # Quantiles commute with a monotone map, so both intervals follow from the NLL's.
        probability=_exp(-nll.estimate, -nll.high, -nll.low, nll.confidence),
        perplexity=_exp(nll.estimate, nll.low, nll.high, nll.confidence),
    )


def _exp(estimate: float, low: float, high: float, confidence: float) -> Interval:
    with np.errstate(over="ignore"):
        values = np.exp([estimate, low, high]).tolist()
    return Interval(values[0], values[1], values[2], confidence)


def _kl_figures(bootstrap: _Bootstrap) -> KLFigures:
    def mean(name: str) -> Interval:
        return bootstrap.interval(lambda s: s[name] / s["known_tokens"])

    return KLFigures(k1=mean("k1"), k2=mean("k2"), k3=mean("k3"))


def _shift_figures(bootstrap: _Bootstrap, name: str, group: str) -> ShiftFigures:
    return ShiftFigures(
        per_token=bootstrap.interval(lambda s: s[name] / s[f"{group}tokens"]),
        per_response=bootstrap.interval(lambda s: s[name] / s[f"{group}rows"]),
    )


@dataclass(frozen=True)
class _LevelWeights:
    """Weights of one side at one level as columns that add up over rows, scaled by the largest weight."""

    columns: dict[str, Floats]
    log_max: float

    @classmethod
    def of(cls, side: npt.NDArray[np.void], level: Level, settings: Settings) -> "_LevelWeights":
        present = side["tokens"] > 0
        if level == "token":
            count, log_sum, log_sum_squares = side["tokens"], side["log_sum"], side["log_sum_squares"]
            log_max, clipped = side["log_max"], side["clipped"]
        else:
            # sum_t l_t, or its mean: one weight a row, as in importance.level_log_weights.
            log_weight = -side["k1"] / (1.0 if level == "sequence" else np.maximum(side["tokens"], 1))
            count, log_sum, log_sum_squares, log_max = present * 1.0, log_weight, 2 * log_weight, log_weight
            clipped = changed_by_clip(log_weight, settings.clip, settings.clip_max) * present
        top = float(log_max[present].max())
        scaled = {"sum": log_sum - top, "sum_squares": log_sum_squares - 2 * top}
        columns = {name: np.exp(np.where(present, value, -np.inf)) for name, value in scaled.items()}
        return cls({"count": count, **columns, "clipped": clipped}, top)

    def figures(self, bootstrap: _Bootstrap, prefix: str) -> WeightFigures:
        def interval(read: Callable[[WeightSums], Any]) -> Interval:
            return bootstrap.interval(lambda s: read(self._weight_sums(s, prefix)))

        with np.errstate(over="ignore"):
            largest = float(np.exp(self.log_max))
        return WeightFigures(
            count=bootstrap.total(f"{prefix}count"),
            ess_fraction=interval(lambda w: w.ess_fraction),
            mean=interval(lambda w: w.mean),
            variance=interval(lambda w: w.variance),
            chi_square=interval(lambda w: 1 / w.ess_fraction - 1),
            clipped_share=interval(lambda w: w.clipped_share),
            max=largest,
        )

    def _weight_sums(self, sums: Mapping[str, Any], prefix: str) -> WeightSums:
        """The sums as importance.WeightSums; its KL sums are not read here."""
        count, total, squares, clipped = (np.asarray(sums[prefix + name]) for name in _WEIGHT_COLUMNS)
        nothing = np.full_like(count, np.nan)
        return WeightSums(
            count=count,
            log_sum=np.log(total) + self.log_max,
            log_sum_squares=np.log(squares) + 2 * self.log_max,
            log_max=nothing,
            clipped=clipped,
            k1_sum=nothing,
            k2_sum=nothing,
            k3_sum=nothing,
        )
