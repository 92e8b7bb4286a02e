"""`mindgap-data export`: a rewritten file in the format of another trainer."""

from pathlib import Path

import click

from mindgap_data.commands.options.files import INPUT_FILE, output_path
from mindgap_data.errors import UserError
from mindgap_data.rows.elsewhere import STANDARD
from mindgap_data.rows.export import TARGETS, export
from mindgap_data.rows.records import read_records


@click.command("export")
@click.argument("file", type=INPUT_FILE)
@click.option("--to", "target", type=click.Choice(list(TARGETS)), required=True, help="The trainer that is to read it.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Output; - is standard output. [default: FILE.TRAINER.jsonl, for verl .parquet]",
)
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
def command(file: Path, target: str, output: str | None, overwrite: bool) -> None:
    """Write the conversations of a rewritten FILE as another trainer reads them.

    Log-probs and token ids stay behind: those trainers do plain fine-tuning on the rewritten responses, without
    importance weights. For llamafactory the folder's dataset_info.json is written or extended.

    \b
    Example:
      mindgap-data export out.jsonl --to trl
    """
    suffix = "parquet" if target == "verl" else "jsonl"
    stem = file.name.removesuffix(".gz").removesuffix(".jsonl")
    path = output_path(output, str(file)) if output else file.with_name(f"{stem}.{target}.{suffix}")
    if target == "llamafactory" and output == STANDARD:
        raise UserError("--to llamafactory: its dataset_info.json names a file; choose one with -o")
    if path.exists() and not overwrite:
        raise UserError(f"{path}: exists already; choose another -o, or replace it with --overwrite")
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}; create it or choose another -o")
    written = export(read_records(file), target, path)
    click.echo(f"{path}: {written} rows for {target}")
