"""Histograms of a report, over all rows of the file, by tier."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mindgap_data.gap.sums import BIN_EDGES, SIDES, RowSums
from mindgap_data.record import TIERS
from mindgap_data.report.browser import RowCollection
from mindgap_data.statistics import Floats

_BINS = 40
_SCATTER_POINTS = 1500


@dataclass(frozen=True)
class Histogram:
    """Counts of one or more series over shared bins, by tier."""

    edges: list[float]  # [bins + 1]; the end bins also hold what lies beyond them
    series: dict[str, list[list[int]]]  # name -> [tiers][bins]

    def as_dict(self) -> dict[str, Any]:
        """For the page."""
        return {"edges": [float(f"{edge:.6g}") for edge in self.edges], "series": self.series}


def histograms(sums: RowSums, collection: RowCollection) -> dict[str, Histogram]:
    """Every histogram of the page by name."""
    nll = {side: _per_token(sums, side) for side in ("expert", "chosen")}
    tokens = {"expert": _or_nan(sums.sides["before"]["tokens"]), "chosen": sums.sides["after_dft"]["tokens"]}
    rewritten = np.where(sums.tier == TIERS.index("expert"), np.nan, np.array(collection.overlap))
    return {
        "nll": _histogram(nll, sums.tier, _bottom(nll), _top(nll)),
        "tokens": _histogram(tokens, sums.tier, 0.0, _top(tokens)),
        "pass_rate": _histogram({"pass rate": np.array(collection.pass_rate)}, sums.tier, 0.0, 1.0, bins=10),
        "overlap": _histogram({"overlap": rewritten}, sums.tier, 0.0, 1.0, bins=20),
        "weights": Histogram(
            BIN_EDGES.tolist(), {side: sums.histogram[index].tolist() for index, side in enumerate(SIDES)}
        ),
    }


def scatter(sums: RowSums, seed: int) -> list[list[float]]:
    """[tier, expert NLL/token, chosen NLL/token] of at most 1,500 paired rows, drawn evenly."""
    expert, chosen = _per_token(sums, "expert"), _per_token(sums, "chosen")
    paired = np.flatnonzero(np.isfinite(expert))
    if len(paired) > _SCATTER_POINTS:
        paired = np.sort(np.random.default_rng(seed).choice(paired, _SCATTER_POINTS, replace=False))
    return [[int(sums.tier[i]), round(float(expert[i]), 4), round(float(chosen[i]), 4)] for i in paired]


def _per_token(sums: RowSums, side: str) -> Floats:
    """NLL per token by row [N], NaN for rows without log-probs of that side."""
    tokens = sums.sides["before" if side == "expert" else "after_dft"]["tokens"]
    values: Floats = sums.nll[side] / _or_nan(tokens)
    return values


def _or_nan(tokens: Floats) -> Floats:
    values: Floats = np.where(tokens > 0, tokens, np.nan)
    return values


def _top(series: dict[str, Floats]) -> float:
    """An upper edge that leaves out the last half per cent, which goes to the last bin."""
    values = np.concatenate([value[np.isfinite(value)] for value in series.values()])
    return float(np.quantile(values, 0.995)) * 1.05 + 1e-6


def _bottom(series: dict[str, Floats]) -> float:
    """A lower edge: 0, unless that would leave half of the picture empty."""
    values = np.concatenate([value[np.isfinite(value)] for value in series.values()])
    low = float(np.quantile(values, 0.005)) * 0.95
    return low if low > _top(series) / 2 else 0.0


def _histogram(
    series: dict[str, Floats], tier: npt.NDArray[np.int8], low: float, high: float, bins: int = _BINS
) -> Histogram:
    edges = np.linspace(low, high, bins + 1)
    counts = {}
    for name, values in series.items():
        codes = np.floor((values - low) / (high - low) * bins)
        counts[name] = [
            np.bincount(
                codes[np.isfinite(codes) & (tier == index)].clip(0, bins - 1).astype(np.int64), minlength=bins
            ).tolist()
            for index in range(len(TIERS))
        ]
    return Histogram(edges.tolist(), counts)
