"""The closing table of a rewriting run."""

from rich.console import Console
from rich.table import Table

from mindgap_data.checks.shared import unchecked_findings
from mindgap_data.record import stage_of
from mindgap_data.rewrite.job import RewriteSummary
from mindgap_data.run.job import RunFiles

UPRIGHT_BELOW = 76  # columns of a terminal; a narrower one gets a column a tier instead of a line
COUNTS = {
    "drawn": "sampled",
    "correct": "correct",
    "wrong": "wrong",
    "truncated": "truncated",
    "no\nanswer": "no_answer",
    "checker\nerror": "checker_error",
    "leaked": "leaked",
    "bare": "bare",
}


def print_summary(summary: RewriteSummary, files: RunFiles) -> None:
    """Print the closing table and what stands under it."""
    console = Console()
    title = f"{files.output}: {summary.rewritten} rows"
    console.print(title, soft_wrap=True, highlight=False, markup=False, style="italic")
    table = _tiers_table(summary, upright=console.width < UPRIGHT_BELOW)
    console.print(table)
    saved = summary.tokens_saved_by_early_stopping_estimate
    console.print(
        f"{_pass_rate(summary)}, "
        f"{summary.drawn_tokens:,} tokens drawn, about {saved:,} saved by early stopping, "
        f"{summary.scored_tokens:,} scored, {summary.seconds:,.1f} s",
        highlight=False,
        soft_wrap=True,
    )
    if summary.slots_busy is not None:
        ahead = summary.tokens_begun_ahead
        extra = f"; {ahead:,} tokens begun ahead and not needed" if ahead else ""
        console.print(f"{summary.slots_busy:.0%} of the slots busy while draws waited{extra}", highlight=False)
    if summary.near_copies:
        console.print(
            f"{summary.near_copies} rows are near copies of the expert: see attempts.near_copy", highlight=False
        )
    for finding in unchecked_findings(summary.unchecked, summary.tiers["self"] + summary.tiers["guided"]):
        console.print(f"{finding.detail[0].upper()}{finding.detail[1:]}. {finding.advice}", highlight=False)
    if summary.kept:
        console.print(f"{summary.kept} responses of an earlier round kept", highlight=False)
    if summary.failed:
        console.print(f"{summary.failed} rows failed, with reasons: {files.failed}", highlight=False, soft_wrap=True)


def _pass_rate(summary: RewriteSummary) -> str:
    if summary.pass_rate is None:
        return "no pass rate"
    # A problem solved at once counts as always solved.
    bias = " (biased upward: drawing stops at the first correct one)" if summary.draws_saved_by_early_stopping else ""
    return f"pass rate {summary.pass_rate:.1%}{bias}"


def _counted(summary: RewriteSummary, outcome: str) -> bool:
    """Whether an outcome has a column: only where working is asked for is a bare answer one."""
    return outcome != "bare" or any("bare" in counts for counts in summary.stages.values())


def _chosen(summary: RewriteSummary) -> dict[str, int]:
    """Rows by the stage that gave the response."""
    guided = {stage_of(hint): rows for hint, rows in summary.hints.items()}
    return {"self": summary.tiers["self"], **guided, "expert": summary.tiers["expert"]}


def _tiers_table(summary: RewriteSummary, *, upright: bool) -> Table:
    """What became of rows and draws: a line a tier, or, ``upright``, a column a tier."""
    columns = {heading: name for heading, name in COUNTS.items() if _counted(summary, name)}
    if summary.unchecked:
        columns = {"accepted" if name == "correct" else heading: name for heading, name in columns.items()}
    lines = [["tier", "rows", "share", *columns]]
    for stage, rows in _chosen(summary).items():
        counts = summary.stages.get(stage, {})
        cells = [str(counts.get(name, 0)) if counts else "-" for name in columns.values()]
        lines.append([stage, str(rows), f"{rows / max(summary.rewritten, 1):.1%}", *cells])
    if upright:
        lines = [[cell.replace("\n", " ") for cell in line] for line in zip(*lines, strict=True)]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, name in enumerate(lines[0]):
        table.add_column(name, justify="right" if number else "left")
    for line in lines[1:]:
        table.add_row(*line)
    return table
