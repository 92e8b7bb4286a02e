"""How the responses of each tier are written: length, formulae, marks of doubt, against the self tier of the same file.

A full solution as a hint suppresses a model's own checking and costs reasoning models accuracy (arXiv 2603.24472):
the guided tier should read like the self tier.
"""

import re
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mindgap_data.checks.finding import Finding
from mindgap_data.checks.thresholds import MIN_ROWS, STYLE_RATIO
from mindgap_data.record import TIERS
from mindgap_data.rewrite.leaks import words
from mindgap_data.statistics import RESAMPLES, Floats, Interval, bootstrap_sums, percentile_interval

# No repetition is unbounded, so that time is linear in the text, whoever wrote it.
# Doubt and self-correction, compared in lower case. "Wait" and "actually" only where they interrupt:
# "Wait, 7 is odd", but not "they wait 5 minutes".
_PHRASES = (
    r"(?:^|[.!?:;)\n]\s{0,3})(?:but |oh |no,? )?(?:wait|actually)\b",
    r"\b(?:wait|actually)[,!?…]",
    r"\b(?:hmm+|hold on|alternatively|scratch that|on second thoughts?|try again)\b",
    r"\b(?:let me|let us|let's|i should|i will|i'll) (?:\w{1,20} )?(?:check|verify|double[- ]check)",
    r"\b(?:reconsider|recheck|recalculate|rethink)\b",
    r"\b(?:double|cross)[- ]check",
    r"\bi (?:think i )?(?:made|have made) (?:a|an) (?:mistake|error)\b",
    r"\b(?:that|this)(?:'s| is| was) (?:not right|wrong)\b",
    r"\b(?:can't be|cannot be|doesn't look|doesn't seem) right\b",
    r"\b(?:i'm|i am) not (?:sure|certain)\b",
    r"\bis (?:that|this) (?:right|correct)\?",
    "等等|等一下|让我(?:检查|验证|重新)|再检查|不对",
)
_DOUBT = re.compile("|".join(f"(?:{phrase})" for phrase in _PHRASES))
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'"})
# LaTeX mathematics, and equations in plain text: "3 + 4 = 7".
_LATEX = re.compile(
    r"\$\$[^$]{1,2000}\$\$|\$[^$\n]{1,500}\$|\\\[(?:(?!\\\[).){1,2000}?\\\]|\\\((?:(?!\\\().){1,500}?\\\)", re.DOTALL
)
_EQUATION = re.compile(r"[\w)\]}%]\s?=\s?[-+\w(\[{\\$€£]")

MEASURES = ("words", "doubt", "formulae")
_TITLES = {"words": "words per response", "doubt": "marks of doubt", "formulae": "formulae"}


@dataclass(frozen=True)
class ResponseStyle:
    """Counts in one response."""

    words: int
    doubt: int  # marks of doubt and self-correction
    formulae: int


@dataclass(frozen=True)
class TierStyle:
    """How the responses of a tier are written, and how that compares with the self tier."""

    rows: int
    words: Interval  # mean per response
    doubt: Interval  # per 1,000 words
    formulae: Interval  # per 1,000 words
    against_self: (
        Mapping[str, Interval] | None
    )  # measure -> its ratio to the self tier's; None for the self tier itself

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        ratios = self.against_self
        return {
            "rows": self.rows,
            **{name: getattr(self, name).as_dict() for name in MEASURES},
            "against_self": None if ratios is None else {name: ratio.as_dict() for name, ratio in ratios.items()},
        }


def response_style(text: str) -> ResponseStyle:
    """Words, marks of doubt and formulae of a response."""
    rest, latex = _LATEX.subn(" ", text)
    doubt = len(_DOUBT.findall(text.lower().translate(_APOSTROPHES)))
    return ResponseStyle(len(words(text)), doubt, latex + len(_EQUATION.findall(rest)))


class StyleTally:
    """The styles of a file's responses by tier, a few bytes a row."""

    def __init__(self) -> None:
        self._columns: dict[str, dict[str, array[int]]] = {
            tier: {name: array("L") for name in MEASURES} for tier in TIERS
        }

    def add(self, tier: str, style: ResponseStyle) -> None:
        """Count one response in."""
        for name, column in self._columns[tier].items():
            column.append(getattr(style, name))

    def by_tier(self, resamples: int = RESAMPLES) -> dict[str, TierStyle]:
        """Every tier that has rows; intervals resample its rows."""
        tables: dict[str, Floats] = {tier: self._table(tier) for tier in TIERS if self._columns[tier]["words"]}
        sums: dict[str, _Sums] = {
            tier: (table.sum(axis=0), bootstrap_sums(table, resamples, seed))
            for seed, (tier, table) in enumerate(tables.items())
        }
        return {tier: _tier_style(tier, sums) for tier in tables}

    def _table(self, tier: str) -> Floats:
        """[rows, 4]: 1, words, doubt, formulae."""
        columns = [np.array(self._columns[tier][name], dtype=np.float64) for name in MEASURES]
        return np.stack([np.ones_like(columns[0]), *columns], axis=1)


def style_findings(styles: Mapping[str, TierStyle]) -> Iterator[Finding]:
    """Where the guided tier is written unlike the self tier."""
    guided, own = styles.get("guided"), styles.get("self")
    if guided is None or own is None or min(guided.rows, own.rows) < MIN_ROWS or guided.against_self is None:
        return
    for name, ratio in guided.against_self.items():
        fewer, more = (
            ratio.high < 1 and ratio.estimate < 1 / STYLE_RATIO,
            ratio.low > 1 and ratio.estimate > STYLE_RATIO,
        )
        # More doubt than unaided is no sign of a hint followed blindly.
        if fewer or (more and name != "doubt"):
            mine, theirs = getattr(guided, name).estimate, getattr(own, name).estimate
            unit = "" if name == "words" else " per 1,000 words"
            interval = f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
            yield Finding(
                f"style.{name}",
                "warn",
                f"Guided responses have {'fewer' if fewer else 'more'} {_TITLES[name]} than the model's own",
                f"{mine:.3g} against {theirs:.3g}{unit}, a ratio of {interval}",
                "The solution in the prompt shows through. Give smaller hints, ask for the model's own way in "
                "--guided-template, or draw more often in the self stage.",
            )


_Sums = tuple[Floats, Floats]  # on the data [4], on resamples [R, 4]
_STATISTICS: dict[str, Callable[[Floats], Any]] = {
    "words": lambda sums: sums[..., 1] / sums[..., 0],
    "doubt": lambda sums: 1000 * sums[..., 2] / sums[..., 1],
    "formulae": lambda sums: 1000 * sums[..., 3] / sums[..., 1],
}


def _tier_style(tier: str, sums: Mapping[str, _Sums]) -> TierStyle:
    data, draws = sums[tier]
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {name: percentile_interval(of(data), of(draws)) for name, of in _STATISTICS.items()}
        ratios = None
        if tier != "self" and "self" in sums:
            own, own_draws = sums["self"]
            ratios = {
                name: percentile_interval(of(data) / of(own), of(draws) / of(own_draws))
                for name, of in _STATISTICS.items()
            }
    return TierStyle(int(data[0]), **values, against_self=ratios)
