"""`mindgap-data audit`: is the rewritten data sound, and which rows should be read first."""

import json
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import click
from rich.console import RenderableType

from mindgap_data.checks.data import tally_findings
from mindgap_data.checks.finding import Finding, FlaggedRow, RowFinding, reading_order, worst_first
from mindgap_data.checks.kinds import KINDS
from mindgap_data.checks.response import inspect, verdict_findings
from mindgap_data.checks.style import MEASURES, TierStyle
from mindgap_data.checks.tally import FileTally
from mindgap_data.commands.options.files import INPUT_FILE, output_path
from mindgap_data.commands.pairs import pairs_from
from mindgap_data.errors import UserError, one_line
from mindgap_data.record import TIERS, Record
from mindgap_data.rows.reading import read_rows
from mindgap_data.rows.records import read_records
from mindgap_data.rows.writing import JsonlWriter
from mindgap_data.verify import Verdict

# Rows whose check is under way: bounds memory while the verifier is behind.
_WINDOW = 1024


@click.command()
@click.argument("file", type=INPUT_FILE)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="JSONL file for every row with findings, in reading order; - is standard output.",
)
@click.option("--verifier", help="Verifier that checks every response again. [default: the one the file was made with]")
@click.option(
    "--verifier-option",
    "verifier_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Option of the verifier, as `rewrite` was given it. Repeatable.",
)
@click.option("--top", type=click.IntRange(min=0), default=10, show_default=True, help="Rows to show.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@click.option(
    "--fail-on",
    "fail_on",
    multiple=True,
    type=click.Choice(["any", *KINDS]),
    help="Exit with code 1 when there is such a finding. Repeatable.",
)
def command(
    file: Path,
    output: str | None,
    verifier: str | None,
    verifier_options: tuple[str, ...],
    top: int,
    as_json: bool,
    fail_on: tuple[str, ...],
) -> None:
    """Check a rewritten FILE: verify every response again, find what spoils training, rank rows to read.

    Finds leaks of the reference solution, near-copies of it, repeated or degenerate text, a change of
    language, answers without working, and texts that look cut off; each finding says what it saw. Then
    compares how each tier is written (length, formulae, marks of doubt such as "wait" or "let me check")
    with the self tier, and says what is wrong with the file as a whole, by the same rules as `report`.

    \b
    Example:
      mindgap-data audit out.jsonl -o findings.jsonl
      mindgap-data audit out.jsonl --fail-on wrong --fail-on leak
    """
    target = None if output is None else output_path(output, str(file))
    tally, rows = FileTally(), []
    for line, record, findings in _audited(file, verifier or _own_verifier(file), verifier_options):
        tally.add(record, findings)
        if findings:
            rows.append(FlaggedRow.of(line, record, findings))
    rows = reading_order(rows)
    # Who names a verifier has the rows checked now.
    about_file = worst_first(one for one in tally_findings(tally) if verifier is None or one.rule != "unchecked")
    if target is not None:
        _write(target, rows)
    if as_json:
        click.echo(json.dumps(_summary(file, tally, rows, about_file, top), ensure_ascii=False, indent=2))
    else:
        _show(tally, rows, about_file, top, target)
    present = {finding.kind for row in rows for finding in row.findings}
    if present and ("any" in fail_on or present & set(fail_on)):
        sys.exit(1)


def _own_verifier(file: Path) -> str:
    """The verifier that accepted the file's rows.

    Raises:
        UserError: it is one that only the user may name, since it is code.
    """
    from mindgap_data.verify.load import known_names

    line, row = next(read_rows(file))
    provenance = row.get("provenance")
    name = provenance.get("verifier") if isinstance(provenance, dict) else None
    if name is None:
        raise UserError(f"{file}:{line}: field provenance.verifier: missing; this is not a rewritten file")
    if name not in known_names():
        raise UserError(f"{file}: made with verifier {one_line(name, 60)!r}; name it with --verifier to run it")
    return str(name)


