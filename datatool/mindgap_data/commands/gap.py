"""`mindgap-data gap`: how far data lie from the policy, before and after rewriting."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from mindgap_data.checks.noise import all_noise_findings
from mindgap_data.commands.options.clip import clip_options
from mindgap_data.commands.options.files import INPUT_FILE
from mindgap_data.commands.options.policy import policy_options
from mindgap_data.engines.open import Policy, running_engine
from mindgap_data.gap.figures import Settings, as_json
from mindgap_data.gap.measure import FileGap, measure, refuse_mixed_policies
from mindgap_data.gap.tables import gap_tables

JSON_VERSION = 1


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=INPUT_FILE)
@clip_options
@click.option(
    "--confidence",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Confidence level of the bootstrap intervals.",
)
@click.option(
    "--resamples",
    type=click.IntRange(min=1, max=100_000),
    default=1000,
    show_default=True,
    help="Number of bootstrap resamples of the rows.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the resampling.")
@click.option("--json", "as_json_output", is_flag=True, help="Print JSON, with every interval and the geometric level.")
@policy_options
@click.pass_context
def command(
    context: click.Context, /, files: tuple[Path, ...], as_json_output: bool, policy: Policy, **options: Any
) -> None:
    """Measure the policy gap of rewritten files: the expert's text against the chosen responses.

    Shows how likely the policy finds each (NLL per token, perplexity), what importance weights follow
    (ESS/N, variance, chi-square, clipped share) and the KL to the behaviour policy, per tier and in all,
    with bootstrap intervals over rows. With --model, --adapter or --recipe both sides are scored again,
    under a trained policy for instance; without them the log-probs recorded in the file are used.

    \b
    Example:
      mindgap-data gap train.jsonl
      mindgap-data gap train.jsonl --adapter outputs/lora
    """
    settings = Settings(**options)
    rescored = any(context.params[name] for name in ("model", "adapter", "recipe", "base_url"))
    if rescored:
        if not (context.params["model"] or context.params["recipe"]):
            # An adapter alone is of the model that made the file.
            policy = replace(policy, spec=replace(policy.spec, model=_model_of(files[0])))
        gaps = _measure_under(files, settings, policy)
    else:
        gaps = [measure(file, settings) for file in files]
        refuse_mixed_policies(gaps)
    for gap in gaps:
        for notice in gap.notices:
            click.echo(f"Note: {notice}", err=True)
        for finding in all_noise_findings(gap.noise):
            click.echo(f"Note: {gap.path}: {finding.in_words}", err=True)
    if as_json_output:
        output = {"version": JSON_VERSION, "settings": as_json(settings), "rescored": rescored}
        click.echo(json.dumps(output | {"files": [gap.as_dict() for gap in gaps]}, allow_nan=False))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=1000)
    console.print(gap_tables(gaps, settings, console, rescored))


def _measure_under(files: Sequence[Path], settings: Settings, policy: Policy) -> list[FileGap]:
    """Every file, rescored under a policy."""
    from mindgap_data.engines import Sampling
    from mindgap_data.gap.rescore import rescored_rows

    with running_engine(policy, Sampling(), seed=settings.seed, quiet=True) as engine:
        return [measure(file, settings, lambda path, skipped: rescored_rows(path, engine, skipped)) for file in files]


def _model_of(file: Path) -> str:
    from mindgap_data.gap.records import ScoringPolicy, read_gap_records

    _, first = next(iter(read_gap_records(file, one_policy=False)))
    return ScoringPolicy.of(first).model
