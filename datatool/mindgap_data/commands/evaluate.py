"""`mindgap-data evaluate`: accuracy, pass@k and majority vote of a policy on benchmarks, and comparison of two runs."""

import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from mindgap_data import __version__
from mindgap_data.commands.options import (
    SectionedCommand,
    fields_from,
    input_options,
    policy_from,
    policy_options,
    sampling_from,
    sampling_options,
    verifier_options,
)
from mindgap_data.commands.pairs import pairs_from
from mindgap_data.engines.open import choose_engine, open_engine
from mindgap_data.errors import UserError
from mindgap_data.evaluation.job import (
    BOXED_INSTRUCTION,
    EvaluationPaths,
    EvaluationRun,
    adapter_fingerprint,
    finished_summary,
    read_benchmarks,
)
from mindgap_data.rows.sources import open_source

# The percentile bootstrap covers too little below this.
FEW_PROBLEMS = 30
# The paper's evaluation; its sampling options may not be set to anything else beside it.
PAPER_PROTOCOL = {
    "samples": 16,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "max_tokens": 4096,
    "instruction": BOXED_INSTRUCTION,
}


@click.command("evaluate", cls=SectionedCommand)
@click.argument("benchmarks", nargs=-1, metavar="BENCH...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
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
    type=click.Path(path_type=Path, file_okay=False),
    help="Test two finished folders against each other instead: is B really better than A?",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the draws.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first problems of each benchmark.")
@click.option("--overwrite", is_flag=True, help="Replace a finished evaluation.")
@click.option("--restart", is_flag=True, help="Forget an unfinished evaluation.")
@click.option("--quiet", is_flag=True, help="No progress.")
@verifier_options
@sampling_options(max_tokens=2048)
@input_options
@policy_options
@click.pass_context
def command(context: click.Context, /, **options: Any) -> None:
    """Evaluate a model, adapter or server on benchmarks: files of problems with reference answers.

    Reports mean accuracy over all draws with a 95% interval (problems are resampled), pass@k, the
    majority vote, and apart: draws without an answer, and truncated ones. A run that was stopped
    continues when the same command is given again; a finished one is shown again.

    \b
    Example:
      mindgap-data evaluate math500.jsonl aime24.jsonl --protocol paper --model Qwen/Qwen2.5-Math-7B -o base/
      mindgap-data evaluate --compare base/ tuned/
    """
    if options["compared"]:
        if options["benchmarks"]:
            raise UserError(
                f"--compare takes two finished folders and runs nothing: leave out {options['benchmarks'][0]}"
            )
        before, after = options["compared"]
        _compare(before, after, options["as_json"])
        return
    if not options["benchmarks"]:
        raise UserError("nothing to evaluate: name at least one file of problems, or two folders with --compare")
    if options["output"] is None:
        raise UserError("-o is missing: name a folder to keep the generations and figures in")
    if options["protocol"]:
        _apply_protocol(context, options)
    if options["temperature"] == 0:
        _draw_once(context, options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        summary = _evaluate(options)
    except KeyboardInterrupt:
        folder = options["output"]
        print(f"\nStopped; nothing is lost. Run the same command again to continue {folder}", file=sys.stderr)
        sys.exit(130)
    if options["as_json"]:
        click.echo(json.dumps(summary, indent=2, ensure_ascii=False))
    else:
        _show(summary)


def _apply_protocol(context: click.Context, options: dict[str, Any]) -> None:
    for name, value in PAPER_PROTOCOL.items():
        given = context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
        if given and options[name] != value:
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"--protocol paper sets {option} to {value!r}; leave out {option}, or the protocol")
        options[name] = value


def _draw_once(context: click.Context, options: dict[str, Any]) -> None:
    given = context.get_parameter_source("samples") is not click.core.ParameterSource.DEFAULT
    if given and options["samples"] > 1:
        raise UserError("--temperature 0 draws the same response every time; use --samples 1, or a temperature")
    options["samples"] = 1


def _evaluate(options: dict[str, Any]) -> dict[str, Any]:
    from mindgap_data.verify.pool import VerifierPool

    fields, sampling, policy = fields_from(options), sampling_from(options), policy_from(options)
    sources = [open_source(name) for name in options["benchmarks"]]
    benchmarks = read_benchmarks(sources, fields, options["instruction"], options["limit"])
    paths = _folder(options)
    checker_options = pairs_from(options["verifier_options"], "--verifier-option")
    if not options["quiet"]:
        name, why = choose_engine(policy.settings)
        print(f"engine {name} ({why}), model {policy.spec.model}", file=sys.stderr)
    with VerifierPool(
        options["verifier"], checker_options, timeout=options["verify_timeout"], workers=options["workers"]
    ) as verifier:
        engine = open_engine(policy.spec, sampling, policy.settings, seed=options["seed"])
        try:
            settings = {
                "tool_version": __version__,
                "benchmarks": {benchmark.name: benchmark.fingerprint for benchmark in benchmarks},
                "fields": asdict(fields),
                "instruction": options["instruction"],
                "limit": options["limit"],
                "protocol": options["protocol"],
                "samples": options["samples"],
                "sampling": sampling.as_dict(),
                "max_context": engine.max_context,
                "seed": options["seed"],
                "verifier": options["verifier"],
                "verifier_options": checker_options,
                "model": policy.spec.model,
                "revision": engine.revision,
                "adapter": policy.spec.adapter,
                "adapter_weights": adapter_fingerprint(policy.spec.adapter),
                "engine": engine.name,
                "dtype": engine.dtype,
                "tokenizer": engine.tokenizer.fingerprint,
                "chat_template": engine.tokenizer.template,
            }
            if not options["overwrite"] and (finished := finished_summary(paths, settings)) is not None:
                return finished
            _warn(engine.max_context, sampling.max_tokens)
            paths.summary.unlink(missing_ok=True)
            return EvaluationRun(
                benchmarks, options["samples"], options["seed"], engine, verifier, paths, settings, options["quiet"]
            ).execute()
        finally:
            engine.close()


def _folder(options: dict[str, Any]) -> EvaluationPaths:
    paths = EvaluationPaths(options["output"])
    try:
        paths.folder.mkdir(parents=True, exist_ok=True)
        if options["restart"]:
            paths.journal.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{paths.folder}: the folder cannot be made: {error.strerror}") from error
    return paths


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


def _show(summary: dict[str, Any]) -> None:
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