def _audited(file: Path, verifier: str, options: tuple[str, ...]) -> Iterator[tuple[int, Record, list[RowFinding]]]:
    """(line, record, what is wrong with it) of every row, in the order of the file."""
    from mindgap_data.verify.pool import VerifierPool

    seen: dict[str, int] = {}
    waiting: deque[tuple[int, Record, list[RowFinding], Future[Verdict]]] = deque()

    def settle() -> tuple[int, Record, list[RowFinding]]:
        line, record, findings, future = waiting.popleft()
        return line, record, [*findings, *verdict_findings(future.result(), record.answer)]

    with VerifierPool(verifier, pairs_from(options, "--verifier-option")) as pool:
        for line, record in read_records(file):
            findings = inspect(record)
            if record.id in seen:
                findings.append(RowFinding("duplicate_id", f"line {seen[record.id]} has the same id"))
            seen.setdefault(record.id, line)
            verdict = pool.submit(record.messages[-1].content, record.answer, record.as_row())
            waiting.append((line, record, findings, verdict))
            if len(waiting) >= _WINDOW:
                yield settle()
        while waiting:
            yield settle()


def _write(path: Path, rows: list[FlaggedRow]) -> None:
    with JsonlWriter(path) as writer:
        for row in rows:
            writer.write(row.as_dict())
        writer.finish()


def _summary(
    file: Path, tally: FileTally, rows: list[FlaggedRow], about_file: list[Finding], top: int
) -> dict[str, Any]:
    return {
        "file": str(file),
        "rows": tally.rows.total(),
        "tiers": {tier: tally.rows[tier] for tier in TIERS},
        "rows_with_findings": len(rows),
        "findings": {kind: {tier: counts[tier] for tier in TIERS} for kind, counts in tally.faulty.items()},
        "file_findings": [asdict(finding) for finding in about_file],
        "style": {tier: style.as_dict() for tier, style in tally.style.by_tier().items()},
        "read_first": [row.as_dict() for row in rows[:top]],
    }


def _show(tally: FileTally, rows: list[FlaggedRow], about_file: list[Finding], top: int, output: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console, total = Console(), tally.rows.total()
    table = Table(title=f"{len(rows)} of {total} rows have findings", title_justify="left")
    table.add_column("finding")
    for tier in TIERS:
        table.add_column(f"{tier} ({tally.rows[tier]})", justify="right")
    table.add_column("rows", justify="right")
    table.add_column("meaning")
    for kind, by_tier in tally.faulty.items():
        if by_tier:
            numbers = [str(by_tier[tier] or "") for tier in TIERS]
            table.add_row(kind, *numbers, str(by_tier.total()), KINDS[kind].meaning)
    if rows:
        console.print(table)
    else:
        console.print(f"{total} rows, no findings.")
    styles = tally.style.by_tier()
    if len(styles) > 1:
        console.print(_style_table(styles))
    for finding in about_file:
        console.print(Text(f"{finding.severity:>4}: {finding.in_words}"), soft_wrap=True)
    for row in rows[:top]:
        reasons = "; ".join(f"{finding.kind}: {finding.detail}" for finding in row.findings)
        console.print(
            Text(f"line {row.line}, {row.tier}, id {one_line(row.id, 40)}: {one_line(reasons, 400)}"), soft_wrap=True
        )
        console.print(Text(f"    {one_line(row.excerpt, 100)}", style="dim"), soft_wrap=True)
    if output is not None:
        console.print(Text(f"Every row with findings, in reading order: {output}"), soft_wrap=True)


def _style_table(styles: dict[str, TierStyle]) -> RenderableType:
    from rich.table import Table

    headings = ("words per response", "marks of doubt per 1,000 words", "formulae per 1,000 words")
    title = "How the responses are written; ×: ratio to the self tier"
    table = Table("tier", *headings, title=title, title_justify="left")
    for tier, style in styles.items():
        cells = []
        for name in MEASURES:
            value, ratio = getattr(style, name), (style.against_self or {}).get(name)
            times = f", ×{ratio.estimate:.2f}" if ratio is not None and isfinite(ratio.estimate) else ""
            cells.append(f"{value.estimate:.1f} ({value.low:.1f} to {value.high:.1f}){times}")
        table.add_row(tier, *cells)
    return table
