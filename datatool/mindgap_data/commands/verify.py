"""``mindgap-data verify``: run a verifier over any file of responses."""

import sys
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from mindgap_data.commands.options.files import INPUT_FILE, output_path
from mindgap_data.commands.pairs import pairs_from
from mindgap_data.errors import UserError
from mindgap_data.rows.reading import read_rows
from mindgap_data.rows.writing import JsonlWriter
from mindgap_data.verify import Verdict
from mindgap_data.verify.pool import VerifierPool
from mindgap_data.verify.tool_call import as_text

RESPONSE_FIELDS = ("response", "completion", "prediction", "output", "generation", "messages")
ANSWER_FIELDS = ("answer", "reference", "reference_answer", "gold", "target", "Answer")


@dataclass(frozen=True)
class CheckedRow:
    """One row with what is checked of it."""

    row: dict[str, Any]
    responses: list[str]
    answer: str
    several: bool  # the row holds a list of responses


@click.command()
@click.argument("file", type=INPUT_FILE)
@click.option(
    "--verifier",
    default="math",
    show_default=True,
    help="math, numeric, exact, choice, regex, json, tool_call, code, judge, none, an installed name, or "
    "module:function; a row's field 'verifier' overrides it.",
)
@click.option(
    "--verifier-option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Option of the verifier, e.g. rel_tol=0.01 or ignore_case=yes. Repeatable.",
)
@click.option(
    "--response-field",
    help="Field with the response: a text, a list of texts, or chat messages.  [default: the first present of "
    + ", ".join(RESPONSE_FIELDS)
    + "]",
)
@click.option(
    "--answer-field",
    help="Field with the reference answer.  [default: the first present of " + ", ".join(ANSWER_FIELDS) + "]",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write every row with its verdict in a field 'verdict' here; - is standard output.",
)
@click.option("--timeout", default=5.0, show_default=True, help="Time limit for checking one answer, in seconds.")
@click.option("--workers", type=int, help="Worker processes.  [default: one per CPU]")
@click.option("--memory", "memory_mb", default=2048, show_default=True, help="Address space of each worker, MiB.")
def command(
    file: Path,
    verifier: str,
    options: tuple[str, ...],
    response_field: str | None,
    answer_field: str | None,
    output: str | None,
    timeout: float,
    workers: int | None,
    memory_mb: int,
) -> None:
    """Run a verifier over FILE, any JSONL file of responses, and print the accuracy and the verdict counts.

    FILE may hold mindgap records, chat messages, or rows of plain fields.

    \b
    Example:
      mindgap-data verify responses.jsonl --response-field output --answer-field gold -o verdicts.jsonl
    """
    target = None if output is None else output_path(output, str(file))
    if target is not None and target.resolve() == file.resolve():
        raise UserError(f"{output}: the output is the input; name another file with -o")
    counts: Counter[Verdict] = Counter()
    with VerifierPool(verifier, pairs_from(options, "--verifier-option"), timeout, workers, memory_mb) as pool:
        needs_answer = pool.needs_answer
        rows = _rows(file, response_field, answer_field, needs_answer, pool)
        with JsonlWriter(target) if target is not None else nullcontext() as writer:
            for row, verdicts in _verdicts(rows, pool):
                counts.update(verdicts)
                if writer is not None:
                    writer.write({**row.row, "verdict": verdicts if row.several else verdicts[0]})
            if writer is not None:
                writer.finish()
    _print(counts, sys.stdout.isatty())


def _rows(
    file: Path, response_field: str | None, answer_field: str | None, needs_answer: bool, pool: VerifierPool
) -> Iterator[CheckedRow]:
    for line, row in read_rows(file):
        where = f"{file}:{line}"
        try:
            responses, several = _responses(row, response_field)
            answer = _answer(row, answer_field, needs_answer)
            pool.verifier_of(row)
        except UserError as error:
            raise UserError(f"{where}: {error.message}") from error
        yield CheckedRow(row, responses, answer, several)


def _responses(row: Mapping[str, Any], field: str | None) -> tuple[list[str], bool]:
    """The responses of a row, and whether it holds a list of them."""
    name = field or next((name for name in RESPONSE_FIELDS if name in row), None)
    if name is None:
        raise UserError(f"no response in fields {', '.join(RESPONSE_FIELDS)}; name it with --response-field")
    if name not in row:
        raise UserError(f"field {name}: not in this row; name the response with --response-field")
    value = row[name]
    if isinstance(value, str):
        return [value], False
    if isinstance(value, list) and value and all(isinstance(item, Mapping) and "role" in item for item in value):
        return [_last_turn(value, name)], False
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return list(value), True
    raise UserError(f"field {name}: a response must be a text, a list of texts or chat messages")


def _last_turn(messages: list[Mapping[str, Any]], name: str) -> str:
    last = messages[-1]
    if last.get("role") == "assistant" and isinstance(last.get("tool_calls"), list):
        return f"{last.get('content') or ''}\n{as_text(last['tool_calls'])}"
    if last.get("role") != "assistant" or not isinstance(last.get("content"), str):
        raise UserError(
            f"field {name}: the last turn must be text of the assistant, got role {str(last.get('role'))[:40]!r}"
        )
    return str(last["content"])


def _answer(row: Mapping[str, Any], field: str | None, needed: bool) -> str:
    name = field or next((name for name in ANSWER_FIELDS if name in row), None)
    value = row.get(name) if name is not None else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        if value is None and not needed and field is None:
            return ""
        if name is None:
            raise UserError(f"no reference answer in fields {', '.join(ANSWER_FIELDS)}; name it with --answer-field")
        if name not in row:
            raise UserError(f"field {name}: not in this row; name the reference answer with --answer-field")
        raise UserError(f"field {name}: a reference answer must be a text or a number, got {type(value).__name__}")
    return str(value)


def _verdicts(rows: Iterator[CheckedRow], pool: VerifierPool) -> Iterator[tuple[CheckedRow, list[Verdict]]]:
    """Rows with their verdicts, in order; the pool's back-pressure bounds how far checking runs ahead."""
    waiting: deque[tuple[CheckedRow, list[Future[Verdict]]]] = deque()
    for row in rows:
        waiting.append((row, [pool.submit(response, row.answer, row.row) for response in row.responses]))
        while waiting and (len(waiting) > 1000 or all(future.done() for future in waiting[0][1])):
            first, futures = waiting.popleft()
            yield first, [future.result() for future in futures]
    for last, futures in waiting:
        yield last, [future.result() for future in futures]


def _print(counts: Counter[Verdict], terminal: bool) -> None:
    total = sum(counts.values())
    lines = [(verdict.value, counts[verdict], counts[verdict] / total) for verdict in Verdict]
    if terminal:
        from rich.console import Console
        from rich.table import Table

        table = Table("verdict", "responses", "share")
        for name, count, share in lines:
            table.add_row(name, str(count), f"{share:.1%}")
        Console().print(table)
    else:
        for name, count, share in lines:
            click.echo(f"{name:<14}{count:>8}  {share:>6.1%}")
    click.echo(f"accuracy {counts[Verdict.CORRECT] / total:.4f} of {total} responses")
    if counts[Verdict.CHECKER_ERROR]:
        click.echo("A checker error is neither right nor wrong: the check failed, ran out of time or memory.", err=True)
