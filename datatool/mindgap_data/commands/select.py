"""`mindgap-data select`: training files for the ablation grid from one rewritten file."""

import json
from pathlib import Path

import click

from mindgap_data.commands.options.files import INPUT_FILE, output_folder
from mindgap_data.errors import UserError
from mindgap_data.record import TIERS
from mindgap_data.rewrite.selection import (
    GRID,
    Selection,
    cell_name,
    read_lengths,
    require_expert_logprobs,
    select,
    selected_records,
)
from mindgap_data.rows.writing import RecordWriter


class Stages(click.ParamType):
    """Stages to keep, as `self,guided`; `expert` alone keeps none; `all` is both."""

    name = "STAGES"

    def convert(
        self, value: str | frozenset[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> frozenset[str]:
        """The stages other than the fallback."""
        if isinstance(value, frozenset):
            return value
        names = {"self", "guided"} if value == "all" else {name.strip() for name in value.split(",")}
        if unknown := sorted(names - set(TIERS)):
            raise UserError(
                f"--tiers {value}: there is no stage {', '.join(unknown)}; name some of {', '.join(TIERS)}, or all"
            )
        return frozenset(names - {"expert"})


@click.command()
@click.argument("file", type=INPUT_FILE)
@click.option(
    "-o",
    "--output",
    metavar="FOLDER",
    help="Folder for the training files. [default: FILE.grid]",
)
@click.option(
    "--tiers",
    "cells",
    type=Stages(),
    multiple=True,
    help="Stages a file keeps, e.g. self,guided; the others' rows fall back to the expert. Repeat it for more files. "
    "[default: expert, self, guided, all]",
)
@click.option("--match-tokens", is_flag=True, help="Drop rows until every file has the trained tokens of the smallest.")
@click.option("--seed", default=0, show_default=True, help="Seed of the order in which rows are dropped.")
@click.option("--overwrite", is_flag=True, help="Replace training files that exist.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def command(
    file: Path,
    output: str | None,
    cells: tuple[frozenset[str], ...],
    match_tokens: bool,
    seed: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Cut training files for an ablation from one rewritten FILE, without sampling anything.

    Each file keeps the responses of some stages; a row of another stage is replaced by its expert
    demonstration. All files have the same rows in the same order (with --match-tokens: the same
    number of trained tokens instead). FILE needs the log-probs of its experts, which `rewrite` writes
    unless told not to and `score --expert` adds.

    \b
    Example:
      mindgap-data select out.jsonl -o grid/
      mindgap-data select out.jsonl -o grid/ --tiers self --tiers self,guided --match-tokens
    """
    folder = output_folder(output) if output else file.with_name(f"{file.name.removesuffix('.jsonl')}.grid")
    chosen = list(dict.fromkeys(cells or GRID))
    targets = {stages: folder / f"{cell_name(stages)}.jsonl" for stages in chosen}
    if not overwrite:
        for path in targets.values():
            if path.exists():
                raise UserError(f"{path}: exists already; choose another -o, or replace it with --overwrite")
    rows = read_lengths(file)
    require_expert_logprobs(file, rows, chosen)
    selections = select(rows, chosen, match_tokens=match_tokens, seed=seed)
    if not any(one.rows for one in selections):
        raise UserError(f"{file}: no row can be had in every one of the files; nothing is written")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: the folder cannot be made: {error.strerror}") from error
    for selection in selections:
        with RecordWriter(targets[selection.stages]) as writer:
            for record in selected_records(file, selection):
                writer.write(record)
            writer.finish()
    summary = [_summary(one, targets[one.stages]) for one in selections]
    unmatched = 0 if match_tokens else len(rows) - len(selections[0].rows)
    if as_json:
        click.echo(
            json.dumps({"input": str(file), "rows": len(rows), "unmatched": unmatched, "files": summary}, indent=2)
        )
        return
    _show(selections, folder)
    if unmatched:
        click.echo(
            f"{unmatched} of {len(rows)} rows have no log-probs of their expert (too long for the context) "
            "and are in no file."
        )


def _summary(selection: Selection, path: Path) -> dict[str, object]:
    return {
        "name": selection.name,
        "path": str(path),
        "rows": len(selection.rows),
        "tokens": selection.tokens,
        "tiers": dict(selection.tiers),
    }


def _show(selections: list[Selection], folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"Training files in {folder}"), title_justify="left")
    for name in ("file", "rows", *TIERS, "trained tokens"):
        table.add_column(name, justify="left" if name == "file" else "right")
    for one in selections:
        numbers = [len(one.rows), *(one.tiers[tier] for tier in TIERS), one.tokens]
        table.add_row(f"{one.name}.jsonl", *(f"{number:,}" for number in numbers))
    Console().print(table)
