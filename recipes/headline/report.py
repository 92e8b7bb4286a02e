"""Writes the tables of docs/headline.md from the collected results: the prose stands, the figures are put in."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from recipes.headline.compare import (
    ANSWERS,
    KL_GENERAL,
    KL_OWN,
    NLL,
    PRIMARY,
    SAMPLED,
    UNTRAINED,
    WORDS,
    Measure,
    Result,
    Verdict,
    compare,
    corrected,
    interval,
    pooled,
)
from recipes.headline.plan import DATA, LOSSES

from mindgap_data.errors import UserError
from mindgap_data.statistics import Interval

SECONDARY = (SAMPLED, ANSWERS, UNTRAINED, WORDS, NLL)
PAIRS = (
    (("expert", "sft"), ("all", "sft")),
    (("expert", "paper"), ("all", "paper")),
    (("expert", "sft"), ("expert", "paper")),
    (("all", "sft"), ("all", "paper")),
)


@dataclass(frozen=True)
class Results:
    """A results file: the run, the base model, and every arm with its seeds."""

    run: Mapping[str, Any]
    base: Result
    arms: Mapping[tuple[str, str], Sequence[Result]]  # (file, loss) -> seeds

    @classmethod
    def read(cls, path: Path) -> "Results":
        """The results in ``path``.

        Raises:
            UserError: the file is not there, or the base model is not in it.
        """
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: the results cannot be read: {error}") from error
        run, *rest = lines
        names = {field.name for field in fields(Result)}
        found = [Result(**{name: value for name, value in line.items() if name in names}) for line in rest]
        if not found or found[0].data != "base":
            raise UserError(f"{path}: the base model's results are missing; run the experiment first")
        arms: dict[tuple[str, str], list[Result]] = {}
        for data in DATA:
            for loss in LOSSES:
                if seeds := [one for one in found if (one.data, one.loss) == (data, loss)]:
                    arms[data, loss] = seeds
        return cls(run, found[0], arms)

    @property
    def seeds(self) -> int:
        """Seeds of the arm with most of them."""
        return max((len(results) for results in self.arms.values()), default=0)


def tables(results: Results) -> dict[str, str]:
    """Every table of the page, by name."""
    return {
        "accuracy": accuracy_table(results),
        "families": family_table(results),
        "primary": comparison_table(paired(results, PRIMARY)),
        "secondary": comparison_table([one for measure in SECONDARY for one in paired(results, measure)]),
        "base": comparison_table(against_base(results, PRIMARY)),
        "base-untrained": comparison_table(against_base(results, UNTRAINED)),
        "base-nll": comparison_table(against_base(results, NLL)),
        "forgetting": forgetting_table(results),
        "outcomes": outcome_table(results),
        "rates": rate_table(results),
        "tiers": tier_table(results),
        "gap": gap_table(results),
        "training": training_table(results),
    }


def paired(results: Results, measure: Measure) -> list[Verdict]:
    """The four comparisons of the paper on a measure, corrected together; those with both arms there."""
    found = [
        compare(results.arms[before], results.arms[after], measure)
        for before, after in PAIRS
        if before in results.arms and after in results.arms
    ]
    return corrected(found)


def against_base(results: Results, measure: Measure) -> list[Verdict]:
    """Every arm against the untrained model on a measure, corrected together."""
    return corrected([compare([results.base], seeds, measure) for seeds in results.arms.values()])


def comparison_table(verdicts: Sequence[Verdict]) -> str:
    """Differences with their intervals, each seed's own, and the verdict in words."""
    rows = []
    for one in verdicts:
        scale = 100 if one.measure.higher_is_better else 1
        digits = 1 if scale == 100 else 3
        rows.append(
            [
                one.measure.name,
                f"{one.before} → {one.after}",
                signed(one.difference, scale, digits),
                ", ".join(f"{scale * value:+.{digits}f}" for value in one.by_seed),
                f"{one.p_value:.3f}",
                f"**{one.word}**" if one.word != "not told apart" else one.word,
            ]
        )
    return table(["measure", "comparison", "difference", "by seed", "p", "verdict"], rows)


def accuracy_table(results: Results) -> str:
    """Accuracy of the base and every arm, pooled over seeds, in per cent."""
    measures = [PRIMARY, SAMPLED, ANSWERS, UNTRAINED, WORDS]
    rows = [
        [name, str(len(seeds)), *(percent(interval(seeds, measure)) for measure in measures)]
        for name, seeds in policies(results)
    ]
    heads = ["arm", "seeds", "trained, greedy", "trained, sampled", "trained, of answers", "untrained", "words"]
    return table(heads, rows)


def family_table(results: Results) -> str:
    """Greedy accuracy by family, pooled over seeds, in per cent."""
    problems = {**results.base.greedy["trained"], **results.base.greedy["untrained"]}
    families = list(dict.fromkeys(family_of(problem) for problem in problems))
    rows = []
    for name, seeds in policies(results):
        found = {**pooled(seeds, PRIMARY), **pooled(seeds, UNTRAINED)}
        means = [np.mean([value for unit, value in found.items() if family_of(unit) == family]) for family in families]
        rows.append([name, *(f"{100 * mean:.0f}" for mean in means)])
    return table(["arm", *families], rows)


def family_of(problem: str) -> str:
    """The family in a problem's id, <family>-<seed>-<number>."""
    return problem.rsplit("-", 2)[0]


