"""Accuracy of an evaluation: mean over draws, pass@k, majority vote, what failed; with intervals over problems."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb, nan
from typing import Any

import numpy as np

from mindgap_data.statistics import Interval, mean_of_means, percentile_interval
from mindgap_data.verify.answers import find_answer
from mindgap_data.verify.math.closing import closing_number
from mindgap_data.verify.math.plain import parse_plain

# What can become of a draw. "failed": the engine could not draw, e.g. a prompt longer than the context.
OUTCOMES = ("correct", "wrong", "no_answer", "truncated", "checker_error", "failed")
_VOTES = ("correct", "wrong", "checker_error")

_SPACING = re.compile(r"\\left|\\right|\\[,;:! ]|\\text\s?\{ ?\}|[\s$]")
_SYNONYMS = (("\\dfrac", "\\frac"), ("\\tfrac", "\\frac"), ("\\cdot", "*"), ("\\times", "*"), ("^\\circ", ""))


@dataclass(frozen=True)
class Drawn:
    """One draw of a problem."""

    outcome: str  # one of OUTCOMES
    tokens: int
    vote: str | None  # its answer in normal form; None where it abstains

    @property
    def correct(self) -> bool:
        """Complete and verified correct."""
        return self.outcome == "correct"


@dataclass(frozen=True)
class ProblemResult:
    """The draws of one problem."""

    benchmark: str
    id: str
    draws: tuple[Drawn, ...]  # not empty

    @property
    def accuracy(self) -> float:
        """Share of draws that are correct."""
        return sum(draw.correct for draw in self.draws) / len(self.draws)

    @property
    def majority(self) -> float:
        """Whether the majority vote is right, see :func:`majority_vote`."""
        return majority_vote(self.draws)

    def pass_at(self, k: int) -> float:
        """Estimate of the chance that one of ``k`` draws is right, see :func:`pass_at_k`."""
        return pass_at_k(len(self.draws), sum(draw.correct for draw in self.draws), k)


@dataclass(frozen=True)
class BenchmarkFigures:
    """The figures of one benchmark, or the average of several."""

    name: str
    problems: int
    samples: int  # draws a problem
    accuracy: Interval
    pass_at: Mapping[int, Interval]
    majority: Interval
    shares: Mapping[str, float]  # of all draws, by outcome
    tokens: float  # mean a draw

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "problems": self.problems,
            "samples": self.samples,
            "accuracy": self.accuracy.as_dict(),
            "pass_at": {str(k): interval.as_dict() for k, interval in self.pass_at.items()},
            "majority": self.majority.as_dict(),
            "shares": dict(self.shares),
            "tokens": self.tokens,
        }


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased estimate of the chance that at least one of ``k`` draws is right: 1 - C(n-c, k) / C(n, k).

    Chen et al. 2021 (arXiv 2107.03374), eq. 1.

    Args:
        n: draws made, at least ``k``.
        c: how many of them are right.
        k: draws allowed, at least 1.
    """
    if not 1 <= k <= n or not 0 <= c <= n:
        raise ValueError(f"pass@k needs 1 <= k <= n and 0 <= c <= n, got n={n}, c={c}, k={k}")
    return 1 - comb(n - c, k) / comb(n, k)


def majority_vote(draws: Sequence[Drawn]) -> float:
    """Chance that the most frequent answer is right; 0 when no draw has one.

    Draws that are truncated or state no answer abstain. Of several answers with the most votes one
    is taken at random, so the chance is the mean over them. Where answers that read the same were
    judged differently, their share judged correct counts.
    """
    groups: dict[str, list[bool]] = defaultdict(list)
    for draw in draws:
        if draw.vote is not None and draw.outcome in _VOTES:
            groups[draw.vote].append(draw.correct)
    if not groups:
        return 0.0
    most = max(len(group) for group in groups.values())
    winners = [sum(group) / len(group) for group in groups.values() if len(group) == most]
    return sum(winners) / len(winners)


def answer_vote(text: str) -> str | None:
    """The answer a response states, in a form in which equal answers are mostly equal; None without one.

    Plain numbers are compared by value, whatever their notation and unit; other answers as text
    without LaTeX spacing. Two forms of one expression (x+1, 1+x) stay two answers.
    """
    found = find_answer(text)
    answer = found.text if found is not None else closing_number(text)
    if answer is None:
        return None
    number = parse_plain(answer)
    if number is not None:
        return str(number.value)
    for old, new in _SYNONYMS:
        answer = answer.replace(old, new)
    plain = _SPACING.sub("", answer).lower().strip(".")
    letter = re.fullmatch(r"\(?([a-z])\)", plain)
    return letter.group(1) if letter else plain


def ks_up_to(n: int) -> list[int]:
    """The k of pass@k that are shown for ``n`` draws: powers of two, and n."""
    return sorted({n, *(2**i for i in range(n.bit_length()) if 2**i <= n)})


def benchmark_figures(name: str, results: Sequence[ProblemResult]) -> BenchmarkFigures:
    """Figures of one benchmark; intervals resample its problems, each with all its draws (a cluster bootstrap)."""
    return _figures(name, [results])


def average_figures(groups: Sequence[Sequence[ProblemResult]]) -> BenchmarkFigures:
    """Mean of the benchmarks' figures, each benchmark with the same weight; problems are resampled within each."""
    return _figures("average", groups)


def _figures(name: str, groups: Sequence[Sequence[ProblemResult]]) -> BenchmarkFigures:
    samples = min(len(result.draws) for results in groups for result in results)
    shares = [_shares(results) for results in groups]

    def interval(value: Any) -> Interval:
        return percentile_interval(*mean_of_means([[value(result) for result in results] for results in groups]))

    return BenchmarkFigures(
        name=name,
        problems=sum(len(results) for results in groups),
        samples=samples,
        accuracy=interval(lambda result: result.accuracy),
        pass_at={k: interval(lambda result, k=k: result.pass_at(k)) for k in ks_up_to(samples)},
        # Nobody votes on code, say: then there is no majority to be right or wrong.
        majority=interval(lambda result: result.majority) if _anyone_votes(groups) else Interval(nan, nan, nan),
        shares={outcome: float(np.mean([share[outcome] for share in shares])) for outcome in OUTCOMES},
        tokens=float(np.mean([_mean(draw.tokens for r in results for draw in r.draws) for results in groups])),
    )


def _anyone_votes(groups: Sequence[Sequence[ProblemResult]]) -> bool:
    return any(draw.vote is not None for results in groups for result in results for draw in result.draws)


def _shares(results: Sequence[ProblemResult]) -> dict[str, float]:
    counts = Counter(draw.outcome for result in results for draw in result.draws)
    return {outcome: counts[outcome] / counts.total() for outcome in OUTCOMES}


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
