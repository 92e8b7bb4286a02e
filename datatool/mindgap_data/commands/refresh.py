"""`mindgap-data refresh`: the worker beside a training run."""

from pathlib import Path

import click

from mindgap_data.commands.options.group import SectionedCommand, without_options
from mindgap_data.commands.options.rewriting import rewriting_options
from mindgap_data.engines.open import choose_engine
from mindgap_data.errors import UserError
from mindgap_data.refresh.folder import RefreshFolder
from mindgap_data.refresh.worker import Worker, WorkerOptions
from mindgap_data.rewrite.job import RewriteRequest
from mindgap_data.rewrite.previous import KEEP_WITHIN
from mindgap_data.run.job import RunFiles


@click.command("refresh", cls=SectionedCommand)
@click.option(
    "--folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder shared with the run: mindgap.refresh.folder of its recipe.",
)
@click.option(
    "--batch-rows", type=click.IntRange(min=1), help="Rows published together. [default: 4 for each slot of the engine]"
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End, with exit code 2, when no new adapter has come for so long. [default: wait for ever]",
)
@click.option("--restart", is_flag=True, help="Forget the batch that a stopped worker left half-way.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@without_options(output=None, round_=None, previous=None, keep_within=KEEP_WITHIN, shard=None, limit=None)
@rewriting_options
def command(
    request: RewriteRequest,
    files: RunFiles,
    folder: Path,
    batch_rows: int | None,
    patience: float | None,
    restart: bool,
    quiet: bool,
) -> None:
    """Draw the rows of a training run again while it trains, with the newest adapter that it has published.

    INPUT is the file that the training data was rewritten from. Of its rows, those that the run trains on are drawn
    again, one after the other, with whatever adapter is the newest; the run takes them in. Ends when the run does. A
    worker that was stopped goes on when the same command is given again. --adapter has no effect.

    \b
    Example:
      mindgap-data refresh in.jsonl --recipe train.yaml --folder runs/refresh
    """
    if choose_engine(request.policy.settings)[0] == "openai":
        raise UserError("a server does not follow the policy as it is trained; use --engine transformers or vllm")
    worker = Worker(
        RefreshFolder(folder),
        request,
        WorkerOptions(batch_rows, patience, restart, quiet),
        lambda line: click.echo(line, err=True),
    )
    batches = worker.work()
    click.echo(f"{folder}: the run is over; {batches} batches drawn")
