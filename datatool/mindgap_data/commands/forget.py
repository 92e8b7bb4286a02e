"""`mindgap-data forget`: what fine-tuning cost, measured before and after."""

import json
from pathlib import Path
from typing import Any

import click

from mindgap_data.commands.options.files import LOCAL_FOLDER
from mindgap_data.commands.options.group import SectionedCommand
from mindgap_data.commands.options.policy import policy_options
from mindgap_data.commands.options.rows import Reading, input_options
from mindgap_data.commands.options.run import RunFlags, run_options
from mindgap_data.commands.options.verifier import verifier_options
from mindgap_data.engines.open import Policy
from mindgap_data.evaluation.benchmarks import read_benchmarks
from mindgap_data.evaluation.scorecard import Scorecard
from mindgap_data.evaluation.texts import instructions_path
from mindgap_data.rows.shapes import Fields
from mindgap_data.rows.sources import open_source
from mindgap_data.verify.settings import VerifierSettings


@click.command("forget", cls=SectionedCommand)
@click.argument("after", nargs=-1, required=True, metavar="AFTER...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=LOCAL_FOLDER,
    help="Folder for the draws, the scores and scorecard.json.",
)
@click.option(
    "--tasks",
    "tasks",
    multiple=True,
    metavar="BENCH",
    help="File of problems of a family that was not trained, as `evaluate` takes it. Repeatable.",
)
@click.option("--samples", type=click.IntRange(min=1), default=4, show_default=True, help="Draws per prompt.")
@click.option(
    "--max-tokens", type=click.IntRange(min=1), default=256, show_default=True, help="Longest response drawn."
)
@click.option("--limit", type=click.IntRange(min=1), help="Use only the first problems of each file.")
@click.option(
    "--lm-eval",
    "lm_eval",
    metavar="TASKS",
    help="Tasks of lm-evaluation-harness to run too, e.g. ifeval,hellaswag (where it is installed).",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the draws.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@run_options
@verifier_options
@input_options
@policy_options
def command(
    after: tuple[str, ...],
    output: Path,
    tasks: tuple[str, ...],
    samples: int,
    max_tokens: int,
    limit: int | None,
    lm_eval: str | None,
    seed: int,
    as_json: bool,
    run: RunFlags,
    verifier: VerifierSettings,
    reading: Reading,
    policy: Policy,
) -> None:
    """Measure what fine-tuning cost: each policy in AFTER against the one before.

    The policy before is the one of --model, --recipe and --adapter; AFTER names adapters on top of its
    model, or models. Compared are the NLL of general text in nine registers, the share of instructions
    kept (40 prompts with checks), accuracy on the files of --tasks, and the KL to the policy before on
    the policy's own draws; each with a paired 95% interval. Draws are at temperature 1. A run that was
    stopped continues when the same command is given again.

    \b
    Example:
      mindgap-data forget outputs/lora --model HuggingFaceTB/SmolLM2-135M-Instruct -o forget/
      mindgap-data forget outputs/sft outputs/dft --recipe lora.yaml --tasks gsm8k.jsonl -o forget/
    """
    from mindgap_data.evaluation.forgetting_run import ForgettingRequest, measure_forgetting
    from mindgap_data.evaluation.harness import harness_changes, require_harness

    if lm_eval is not None:
        require_harness()
    sources = [open_source(name) for name in tasks]
    request = ForgettingRequest(
        before=policy,
        after=after,
        benchmarks=(
            *read_benchmarks([open_source(instructions_path())], Fields(), None, None),
            *read_benchmarks(sources, reading.fields, reading.instruction, limit),
        ),
        samples=samples,
        max_tokens=max_tokens,
        seed=seed,
        verifier=verifier,
        folder=output,
        overwrite=run.overwrite,
        restart=run.restart,
        quiet=run.quiet,
    )
    cards = measure_forgetting(request)
    harness = harness_changes(request, lm_eval.split(",")) if lm_eval else {}
    result = {
        "before": {"model": policy.spec.model, "adapter": policy.spec.adapter},
        "after": [card.as_dict() | {"lm_eval": harness.get(card.name)} for card in cards],
    }
    text = json.dumps(result, indent=2, ensure_ascii=False)
    (output / "scorecard.json").write_text(text + "\n", encoding="utf-8")
    if as_json:
        click.echo(text)
        return
    for card in cards:
        _show(card, harness.get(card.name, []))


def _show(card: Scorecard, harness: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(card.name), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("measure")
    for column in ("n", "before", "after", "change, 95% interval"):
        table.add_column(column, justify="right", no_wrap=True)
    text = card.text
    change = text.difference
    table.add_row(
        "general text, NLL per token",
        str(text.texts),
        f"{text.before:.3f}",
        f"{text.after:.3f}",
        f"{change.estimate:+.3f} ({change.low:+.3f} to {change.high:+.3f})",
    )
    for register, difference in text.registers.items():
        table.add_row(f"  {register}", "", "", "", f"{difference:+.3f}")
    for task in card.tasks:
        low, high = 100 * task.difference.low, 100 * task.difference.high
        table.add_row(
            Text(f"{task.name}, % right"),
            str(task.problems),
            f"{100 * task.a:.1f}",
            f"{100 * task.b:.1f}",
            f"{100 * task.difference.estimate:+.1f} ({low:+.1f} to {high:+.1f})",
        )
    if card.divergence is not None:
        k3 = card.divergence.k3
        table.add_row(
            "KL to before, nats per token",
            str(card.divergence.samples),
            "0",
            f"{k3.estimate:.4f}",
            f"{k3.estimate:+.4f} ({k3.low:+.4f} to {k3.high:+.4f})",
        )
    for line in harness:
        difference = line["difference"]
        table.add_row(
            Text(f"{line['task']}, {line['metric']}"),
            str(line["n"]),
            f"{line['before']:.4f}",
            f"{line['after']:.4f}",
            f"{difference['estimate']:+.4f} ({difference['low']:+.4f} to {difference['high']:+.4f})",
        )
    console = Console()
    console.print(table)
    for sentence in card.in_words():
        console.print(Text(sentence), soft_wrap=True)