def outcome_table(results: Results) -> str:
    """What became of the greedy draws on the trained families, in per cent of draws."""
    rows = []
    for name, seeds in policies(results):
        letters = "".join(letter for one in seeds for letter in one.greedy["trained"].values())
        rows.append([name, *(f"{100 * letters.count(letter) / len(letters):.0f}" for letter in "cwnt")])
    return table(["arm", "correct", "wrong", "no answer", "cut off"], rows)


def forgetting_table(results: Results) -> str:
    """NLL and KL to the base, nats a token, pooled over seeds."""
    rows = []
    for name, seeds in policies(results):
        change = np.subtract(
            list(pooled(seeds, NLL).values()), [pooled([results.base], NLL)[unit] for unit in pooled(seeds, NLL)]
        )
        kl = [f"{np.mean(list(pooled(seeds, measure).values())):.4f}" for measure in (KL_GENERAL, KL_OWN)]
        rows.append([name, f"{np.mean(list(pooled(seeds, NLL).values())):.3f}", f"{change.mean():+.4f}", *kl])
    return table(["arm", "NLL, general text", "change", "KL, general text", "KL, the base's responses"], rows)


def rate_table(results: Results) -> str:
    """The search for learning rates: development accuracy, in per cent."""
    rates = results.run["rates"]
    rows = [
        [one["loss"], one["data"], f"{one['rate']:g}", f"{100 * one['outcomes'].count('c') / len(one['outcomes']):.1f}"]
        for one in sorted(rates["tried"], key=lambda one: (one["loss"], one["data"], one["rate"]))
    ]
    chosen = ", ".join(f"{loss} {rate:g}" for loss, rate in rates["chosen"].items())
    return table(["loss", "file", "rate", "development accuracy"], rows) + f"\nChosen: {chosen}.\n"


def tier_table(results: Results) -> str:
    """What rewriting gave, by seed."""
    rows = []
    for seed, one in results.run["rewriting"].items():
        drawn = {stage: counts["sampled"] for stage, counts in one["stages"].items()}
        counts = [str(one["tiers"][tier]) for tier in ("self", "guided", "expert")]
        rows.append([seed, *counts, str(drawn.get("self", 0)), str(drawn.get("guided", 0)), f"{one['seconds']:.0f}"])
    return table(["seed", "self", "guided", "expert", "self draws", "guided draws", "seconds"], rows)


def gap_table(results: Results) -> str:
    """The gap of the files `all`, by seed and tier, before training."""
    rows = []
    for key, found in results.run["gap"].items():
        seed, _, data = key.partition("/")
        for tier, one in found.items() if data == "all" else ():
            rows.append([seed, tier, str(one["rows"]), *(number(one[name]) for name in _GAP)])
    heads = ["seed", "tier", "rows", "NLL expert's text", "NLL chosen", "ESS/N", "prompt gap a token", "a response"]
    return table(heads, rows)


_GAP = ("nll_expert", "nll_chosen", "ess", "prompt_gap_token", "prompt_gap_response")


def training_table(results: Results) -> str:
    """ESS/N and KL of the weights as the trainer logged them, mean over seeds; raw weights, by tier."""
    rows = []
    for (data, loss), seeds in results.arms.items():
        for tier in ("self", "guided", "expert"):
            logs = [one.training[tier] for one in seeds if one.training and tier in one.training]
            if not logs:
                continue
            means = [
                np.mean([log[name] for log in logs]) if all(name in log for log in logs) else None for name in _LOG
            ]
            rows.append([f"{data}, {loss}", tier, *(number(None if mean is None else float(mean)) for mean in means)])
    return table(["arm", "tier", "ESS/N", "mean weight", "NLL", "k1", "k3"], rows)


_LOG = ("ess", "weight_mean", "nll", "k1", "k3")


def policies(results: Results) -> list[tuple[str, Sequence[Result]]]:
    """The base, then every arm."""
    return [("base", [results.base]), *((f"{data}, {loss}", seeds) for (data, loss), seeds in results.arms.items())]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def percent(value: Interval) -> str:
    """An accuracy with its 95% interval."""
    return f"{100 * value.estimate:.1f} ({100 * value.low:.0f} to {100 * value.high:.0f})"


def signed(value: Interval, scale: float, digits: int) -> str:
    """A difference with its 95% interval."""
    low, high = (f"{scale * bound:+.{digits}f}" for bound in (value.low, value.high))
    return f"{scale * value.estimate:+.{digits}f} ({low} to {high})"


def number(value: float | None) -> str:
    """Three significant digits, or a dash."""
    return "–" if value is None else f"{value:.3g}"


def write_tables(page: Path, found: Mapping[str, str]) -> None:
    """Put every table of the page in place: what stands between `<!-- name -->` and `<!-- end -->`.

    A page that is not there is begun with nothing but the tables.

    Raises:
        UserError: the page has no place for a table.
    """
    if not page.exists():
        page.write_text("".join(f"## {name}\n\n<!-- {name} -->\n<!-- end -->\n\n" for name in found), encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    for name, content in found.items():
        head, mark, rest = text.partition(f"<!-- {name} -->\n")
        _, end, tail = rest.partition("<!-- end -->")
        if not mark or not end:
            raise UserError(f"{page}: there is no place for the table {name}: <!-- {name} --> and <!-- end -->")
        text = f"{head}{mark}\n{content}\n{end}{tail}"
    page.write_text(text, encoding="utf-8")
