"""`mindgap-data score`: policy log-probs for a rewritten file, or for plain SFT data."""

import click

from mindgap_data.commands.options.cluster import cluster_options
from mindgap_data.commands.options.files import output_path
from mindgap_data.commands.options.group import SectionedCommand
from mindgap_data.commands.options.policy import policy_options
from mindgap_data.commands.options.rows import Reading, input_options
from mindgap_data.commands.options.run import Allowance, RunFlags, max_failed_option, output_option, run_options
from mindgap_data.engines.open import Policy
from mindgap_data.rewrite.scoring import ScoreRequest
from mindgap_data.rows.inputs import InputRows
from mindgap_data.rows.sources import open_source
from mindgap_data.run.cluster.run import ClusterOptions, run_work
from mindgap_data.run.job import RunFiles, RunOptions


@click.command("score", cls=SectionedCommand)
@click.argument("input", metavar="FILE")
@output_option
@click.option(
    "--expert", "score_expert", is_flag=True, help="Also score the expert's text of every rewritten row, for `gap`."
)
@click.option("--limit", type=click.IntRange(min=1), help="Use only the first rows.")
@max_failed_option
@run_options
@cluster_options
@input_options
@policy_options
def command(
    input: str,
    output: str,
    score_expert: bool,
    limit: int | None,
    max_failed: Allowance,
    run: RunFlags,
    cluster: ClusterOptions | None,
    reading: Reading,
    policy: Policy,
) -> None:
    """Write FILE again with policy_logprobs under a model: temperature 1, the plain prompt, exact ids.

    Rewritten rows keep their ids, tier and behaviour log-probs; rows of a plain SFT file become
    records of the expert tier. provenance.policy says whose log-probs they are.

    \b
    Example:
      mindgap-data score sft.jsonl -o sft.scored.jsonl
    """
    rows = InputRows(open_source(input), reading.fields, reading.instruction, limit)
    files = RunFiles.beside(output_path(output, input))
    files.refuse_existing(run.overwrite)
    request = ScoreRequest(rows, policy, score_expert)
    _, result = run_work(request, cluster, RunOptions(files, run.restart, run.quiet))
    tokens, seconds = result.meter.scored_tokens, result.seconds
    click.echo(f"{files.output}: {result.written} rows scored, {tokens:,} tokens, {seconds:.1f} s")
    if result.failed:
        click.echo(f"{result.failed} rows failed, with reasons: {files.failed}")
    max_failed.check(result.failed, result.failed + result.written, files.failed)
