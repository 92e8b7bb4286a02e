"""What the rounds add up to: pass rate, tiers, gap and accuracy, a row a round."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from mindgap_data.evaluation.compare import compare, read_evaluation
from mindgap_data.evaluation.folder import read_summary
from mindgap_data.gap.figures import Settings
from mindgap_data.gap.measure import measure
from mindgap_data.record import TIERS
from mindgap_data.rounds.steps import RoundFolder


@dataclass(frozen=True)
class Data:
    """The rewritten file of a round, as the policy before its training sees it."""

    rows: int
    kept: int  # responses of earlier rounds
    tiers: dict[str, int]
    pass_rate: float | None  # mean over rows; a kept row counts with the rate of then
    expert_nll: float | None  # nats per token
    chosen_nll: float
    ess: float  # ESS/N of the token weights of preset `is`


@dataclass(frozen=True)
class RoundRow:
    """A row of the table."""

    round: int  # 0: the policy as it was
    data: Data | None  # None for round 0
    accuracy: dict[str, float]  # estimate, low, high
    benchmarks: dict[str, dict[str, float]]  # the same by benchmark
    real: bool | None  # whether it differs from round 0, by `evaluate --compare`; None for round 0


def untrained_row(evaluation: Path) -> RoundRow:
    """The policy as it was."""
    return RoundRow(0, None, *_accuracy(evaluation), real=None)


def round_row(folder: RoundFolder, untrained: Path) -> RoundRow:
    """A finished round."""
    real = compare(read_evaluation(untrained), read_evaluation(folder.evaluation))[-1].real
    return RoundRow(folder.number, _data(folder), *_accuracy(folder.evaluation), real=real)


def as_json(rows: Sequence[RoundRow]) -> str:
    """The rows, indented."""
    return json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False) + "\n"


def rounds_table(rows: Sequence[RoundRow]) -> Table:
    """The rows for people."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))  # fits 80 columns
    table.add_column("round", no_wrap=True)
    for column in (
        "pass\nrate", *TIERS, "kept", "NLL\nexpert", "NLL\nchosen", "ESS/N", "accuracy, %\n(95% interval) ",
    ):  # fmt: skip
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        estimate, low, high = (100 * row.accuracy[name] for name in ("estimate", "low", "high"))
        accuracy = f"{estimate:.1f} ({low:.1f} to {high:.1f}){'*' if row.real else ' '}"
        table.add_row(str(row.round), *_cells(row.data), accuracy)
    return table


def _cells(data: Data | None) -> list[str]:
    if data is None:
        return [""] * 8
    shares = [f"{data.tiers[tier] / data.rows:.0%}" for tier in TIERS]
    expert = "-" if data.expert_nll is None else f"{data.expert_nll:.2f}"
    pass_rate = "-" if data.pass_rate is None else f"{data.pass_rate:.1%}"
    return [pass_rate, *shares, f"{data.kept / data.rows:.0%}", expert, f"{data.chosen_nll:.2f}", f"{data.ess:.2f}"]


def _data(folder: RoundFolder) -> Data:
    summary = json.loads(folder.rewritten.summary.read_text(encoding="utf-8"))
    figures = measure(folder.rewritten.output, Settings()).figures["all"]
    assert figures is not None  # a rewritten file has rows
    return Data(
        rows=summary["rewritten"],
        kept=summary["kept"],
        tiers=summary["tiers"],
        pass_rate=summary["pass_rate"],
        expert_nll=None if figures.before is None else figures.before.nll.estimate,
        chosen_nll=figures.after.nll.estimate,
        ess=figures.weights["after"]["token"].ess_fraction.estimate,
    )


def _accuracy(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    summary = read_summary(folder)
    benchmarks = summary["benchmarks"]
    overall = (summary["average"] or benchmarks[0])["accuracy"]
    return overall, {one["name"]: one["accuracy"] for one in benchmarks}
