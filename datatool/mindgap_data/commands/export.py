"""`mindgap-data export`: a rewritten file in the format of another trainer."""

from pathlib import Path

import click

from mindgap_data.errors import UserError
from mindgap_data.rows.export import TARGETS, export
from mindgap_data.rows.records import read_records


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", "target", type=click.Choice(list(TARGETS)), required=True, help="The trainer that is to read it.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Output. [default: FILE.TRAINER.jsonl, for verl .parquet]",
)
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
def command(file: Path, target: str, output: Path | None, overwrite: bool) -> None:
    """Write the conversations of a rewritten FILE as another trainer reads them.

    Log-probs and token ids stay behind: those trainers do plain fine-tuning on the rewritten responses, without
    importance weights. For llamafactory the folder's dataset_info.json is written or extended.

    \b
    Example:
      mindgap-data export out.jsonl --to trl
    """
    suffix = "parquet" if target == "verl" else "jsonl"
    output = output or file.with_name(f"{file.name.removesuffix('.gz').removesuffix('.jsonl')}.{target}.{suffix}")
    if output.exists() and not overwrite:
        raise UserError(f"{output}: exists already; choose another -o, or replace it with --overwrite")
    if not output.parent.is_dir():
        raise UserError(f"{output}: there is no folder {output.parent}; create it or choose another -o")
    written = export(read_records(file), target, output)
    click.echo(f"{output}: {written} rows for {target}")
