"""Builds a report from a rewritten file: one pass for rows and figures, then the page's data."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mindgap_data import __version__
from mindgap_data.checks.data import gap_findings, tally_findings
from mindgap_data.checks.finding import Finding, worst_first
from mindgap_data.checks.training import run_findings
from mindgap_data.gap.figures import Settings, as_json
from mindgap_data.gap.measure import FileGap, measure
from mindgap_data.gap.records import GapRow
from mindgap_data.record import TIERS
from mindgap_data.report.browser import CODE_LOW, CODE_STEP, MAX_TEXT, MAX_TOKENS, RowCollection, collect_rows
from mindgap_data.report.histograms import histograms, scatter
from mindgap_data.report.page import ROWS_PER_BLOCK
from mindgap_data.report.pieces import TokenPieces
from mindgap_data.report.training import TrainingRun, curves_json


@dataclass(frozen=True)
class Report:
    """Everything a page shows."""

    gap: FileGap
    findings: tuple[Finding, ...]
    summary: dict[str, Any]  # the page's data, but for the rows
    rows: list[dict[str, Any]]


def build_report(
    path: Path,
    settings: Settings,
    pieces: TokenPieces | None,
    max_rows: int,
    run: TrainingRun | None,
    scorecards: Sequence[Mapping[str, Any]] = (),
) -> Report:
    """Read ``path`` once and make the page's data.

    Args:
        path: a rewritten file.
        settings: clip and bootstrap of the figures.
        pieces: cuts texts into tokens; without it the page shows token log-weights as a strip.
        max_rows: how many rows the page may list.
        run: a training run on the file.
        scorecards: what fine-tuning cost, as `mindgap-data forget` wrote it.

    Raises:
        UserError: at the first row that cannot be used.
    """
    collection = RowCollection()

    def rows(source: Path, skipped: list[str]) -> Iterator[GapRow]:
        del skipped
        return collect_rows(source, collection, pieces, max_rows, settings.seed)

    gap = measure(path, settings, rows)
    tally = collection.tally
    findings = worst_first([*gap_findings(gap.figures, gap.noise), *tally_findings(tally)])
    training = run_findings(run.logs) if run else []
    index, shown = _index(collection)
    total = len(gap.sums.tier)
    summary = {
        "file": path.name,
        "version": __version__,
        "policy": asdict(gap.policy),
        "settings": as_json(settings),
        "tiers": list(TIERS),
        "figures": as_json(gap.figures),
        "noise": None if gap.noise is None else gap.noise.as_dict(),
        "notices": [notice.removeprefix(f"{path}: ") for notice in gap.notices],
        "findings": [asdict(finding) for finding in findings],
        "attempts": {stage: dict(draws) for stage, draws in tally.draws.items()},
        "style": {tier: style.as_dict() for tier, style in tally.style.by_tier().items()},
        "histograms": {name: histogram.as_dict() for name, histogram in histograms(gap.sums, collection).items()},
        "scatter": scatter(gap.sums, settings.seed),
        "index": index,
        "rows": {
            "total": total,
            "shown": len(shown),
            "max_text": MAX_TEXT,
            "max_tokens": MAX_TOKENS,
            "block": ROWS_PER_BLOCK,
        },
        "code": {"low": CODE_LOW, "step": CODE_STEP},
        "training": {"curves": curves_json(run.curves), "findings": [asdict(f) for f in training]} if run else None,
        "forgetting": list(scorecards),
    }
    return Report(gap, (*findings, *training), summary, shown)


_INDEX_KEYS = {"t": "tier", "n": "tokens", "ov": "overlap", "pr": "pass_rate"}


def _index(collection: RowCollection) -> tuple[dict[str, list[Any]], list[dict[str, Any]]]:
    """Columns to filter and sort by, at once; and the rows themselves, without those columns' doubles."""
    rows = [row for _, row in collection.shown]
    index: dict[str, list[Any]] = {name: [row[key] for row in rows] for key, name in _INDEX_KEYS.items()}
    index["line"] = [number + 1 for number, _ in collection.shown]
    index["chosen"] = [row["nll"][0] for row in rows]
    index["expert"] = [row["nll"][1] for row in rows]
    index["expert_tokens"] = [row["m"] for row in rows]
    index["flag"] = [int(bool(row["f"])) for row in rows]
    for values in index.values():
        assert all(value is None or math.isfinite(value) for value in values)
    dropped = {*_INDEX_KEYS, "nll", "m"}
    return index, [{key: value for key, value in row.items() if key not in dropped} for row in rows]
