"""What the page compares: a value a problem for each arm, seeds pooled, tested in pairs, said in words."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mindgap_data.evaluation.compare import SIGNIFICANCE, holm
from mindgap_data.statistics import Interval, mean_interval, paired_bootstrap

ANSWERED = "cwe"  # letters of draws that state an answer
RESAMPLES = 10_000
Values = Mapping[str, float]  # by problem or text


@dataclass(frozen=True)
class Result:
    """One policy of one seed, as it was measured."""

    data: str
    loss: str
    seed: int
    greedy: Mapping[str, Mapping[str, str]]  # file -> problem -> a letter a draw, see measure.LETTERS
    sampled: Mapping[str, Mapping[str, str]]
    texts: Sequence[Mapping[str, Any]]
    rate: float | None = None
    same_as: str | None = None
    rows: Mapping[str, Any] | None = None
    training: Mapping[str, Mapping[str, float]] | None = None
    seconds: float | None = None

    @property
    def arm(self) -> str:
        """File and loss."""
        return f"{self.data}, {self.loss}" if self.loss else self.data


@dataclass(frozen=True)
class Measure:
    """Something measured by problem or by text."""

    name: str
    of: Callable[[Result], Values]
    higher_is_better: bool = True


@dataclass(frozen=True)
class Verdict:
    """One arm against another on one measure."""

    measure: Measure
    before: str
    after: str
    units: int
    difference: Interval  # after - before
    by_seed: tuple[float, ...]
    p_value: float  # Holm-corrected within its table

    @property
    def word(self) -> str:
        """Better, worse, or not told apart."""
        if self.p_value >= SIGNIFICANCE:
            return "not told apart"
        return "better" if (self.difference.estimate > 0) == self.measure.higher_is_better else "worse"


def accuracy(kind: str, file: str) -> Callable[[Result], Values]:
    """Share of draws that are correct, by problem."""
    return lambda result: {
        problem: letters.count("c") / len(letters) for problem, letters in getattr(result, kind)[file].items()
    }


def answered(kind: str, file: str) -> Callable[[Result], Values]:
    """Share of correct ones among the draws that state an answer; problems without one are missing."""

    def values(result: Result) -> Values:
        stated = {
            problem: [letter for letter in letters if letter in ANSWERED]
            for problem, letters in getattr(result, kind)[file].items()
        }
        return {problem: letters.count("c") / len(letters) for problem, letters in stated.items() if letters}

    return values


def per_token(field: str, own: bool) -> Callable[[Result], Values]:
    """Nats a token of each general text, or of each response of the base model's own."""
    return lambda result: {
        f"{text['text']} {number}": text[field] / text["tokens"]
        for number, text in enumerate(result.texts)
        if (text["text"] == "own") == own
    }


PRIMARY = Measure("trained families, greedy", accuracy("greedy", "trained"))
SAMPLED = Measure("trained families, sampled", accuracy("sampled", "trained"))
ANSWERS = Measure("trained families, greedy, of those with an answer", answered("greedy", "trained"))
UNTRAINED = Measure("untrained families, greedy", accuracy("greedy", "untrained"))
WORDS = Measure("word problems, greedy", accuracy("greedy", "word"))
NLL = Measure("NLL of general text", per_token("nll", own=False), higher_is_better=False)
KL_GENERAL = Measure("KL(base ‖ arm), general text", per_token("kl", own=False), higher_is_better=False)
KL_OWN = Measure("KL(base ‖ arm), the base's own responses", per_token("kl", own=True), higher_is_better=False)


def pooled(results: Iterable[Result], measure: Measure) -> Values:
    """The mean over seeds of every problem's value."""
    found: dict[str, list[float]] = {}
    for result in results:
        for unit, value in measure.of(result).items():
            found.setdefault(unit, []).append(value)
    return {unit: float(np.mean(values)) for unit, values in found.items()}


def interval(results: Iterable[Result], measure: Measure) -> Interval:
    """Mean over problems of the pooled values, resampling problems."""
    return mean_interval(list(pooled(results, measure).values()))


def compare(before: Sequence[Result], after: Sequence[Result], measure: Measure) -> Verdict:
    """``after`` against ``before``, p-value not yet corrected; problems of both count."""
    a, b = pooled(before, measure), pooled(after, measure)
    common = [unit for unit in a if unit in b]
    if not common:
        nothing = Interval(float("nan"), float("nan"), float("nan"))
        return Verdict(measure, before[0].arm, after[0].arm, 0, nothing, _by_seed(before, after, measure), 1.0)
    x, y = [a[unit] for unit in common], [b[unit] for unit in common]
    test = paired_bootstrap([(x, y)], resamples=RESAMPLES)
    return Verdict(
        measure,
        before[0].arm,
        after[0].arm,
        len(common),
        test.difference,
        _by_seed(before, after, measure),
        test.p_value,
    )


def corrected(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The comparisons of one table, p-values corrected for their number (Holm 1979)."""
    p_values = holm([verdict.p_value for verdict in verdicts])
    return [replace(verdict, p_value=p) for verdict, p in zip(verdicts, p_values, strict=True)]


def _by_seed(before: Sequence[Result], after: Sequence[Result], measure: Measure) -> tuple[float, ...]:
    """Each seed's own difference; a side without seeds (the base) stands against all."""
    differences = []
    for one in after:
        other = next((result for result in before if result.seed == one.seed), before[0])
        a, b = measure.of(other), measure.of(one)
        common = [unit for unit in a if unit in b]
        differences.append(float(np.mean([b[unit] - a[unit] for unit in common])) if common else float("nan"))
    return tuple(differences)
