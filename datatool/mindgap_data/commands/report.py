"""`mindgap-data report`: the gap as one self-contained HTML page."""

from pathlib import Path
from typing import Any

import click

from mindgap_data.commands.options.clip import clip_options
from mindgap_data.commands.options.files import INPUT_FILE, LOCAL_FILE
from mindgap_data.gap.figures import Settings
from mindgap_data.rows.writing import AtomicWriter


@click.command()
@click.argument("file", type=INPUT_FILE)
@click.option("-o", "--output", required=True, type=LOCAL_FILE, help="The page to write, e.g. report.html.")
@click.option(
    "--trainer-state",
    type=click.Path(path_type=Path),
    help="trainer_state.json of a checkpoint; adds the training curves.",
)
@click.option(
    "--scorecard",
    type=click.Path(path_type=Path),
    help="The scorecard.json of `mindgap-data forget`: adds what fine-tuning cost.",
)
@click.option(
    "--tokenizer",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Colours the texts token by token: hub name or folder; auto: that of the file's model, if it is on "
    "this machine; none: a strip of token weights instead.",
)
@click.option(
    "--max-rows",
    type=click.IntRange(min=0),
    default=10_000,
    show_default=True,
    help="Rows listed in the page; of a longer file, an even sample. Figures are of all rows.",
)
@clip_options
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the bootstrap and of the sample of rows.",
)
def command(
    file: Path,
    output: Path,
    trainer_state: Path | None,
    scorecard: Path | None,
    tokenizer: str,
    max_rows: int,
    **options: Any,
) -> None:
    """Write a page on a rewritten file: figures, what looks wrong, charts, and every row beside its expert.

    The page is one file: it opens from disk, loads nothing, and holds the texts of the rows.

    \b
    Example:
      mindgap-data report train.jsonl -o report.html
      mindgap-data report train.jsonl -o report.html --trainer-state out/checkpoint-100/trainer_state.json
    """
    from mindgap_data.evaluation.scorecard import read_scorecards
    from mindgap_data.report.build import build_report
    from mindgap_data.report.page import write_page
    from mindgap_data.report.tokenizers import open_pieces
    from mindgap_data.report.training import read_training_run

    run = read_training_run(trainer_state) if trainer_state else None
    scorecards = read_scorecards(scorecard) if scorecard else []
    pieces, note = open_pieces(file, tokenizer)
    report = build_report(file, Settings(**options), pieces, max_rows, run, scorecards)
    with AtomicWriter(output) as writer:
        write_page(writer, f"mindgap: {file.name}", report.summary, report.rows)
        writer.finish()
    for line in (note, *report.gap.notices):
        if line:
            click.echo(f"Note: {line}", err=True)
    for finding in report.findings:
        click.echo(f"{finding.severity:>4}: {finding.title} ({finding.detail})")
    click.echo(
        f"{output}: {len(report.rows):,} of {len(report.gap.sums.tier):,} rows, {output.stat().st_size / 2**20:.1f} MiB"
    )
