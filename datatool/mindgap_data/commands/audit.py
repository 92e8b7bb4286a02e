"""`mindgap-data audit`: is the rewritten data sound, and which rows should be read first."""

import json
import sys
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import click

from mindgap_data.checks.audit import (
    KINDS,
    MEANINGS,
    Finding,
    FlaggedRow,
    flagged,
    inspect,
    reading_order,
    verdict_findings,
)
from mindgap_data.commands.pairs import pairs_from
from mindgap_data.errors import UserError
from mindgap_data.record import TIERS, record_error
from mindgap_data.rows.reading import read_rows
from mindgap_data.rows.writing import JsonlWriter
from mindgap_data.verify import Verdict

# Rows whose check is under way: bounds memory while the verifier is behind.
_WINDOW = 1024


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="JSONL file for every row with findings, in reading order."
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
    output: Path | None,
    verifier: str | None,
    verifier_options: tuple[str, ...],
    top: int,
    as_json: bool,
    fail_on: tuple[str, ...],
) -> None:
    """Check a rewritten FILE: verify every response again, find what spoils training, rank rows to read.

    Findings are leaks of the reference solution, near-copies of it, repeated or degenerate text, a
    change of language, answers without working, and texts that look cut off. Each says what it saw.

    \b
    Example:
      mindgap-data audit out.jsonl -o findings.jsonl
      mindgap-data audit out.jsonl --fail-on wrong --fail-on leak
    """
    tiers: Counter[str] = Counter()
    rows = []
    for tier, row in _audited(file, verifier or _own_verifier(file), verifier_options):
        tiers[tier] += 1
        if row is not None:
            rows.append(row)
    rows = reading_order(rows)
    if output is not None:
        _write(output, rows)
    if as_json:
        click.echo(json.dumps(_summary(file, tiers, rows, top), ensure_ascii=False, indent=2))
    else:
        _show(tiers, rows, top, output)
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
        raise UserError(f"{file}:{line}: field provenance.verifier: missing; this is no rewritten file")
    if name not in known_names():
        raise UserError(f"{file}: made with verifier {str(name)[:60]!r}; name it with --verifier to run it")
    return str(name)


def _audited(file: Path, verifier: str, options: tuple[str, ...]) -> Iterator[tuple[str, FlaggedRow | None]]:
    """Every row's tier, and the row with its findings where it has any; in the order of the file."""
    from mindgap_data.verify.pool import VerifierPool

    seen: dict[str, int] = {}
    waiting: deque[tuple[int, dict[str, Any], list[Finding], Future[Verdict]]] = deque()

    def settle() -> tuple[str, FlaggedRow | None]:
        line, row, findings, future = waiting.popleft()
        findings += verdict_findings(future.result(), row["answer"])
        return row["tier"], flagged(line, row, findings) if findings else None

    with VerifierPool(verifier, pairs_from(options, "--verifier-option")) as pool:
        for line, row in read_rows(file):
            if error := record_error(row):
                raise UserError(f"{file}:{line}: {error}; `mindgap-data validate {file}` lists every such row")
            findings = inspect(row)
            if row["id"] in seen:
                findings.append(Finding("duplicate_id", f"line {seen[row['id']]} has the same id"))
            seen.setdefault(row["id"], line)
            waiting.append((line, row, findings, pool.submit(row["messages"][-1]["content"], row["answer"], row)))
            if len(waiting) >= _WINDOW:
                yield settle()
        while waiting:
            yield settle()


def _write(path: Path, rows: list[FlaggedRow]) -> None:
    with JsonlWriter(path) as writer:
        for row in rows:
            writer.write(row.as_dict())
        writer.finish()


def _counts(rows: list[FlaggedRow]) -> dict[str, Counter[str]]:
    """Kind -> tier -> rows with at least one such finding."""
    counts = {kind: Counter[str]() for kind in KINDS}
    for row in rows:
        for kind in {finding.kind for finding in row.findings}:
            counts[kind][row.tier] += 1
    return counts


def _summary(file: Path, tiers: Counter[str], rows: list[FlaggedRow], top: int) -> dict[str, Any]:
    return {
        "file": str(file),
        "rows": tiers.total(),
        "tiers": {tier: tiers[tier] for tier in TIERS},
        "rows_with_findings": len(rows),
        "findings": {kind: {tier: by_tier[tier] for tier in TIERS} for kind, by_tier in _counts(rows).items()},
        "read_first": [row.as_dict() for row in rows[:top]],
    }


def _show(tiers: Counter[str], rows: list[FlaggedRow], top: int, output: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(title=f"{len(rows)} of {tiers.total()} rows have findings", title_justify="left")
    table.add_column("finding")
    for tier in TIERS:
        table.add_column(f"{tier} ({tiers[tier]})", justify="right")
    table.add_column("rows", justify="right")
    table.add_column("meaning")
    for kind, by_tier in _counts(rows).items():
        if by_tier:
            numbers = [str(by_tier[tier] or "") for tier in TIERS]
            table.add_row(kind, *numbers, str(by_tier.total()), MEANINGS[kind])
    if rows:
        console.print(table)
    else:
        console.print(f"{tiers.total()} rows, no findings.")
    for row in rows[:top]:
        reasons = "; ".join(f"{finding.kind}: {finding.detail}" for finding in row.findings)
        console.print(
            Text(f"line {row.line}, {row.tier}, id {printable(row.id, 40)}: {printable(reasons, 400)}"), soft_wrap=True
        )
        console.print(Text(f"    {printable(row.excerpt, 100)}", style="dim"), soft_wrap=True)
    if output is not None:
        console.print(Text(f"Every row with findings, in reading order: {output}"), soft_wrap=True)


def printable(text: str, limit: int) -> str:
    """One line of at most ``limit`` characters that cannot drive a terminal."""
    line = "".join(char if char.isprintable() else " " for char in text[: limit + 1])
    return line if len(line) <= limit else line[: limit - 3] + "..."
