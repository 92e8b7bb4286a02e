"""`mindgap-data gap`: how far data lie from the policy, before and after rewriting."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from mindgap_data.commands.options import policy_from, policy_options
from mindgap_data.gap.figures import Settings, as_json
from mindgap_data.gap.measure import FileGap, measure, refuse_mixed_policies
from mindgap_data.gap.tables import gap_tables

JSON_VERSION = 1


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option(
    "--clip",
    type=click.Choice(["truncate", "mask", "none"]),
    default="truncate",
    show_default=True,
    help="The clip whose share of changed weights is shown.",
)
@click.option("--clip-max", type=click.FloatRange(min=1), default=2.0, show_default=True, help="Its bound C.")
@click.option(
    "--confidence",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Of the bootstrap intervals.",
)
@click.option(
    "--resamples",
    type=click.IntRange(min=1, max=100_000),
    default=1000,
    show_default=True,
    help="Bootstrap resamples of the rows.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the resampling.")
@click.option("--json", "as_json_output", is_flag=True, help="Print JSON, with every interval and the geometric level.")
@policy_options
def command(files: tuple[Path, ...], as_json_output: bool, **options: Any) -> None:
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
    names = ("clip", "clip_max", "confidence", "resamples", "seed")
    settings = Settings(**{name: options[name] for name in names})
    rescored = any(options[name] for name in ("model", "adapter", "recipe", "base_url"))
    if rescored:
        gaps = _measure_under(files, settings, options)
    else:
        gaps = [measure(file, settings) for file in files]
        refuse_mixed_policies(gaps)
    for gap in gaps:
        for notice in gap.notices:
            click.echo(f"Note: {notice}", err=True)
    if as_json_output:
        output = {"version": JSON_VERSION, "settings": as_json(settings), "rescored": rescored}
        click.echo(json.dumps(output | {"files": [gap.as_dict() for gap in gaps]}, allow_nan=False))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=1000)
    console.print(gap_tables(gaps, settings, console, rescored))


def _measure_under(files: Sequence[Path], settings: Settings, options: dict[str, Any]) -> list[FileGap]:
    """Every file, rescored under the policy the options name."""
    from mindgap_data.engines import Sampling
    from mindgap_data.engines.open import open_engine
    from mindgap_data.gap.rescore import rescored_rows
    from mindgap_data.gap.rows import Policy, read_gap_records

    if not (options["model"] or options["recipe"]):
        # An adapter alone is of the model that made the file.
        _, first = next(iter(read_gap_records(files[0], one_policy=False)))
        options = options | {"model": Policy.of(first).model}
    policy = policy_from(options)
    engine = open_engine(policy.spec, Sampling(), policy.settings, seed=settings.seed)
    try:
        return [measure(file, settings, lambda path, skipped: rescored_rows(path, engine, skipped)) for file in files]
    finally:
        engine.close()
