"""`mindgap-data validate`: is every row of a rewritten file a record, and do ids, log-probs and text agree?"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from mindgap_data.agreement import decoding_error
from mindgap_data.commands.options.files import INPUT_FILE
from mindgap_data.errors import UserError, one_line
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.record import TIERS, record_error
from mindgap_data.rows.jsonl import dumps
from mindgap_data.rows.reading import read_raw_rows
from mindgap_data.run.keyindex import KeyIndex


@dataclass(frozen=True)
class Fault:
    """What is wrong with one row."""

    line: int
    reason: str


@click.command()
@click.argument("file", type=INPUT_FILE)
@click.option("--tokenizer", metavar="NAME_OR_PATH", help="Check ids, text and fingerprints with this tokenizer, too.")
@click.option(
    "--chat-template", metavar="FILE|NAME", help="Jinja file or known name, where it is not the tokenizer's own."
)
@click.option(
    "--max-errors", type=click.IntRange(min=1), default=20, show_default=True, help="Rows to name; all are counted."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(file: Path, tokenizer: str | None, chat_template: str | None, max_errors: int, as_json: bool) -> None:
    """Check every row of FILE: the record's schema, aligned ids and log-probs, no id twice.

    With --tokenizer also: the rows were made with this tokenizer and chat template, every id is in its
    vocabulary, ids decode to the text, the response ends its turn, and the prompt renders.
    Exit code 0: all rows are good. 2: some are not, or the file cannot be read.

    \b
    Example:
      mindgap-data validate train.jsonl
      mindgap-data validate train.jsonl --tokenizer Qwen/Qwen2.5-0.5B-Instruct
    """
    check = _tokenizer_check(tokenizer, chat_template)
    tiers: Counter[str] = Counter()
    faults: list[Fault] = []
    rows = wrong = 0
    for line, tier, reason in _checked(file, check):
        rows += 1
        if reason is None:
            tiers[tier] += 1
            continue
        wrong += 1
        if len(faults) < max_errors:
            faults.append(Fault(line, one_line(reason)))
    if rows == 0:
        raise UserError(f"{file}: the file has no rows")
    if as_json:
        _print_json(file, rows, wrong, tiers, faults)
    else:
        _print_text(file, rows, wrong, tiers, faults)
    if wrong:
        raise click.exceptions.Exit(UserError.exit_code)


def _checked(file: Path, check: Callable[[dict[str, Any]], str | None]) -> Iterator[tuple[int, str, str | None]]:
    """(line, tier, what is wrong or None) of every row."""
    with closing(KeyIndex()) as seen:
        for raw in read_raw_rows(file):
            if raw.row is None:
                yield raw.line, "", raw.error
                continue
            reason = record_error(raw.row)
            if reason is None and not seen.add(raw.row["id"], raw.line):
                reason = f"field id: {raw.row['id']!r} is line {seen.get(raw.row['id'])}'s already"
            yield raw.line, str(raw.row.get("tier")), reason or check(raw.row)


def _tokenizer_check(name: str | None, chat_template: str | None) -> Callable[[dict[str, Any]], str | None]:
    """The check of a valid record against a tokenizer, or one that finds nothing when none is named."""
    if name is None:
        if chat_template is not None:
            raise UserError("--chat-template: name the tokenizer it belongs to with --tokenizer")
        return lambda row: None
    from mindgap_data.policy.models import ModelSpec, load_tokenizer
    from mindgap_data.policy.templates import read_chat_template

    template = None if chat_template is None else read_chat_template(chat_template)
    chat = load_tokenizer(ModelSpec(model=name, chat_template=template))
    vocabulary = len(chat.hf)
    return lambda row: _tokenizer_error(row, chat, vocabulary)


def _tokenizer_error(row: dict[str, Any], chat: ChatTokenizer, vocabulary: int) -> str | None:
    ids, provenance, last = row["response_token_ids"], row["provenance"], row["messages"][-1]
    chat = _under(chat, provenance.get("chat_template_kwargs") or {})
    for field, ours in (("tokenizer", chat.fingerprint), ("chat_template", chat.template)):
        if provenance[field] != ours:
            return f"field provenance.{field}: made with {provenance[field]}, {chat.name} is {ours}"
    if beyond := next((token for token in ids if token >= vocabulary), None):
        return f"field response_token_ids: {beyond} is not in the vocabulary of {vocabulary}"
    if ids[-1] not in chat.end_ids:
        return f"field response_token_ids: the last id, {ids[-1]}, does not end the turn"
    if (reason := decoding_error(ids, last["content"], last.get("reasoning_content"), chat)) is not None:
        return f"field {reason}"
    try:
        chat.prompt_text(row["messages"][:-1], row.get("tools"))
    except UserError as error:
        return f"field messages: {error.message}"
    return None


def _under(chat: ChatTokenizer, arguments: dict[str, Any]) -> ChatTokenizer:
    """The tokenizer with the chat template's arguments that a row was made with."""
    return chat if arguments == chat.arguments else ChatTokenizer(chat.hf, chat.name, chat.end_ids, arguments)


def _print_text(file: Path, rows: int, wrong: int, tiers: Counter[str], faults: list[Fault]) -> None:
    for fault in faults:
        click.echo(f"{file}:{fault.line}: {fault.reason}")
    if wrong > len(faults):
        click.echo(f"... and {wrong - len(faults)} more; --max-errors shows them")
    by_tier = ", ".join(f"{tiers[tier]} {tier}" for tier in TIERS)
    good = f"{rows - wrong} of {rows} rows are valid" if wrong else f"{rows} rows, all valid"
    click.echo(f"{file}: {good} ({by_tier})")


def _print_json(file: Path, rows: int, wrong: int, tiers: Counter[str], faults: list[Fault]) -> None:
    click.echo(
        dumps(
            {
                "file": str(file),
                "rows": rows,
                "wrong": wrong,
                "tiers": {tier: tiers[tier] for tier in TIERS},
                "errors": [{"line": fault.line, "error": fault.reason} for fault in faults],
            }
        )
    )
