"""`mindgap-data retry`: the failed rows of a finished run, drawn again and put in their places."""

import click

from mindgap_data.commands.options.group import SectionedCommand
from mindgap_data.commands.options.rewriting import rewriting_options
from mindgap_data.commands.options.run import Allowance, max_failed_option
from mindgap_data.commands.rewrite_summary import print_summary
from mindgap_data.engines.open import running_engine
from mindgap_data.errors import UserError
from mindgap_data.rewrite.job import RewriteRequest
from mindgap_data.rewrite.retry import RetryJob, read_finished
from mindgap_data.rows.elsewhere import StandIn
from mindgap_data.run.job import RunFiles, RunOptions, execute


@click.command("retry", cls=SectionedCommand)
@rewriting_options
@max_failed_option
@click.option("--restart", is_flag=True, help="Forget an unfinished retry of this output.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def command(request: RewriteRequest, files: RunFiles, max_failed: Allowance, restart: bool, quiet: bool) -> None:
    """Draw the failed rows of a finished run again, and put those that succeed into its output.

    Give the command of the run with `retry` in place of `rewrite`. Input and settings must be those of the run,
    as its summary holds them; only the address of a server, keys, batch size and processes may differ. The rows that
    the output has stay as they are. The failed ones are drawn with another seed (the n-th retry adds n) and go to
    their places in the order of INPUT. Until the retry is finished the output is the old one; a retry that was
    stopped continues when the same command is given again.

    \b
    Example:
      mindgap-data retry recipes/data/word_problems.jsonl --max-tokens 200
    """
    if isinstance(files.output, StandIn):
        raise UserError(f"{files.output}: retry changes an output on this machine; copy it and its summary here")
    run = read_finished(files)
    if not run.figures["failed"]:
        click.echo(f"{files.output}: no row failed; there is nothing to retry")
        return
    with (
        request.verifier.pool() as pool,
        running_engine(request.policy, request.sampling, seed=request.options.seed, quiet=quiet) as engine,
    ):
        job = RetryJob(request, engine, run, files.output)
        result = execute(job, engine, pool, RunOptions(files, restart, quiet))
    print_summary(job.figures(result), files)
    max_failed.check(result.failed, result.failed + result.written, files.failed)
