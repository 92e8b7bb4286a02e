"""`mindgap-data evaluate`: accuracy, pass@k and majority vote of a policy on benchmarks, and comparison of two runs."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from mindgap_data.commands.options.cluster import cluster_options
from mindgap_data.commands.options.files import LOCAL_FOLDER
from mindgap_data.commands.options.group import SectionedCommand
from mindgap_data.commands.options.policy import policy_options
from mindgap_data.commands.options.rows import Reading, input_options
from mindgap_data.commands.options.run import RunFlags, run_options
from mindgap_data.commands.options.sampling import sampling_options
from mindgap_data.commands.options.verifier import verifier_options
from mindgap_data.engines import Sampling
from mindgap_data.engines.open import Policy
from mindgap_data.errors import UserError
from mindgap_data.evaluation.benchmarks import BOXED_INSTRUCTION, read_benchmarks
from mindgap_data.evaluation.folder import evaluation_files, finished_summary, read_summary
from mindgap_data.evaluation.request import EvaluationRequest
from mindgap_data.rows.sources import open_source
from mindgap_data.run.cluster.run import ClusterOptions, execute_on_cluster
from mindgap_data.run.job import RunOptions, execute
from mindgap_data.verify.settings import VerifierSettings

# The percentile bootstrap covers too little below this.
FEW_PROBLEMS = 30
# The paper's evaluation; its sampling options may not be set to anything else beside it.
PAPER_SAMPLES = 16
PAPER_SAMPLING = Sampling(max_tokens=4096)
PAPER_PROTOCOL = {"samples": PAPER_SAMPLES, **PAPER_SAMPLING.as_dict(), "instruction": BOXED_INSTRUCTION}


@click.command("evaluate", cls=SectionedCommand)
@click.argument("benchmarks", nargs=-1, metavar="BENCH...")
@click.option(
    "-o",
    "--output",
    type=LOCAL_FOLDER,
    help="Folder for generations.jsonl and summary.json.",
)
@click.option("--samples", type=click.IntRange(min=1), default=4, show_default=True, help="Draws per problem.")
@click.option(
    "--protocol",
    type=click.Choice(["paper"]),
    help="paper: 16 draws, temperature 1, top_p 1, 4,096 tokens, and the instruction to box the answer.",
)
@click.option(
    "--compare",
    "compared",
    nargs=2,
    metavar="A B",
    type=LOCAL_FOLDER,
    help="Test two finished folders against each other instead: is B really better than A?",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the draws.")
@click.option("--limit", type=click.IntRange(min=1), help="Use only the first problems of each benchmark.")
@run_options
@cluster_options
@verifier_options
@sampling_options(max_tokens=2048)
@input_options
@policy_options
@click.pass_context
def command(
    context: click.Context,
    /,
    benchmarks: tuple[str, ...],
    output: Path | None,
    samples: int,
    protocol: str | None,
    compared: tuple[Path, Path] | None,
    as_json: bool,
    seed: int,
    limit: int | None,
    run: RunFlags,
    cluster: ClusterOptions | None,
    verifier: VerifierSettings,
    sampling: Sampling,
    reading: Reading,
    policy: Policy,
) -> None:
    """Evaluate a model, adapter or server on benchmarks: files of problems with reference answers.

    Reports mean accuracy over all draws with a 95% interval (problems are resampled), pass@k, the
    majority vote, and apart: draws without an answer, and truncated ones. A run that was stopped
    continues when the same command is given again; a finished one is shown again.

    \b
    Example:
      mindgap-data evaluate math500.jsonl aime24.jsonl --protocol paper --model Qwen/Qwen2.5-Math-7B -o base/
      mindgap-data evaluate --compare base/ tuned/
    """
    if compared:
        if benchmarks:
            raise UserError(f"--compare takes two finished folders and runs nothing: leave out {benchmarks[0]}")
        _compare(*compared, as_json)
        return
    if not benchmarks:
        raise UserError("nothing to evaluate: name at least one file of problems, or two folders with --compare")
    if output is None:
        raise UserError("-o is missing: name a folder to keep the generations and figures in")
    if protocol:
        _refuse_other_values(context)
        samples, sampling, reading = PAPER_SAMPLES, PAPER_SAMPLING, replace(reading, instruction=BOXED_INSTRUCTION)
    if sampling.temperature == 0:
        _refuse_many_samples(context)
        samples = 1
    request = EvaluationRequest(
        read_benchmarks([open_source(name) for name in benchmarks], reading.fields, reading.instruction, limit),
        protocol,
        samples,
        seed,
        limit,
        verifier,
        sampling,
        reading.fields,
        reading.instruction,
        policy,
    )
    summary = _evaluate(request, output, cluster, run)
    if as_json:
        click.echo(json.dumps(summary, indent=2, ensure_ascii=False))
    else:
        _show(summary)


def _refuse_other_values(context: click.Context) -> None:
    """Options that the paper's protocol sets may not be given another value beside it."""
    for name, value in PAPER_PROTOCOL.items():
        given = context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
        if given and context.params[name] != value:
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"--protocol paper sets {option} to {value!r}; leave out {option}, or the protocol")


