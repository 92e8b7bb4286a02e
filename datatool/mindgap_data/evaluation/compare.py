"""Is one evaluation better than another: paired by problem, tested, and said in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mindgap_data.errors import UserError
from mindgap_data.evaluation.folder import evaluation_files, read_summary
from mindgap_data.rows.reading import read_rows
from mindgap_data.statistics import Interval, McNemar, mcnemar, paired_bootstrap

SIGNIFICANCE = 0.05
RESAMPLES = 10_000
# With fewer differing problems no p-value falls below 0.05: 2 * (1/2)**5 = 0.0625 when all five agree.
MIN_DIFFERING = 6

# Settings that are meant to differ between runs that are compared.
_THE_POLICY = {
    "model",
    "revision",
    "adapter",
    "adapter_weights",
    "tool_version",
    "dtype",
    "engine",
    "seed",
}


@dataclass(frozen=True)
class Evaluation:
    """A finished run, as far as comparing needs it."""

    folder: Path
    settings: Mapping[str, Any]
    accuracy: Mapping[str, Mapping[str, float]]  # benchmark -> id -> share of draws that are correct


@dataclass(frozen=True)
class Comparison:
    """B against A on one benchmark, or on the average of several."""

    name: str
    problems: int
    differing: int  # problems on which the accuracies differ
    a: float  # mean accuracy
    b: float
    difference: Interval  # b - a, paired bootstrap over problems
    p_value: float  # of the test that decides, corrected for the number of benchmarks (Holm 1979)
    test: str  # "exact McNemar test" or "paired bootstrap"
    mcnemar: McNemar | None  # where both runs have one draw a problem

    @property
    def real(self) -> bool:
        """Whether the difference is more than chance would explain."""
        return self.p_value < SIGNIFICANCE

    def in_words(self) -> str:
        """What the numbers say, in a sentence."""
        points = f"{100 * self.difference.estimate:+.1f} points"
        span = f"95% interval {100 * self.difference.low:+.1f} to {100 * self.difference.high:+.1f}"
        numbers = f"{points}, {span}, p = {_p(self.p_value)}, {self.test}, {self.problems} problems"
        if self.differing == 0:
            return f"{self.name}: the runs score the same on each of the {self.problems} problems."
        if self.real:
            better = "better" if self.difference.estimate > 0 else "worse"
            return f"{self.name}: B is {better} than A ({numbers})."
        if self.differing < MIN_DIFFERING:
            few = f"only {self.differing} problem{'s differ' if self.differing > 1 else ' differs'}"
            return f"{self.name}: too few differences to tell ({few}, at least {MIN_DIFFERING} are needed; {numbers})."
        seen = max(abs(self.difference.low - self.difference.estimate), self.difference.high - self.difference.estimate)
        return (
            f"{self.name}: no real difference is shown ({numbers}); "
            f"with these problems one below about {100 * seen:.1f} points would not show."
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "problems": self.problems,
            "differing": self.differing,
            "a": self.a,
            "b": self.b,
            "difference": self.difference.as_dict(),
            "p_value": self.p_value,
            "test": self.test,
            "only_a": self.mcnemar.only_a if self.mcnemar else None,
            "only_b": self.mcnemar.only_b if self.mcnemar else None,
            "real": self.real,
            "in_words": self.in_words(),
        }


def read_evaluation(folder: Path) -> Evaluation:
    """A finished run's accuracies by problem.

    Raises:
        UserError: the folder holds no finished run.
    """
    settings = read_summary(folder)["settings"]
    path = evaluation_files(folder).output
    accuracy: dict[str, dict[str, float]] = {}
    for line, row in read_rows(path):
        try:
            draws = [bool(draw["outcome"] == "correct") for draw in row["draws"]]
            accuracy.setdefault(row["benchmark"], {})[row["id"]] = sum(draws) / len(draws)
        except (KeyError, TypeError, ZeroDivisionError) as error:
            raise UserError(f"{path}:{line}: this is not a row of an evaluation") from error
    return Evaluation(folder, settings, accuracy)


def compare(a: Evaluation, b: Evaluation) -> list[Comparison]:
    """B against A on every benchmark both ran, then on their average where there are several.

    Only problems of both runs count. The test is the exact McNemar test on single benchmarks where
    both runs have one draw a problem, else the paired bootstrap over problems; p-values of several
    benchmarks are corrected by Holm's method.

    Raises:
        UserError: the runs have no problem in common.
    """
    names = [name for name in a.accuracy if name in b.accuracy]
    pairs = {name: _paired(a.accuracy[name], b.accuracy[name]) for name in names}
    pairs = {name: pair for name, pair in pairs.items() if pair[0]}
    if not pairs:
        raise UserError(f"{a.folder} and {b.folder}: no problem in common; evaluate both on the same benchmarks")
    single = a.settings.get("samples") == b.settings.get("samples") == 1
    raw = [_compare(name, [pair], single) for name, pair in pairs.items()]
    corrected = holm([one.p_value for one in raw])
    compared = [replace(one, p_value=p) for one, p in zip(raw, corrected, strict=True)]
    if len(pairs) > 1:
        compared.append(_compare("average", list(pairs.values()), False))
    return compared


def caveats(a: Evaluation, b: Evaluation) -> list[str]:
    """What else differs between the runs, a sentence each: settings, and problems only one of them has."""
    found = []
    differing = [
        name
        for name in dict.fromkeys([*a.settings, *b.settings])
        if name not in _THE_POLICY and a.settings.get(name) != b.settings.get(name)
    ]
    if differing:
        found.append(f"The runs also differ in {', '.join(differing)}: the difference may come from there.")
    for name in dict.fromkeys([*a.accuracy, *b.accuracy]):
        mine, theirs = set(a.accuracy.get(name, ())), set(b.accuracy.get(name, ()))
        if mine != theirs:
            found.append(f"{name}: {len(mine & theirs)} problems compared, {len(mine ^ theirs)} are in one run only.")
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of p-values for multiple tests (Holm 1979), in the given order."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def _paired(a: Mapping[str, float], b: Mapping[str, float]) -> tuple[list[float], list[float]]:
    common = [key for key in a if key in b]
    return [a[key] for key in common], [b[key] for key in common]


def _compare(name: str, pairs: Sequence[tuple[list[float], list[float]]], single: bool) -> Comparison:
    test = paired_bootstrap(pairs, resamples=RESAMPLES)
    exact = mcnemar(*pairs[0]) if single else None
    return Comparison(
        name=name,
        problems=sum(len(a) for a, _ in pairs),
        differing=test.differing,
        a=float(np.mean([np.mean(a) for a, _ in pairs])),
        b=float(np.mean([np.mean(b) for _, b in pairs])),
        difference=test.difference,
        p_value=exact.p_value if exact else test.p_value,
        test="exact McNemar test" if exact else "paired bootstrap",
        mcnemar=exact,
    )


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"
