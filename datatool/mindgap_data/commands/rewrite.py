"""`mindgap-data rewrite`: demonstrations in, tiers and behaviour log-probs out."""

import click

from mindgap_data.commands.options.cluster import cluster_options
from mindgap_data.commands.options.group import SectionedCommand
from mindgap_data.commands.options.rewriting import rewriting_options
from mindgap_data.commands.options.run import Allowance, RunFlags, max_failed_option, run_options
from mindgap_data.commands.rewrite_preview import show_preview
from mindgap_data.commands.rewrite_summary import print_summary
from mindgap_data.rewrite.job import RewriteJob, RewriteRequest
from mindgap_data.run.cluster.run import ClusterOptions, run_work
from mindgap_data.run.job import RunFiles, RunOptions


@click.command("rewrite", cls=SectionedCommand)
@rewriting_options
@click.option("--dry-run", is_flag=True, help="Show settings, first prompts and a cost estimate; run nothing.")
@max_failed_option
@run_options
@cluster_options
def command(
    request: RewriteRequest,
    files: RunFiles,
    dry_run: bool,
    max_failed: Allowance,
    run: RunFlags,
    cluster: ClusterOptions | None,
) -> None:
    """Rewrite the demonstrations of INPUT onto the policy: self, else guided, else expert.

    INPUT is JSONL (.gz too), parquet, or a Hugging Face dataset (folder or hub name). A run that was
    stopped continues when the same command is given again.

    \b
    Example:
      mindgap-data rewrite recipes/data/word_problems.jsonl --max-tokens 200
    """
    if dry_run:
        show_preview(request, files)
        return
    files.refuse_existing(run.overwrite)
    job, result = run_work(request, cluster, RunOptions(files, run.restart, run.quiet))
    assert isinstance(job, RewriteJob)
    print_summary(job.figures(result), files)
    max_failed.check(result.failed, result.failed + result.written, files.failed)
