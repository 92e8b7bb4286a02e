"""`mindgap-data merge`: the shards of one rewriting run as one file."""

from pathlib import Path

import click

from mindgap_data.commands.options.files import LOCAL_FILE, output_path
from mindgap_data.commands.options.run import output_option
from mindgap_data.errors import UserError
from mindgap_data.rewrite.merge import merge, read_shards
from mindgap_data.rows.sources import open_source
from mindgap_data.run.job import RunFiles


@click.command("merge")
@click.argument("input", metavar="INPUT")
@click.argument("shards", nargs=-1, required=True, metavar="SHARD...", type=LOCAL_FILE)
@output_option
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
def command(input: str, shards: tuple[Path, ...], output: str, overwrite: bool) -> None:
    """Put the shards of a run together again, in the order of INPUT, as one run would have written them.

    Each SHARD is the output of `mindgap-data rewrite INPUT --shard I/N`. Shards of other settings, missing ones and
    one that is named twice are refused. Failed rows go to OUTPUT's failed file.

    \b
    Example:
      mindgap-data merge in.jsonl part-1.jsonl part-2.jsonl -o out.jsonl
    """
    files = RunFiles.beside(output_path(output, input))
    files.refuse_existing(overwrite)
    if files.output in shards:
        raise UserError(f"{output}: is one of the shards; choose another -o")
    result = merge(open_source(input), read_shards(shards), files)
    click.echo(f"{files.output}: {result.rewritten} rows from {len(shards)} shards")
    if result.failed:
        click.echo(f"{result.failed} rows failed, with reasons: {files.failed}")