def _refuse_many_samples(context: click.Context) -> None:
    given = context.get_parameter_source("samples") is not click.core.ParameterSource.DEFAULT
    if given and context.params["samples"] > 1:
        raise UserError("--temperature 0 draws the same response every time; use --samples 1, or a temperature")


def _evaluate(
    request: EvaluationRequest, folder: Path, cluster: ClusterOptions | None, run: RunFlags
) -> Mapping[str, Any]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: the folder cannot be made: {error.strerror}") from error
    files = evaluation_files(folder)
    options = RunOptions(files, run.restart, run.quiet)
    if cluster is not None:
        if files.summary.exists() and not run.overwrite:
            raise UserError(
                f"{folder}: holds a finished evaluation; show it without --ray, choose another -o, or pass --overwrite"
            )
        execute_on_cluster(request, cluster, options)
        return read_summary(folder)
    with request.pool() as pool, request.engine(run.quiet) as engine:
        job = request.job(engine)
        if not run.overwrite and (finished := finished_summary(folder, job.settings)) is not None:
            return finished
        _warn(engine.max_context, request.sampling.max_tokens)
        files.summary.unlink(missing_ok=True)
        execute(job, engine, pool, options)
    return read_summary(folder)


def _warn(max_context: int, max_tokens: int) -> None:
    if max_context <= max_tokens:
        print(
            f"The context holds {max_context} tokens, prompt included: no response can have the {max_tokens} "
            "of --max-tokens, and some may be truncated earlier.",
            file=sys.stderr,
        )


def _compare(a: Path, b: Path, as_json: bool) -> None:
    from mindgap_data.evaluation.compare import caveats, compare, read_evaluation

    left, right = read_evaluation(a), read_evaluation(b)
    compared, notes = compare(left, right), caveats(left, right)
    if as_json:
        result = {"a": str(a), "b": str(b), "comparisons": [one.as_dict() for one in compared], "caveats": notes}
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(f"A = {a}, B = {b}"), title_justify="left", box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False
    )
    table.add_column("benchmark", overflow="fold")
    for column in ("n", "A", "B", "B - A, 95% interval", "p", "real?"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in compared:
        difference = one.difference
        table.add_row(
            Text(one.name),
            str(one.problems),
            f"{100 * one.a:.2f}",
            f"{100 * one.b:.2f}",
            f"{100 * difference.estimate:+.2f} ({100 * difference.low:+.2f} to {100 * difference.high:+.2f})",
            f"{one.p_value:.4f}",
            "yes" if one.real else "no",
        )
    console = Console()
    console.print(table)
    for sentence in [*(one.in_words() for one in compared), *notes]:
        console.print(Text(sentence), soft_wrap=True)


def _show(summary: Mapping[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = [*summary["benchmarks"], *([summary["average"]] if summary["average"] else [])]
    samples = rows[0]["samples"]
    title = f"{samples} draw{'s' if samples > 1 else ''} a problem; per cent, 95% interval over problems"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("benchmark", overflow="fold")
    for column in ("n", "accuracy", f"maj@{samples}", "no ans.", "trunc.", "error", "tokens"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        accuracy, shares = row["accuracy"], row["shares"]
        table.add_row(
            Text(row["name"]),
            str(row["problems"]),
            f"{_percent(accuracy['estimate'])} ({_percent(accuracy['low'])} to {_percent(accuracy['high'])})",
            _percent(row["majority"]["estimate"]),
            *(_percent(shares[name]) for name in ("no_answer", "truncated", "checker_error")),
            f"{row['tokens']:.0f}",
        )
    console = Console()
    console.print(table)
    if samples > 1:
        for row in rows:
            figures = ", ".join(f"pass@{k} {_percent(value['estimate'])}" for k, value in row["pass_at"].items())
            console.print(Text(f"{row['name']}: {figures}"), soft_wrap=True)
    for row in summary["benchmarks"]:
        if row["problems"] < FEW_PROBLEMS:
            few = f"{row['name']} has {row['problems']} problems: intervals of so few are too narrow."
            console.print(Text(few), soft_wrap=True)
    failed = max(row["shares"]["failed"] for row in rows)
    if failed:
        console.print(
            f"{100 * failed:.2f}% of draws failed in the engine and count as wrong; generations.jsonl says why."
        )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
