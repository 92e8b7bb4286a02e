"""`mindgap-data noise`: how far the stored log-probs are from the trainer's own, before any training."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from mindgap_data.checks.noise import all_noise_findings
from mindgap_data.commands.options.files import INPUT_FILE, LOCAL_FILE
from mindgap_data.commands.options.group import SectionedCommand
from mindgap_data.commands.options.policy import policy_options
from mindgap_data.engines import Engine, Sampling
from mindgap_data.engines.open import Policy, running_engine
from mindgap_data.errors import UserError
from mindgap_data.gap.computations import NoiseComparison
from mindgap_data.gap.noise import INSIDE, NOISE_VERSION, noise_file
from mindgap_data.rows.writing import AtomicWriter


@click.command("noise", cls=SectionedCommand)
@click.argument("file", required=False, type=INPUT_FILE)
@click.option(
    "-o",
    "--output",
    type=LOCAL_FILE,
    help="JSON file of the figures. [default: FILE.noise.json, where `gap` and `report` look for it]",
)
@click.option("--rows", type=click.IntRange(min=2), default=64, show_default=True, help="Responses to compare.")
@click.option(
    "--train-dtype",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    default="auto",
    show_default=True,
    help="Precision of the training forward. auto: the recipe's bf16 or fp16; where it does not say, bfloat16 on CUDA "
    "and float32 on a CPU.",
)
@click.option(
    "--train-batch", type=click.IntRange(min=2), default=8, show_default=True, help="Rows of a training batch."
)
@click.option(
    "--max-tokens", type=click.IntRange(min=1), default=256, show_default=True, help="Longest response, without FILE."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the draws, or of the choice of rows.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@policy_options
def command(
    file: Path | None,
    output: Path | None,
    rows: int,
    train_dtype: str,
    train_batch: int,
    max_tokens: int,
    seed: int,
    as_json: bool,
    policy: Policy,
) -> None:
    """Measure the noise floor of importance weights: the trainer's log-probs against the stored ones.

    Takes rows of a rewritten FILE, or without one draws some responses, and scores the same ids by the
    engine and by the training-side forward at two batch sizes. Before any training every weight should
    be 1; what is left is rounding. Shown per token: mean, standard deviation, share of ratios outside
    [0.9, 1.1] and the largest difference, in nats; and ESS/N at each level that noise alone leaves.

    \b
    Example:
      mindgap-data noise train.jsonl --recipe lora.yaml
      mindgap-data noise --model HuggingFaceTB/SmolLM2-135M-Instruct --engine vllm
    """
    from mindgap_data.evaluation.texts import instruction_prompts
    from mindgap_data.gap import computations

    with running_engine(policy, Sampling(max_tokens=max_tokens), seed=seed, quiet=as_json) as engine:
        if file is not None:
            samples = computations.recorded_samples(file, rows, seed, engine.tokenizer)
        else:
            samples = computations.drawn_samples(engine, instruction_prompts(), rows, seed)
        by_engine = computations.engine_logprobs(engine, samples)
        traits = _traits(policy, engine)
    dtype = (policy.train_dtype or _usual_dtype()) if train_dtype == "auto" else train_dtype
    single, batched = computations.trainer_logprobs(policy.spec, dtype, samples, (1, train_batch))
    found = computations.compare_computations(samples, by_engine, (single, batched), train_batch)
    result = {
        "version": NOISE_VERSION,
        "floor": found[0].floor.as_dict(),
        "comparisons": [asdict(one) for one in found],
        "engine": traits,
        "trainer": {"dtype": dtype, "batch": train_batch},
    }
    text = json.dumps(result, indent=2, ensure_ascii=False)
    target = output or (noise_file(file) if file is not None else None)
    if target is not None:
        with AtomicWriter(target) as writer:
            writer.write_text(text + "\n")
            writer.finish()
    if as_json:
        click.echo(text)
        return
    _show(found, traits, dtype)
    for finding in all_noise_findings(found[0].floor):
        click.echo(f"{finding.severity}: {finding.in_words}")
    if target is not None:
        click.echo(f"Written to {target}")


def _traits(policy: Policy, engine: Engine) -> dict[str, Any]:
    """What of the engine's ways moves log-probs in their last digits."""
    from mindgap_data.engines.vllm import VllmEngine

    quantized = next((name for name in ("load_in_4bit", "load_in_8bit") if policy.spec.load_options.get(name)), None)
    traits = {"name": engine.name, "dtype": engine.dtype, "quantization": quantized}
    return traits | (engine.traits() if isinstance(engine, VllmEngine) else {})


def _usual_dtype() -> str:
    try:
        import torch
    except ImportError as error:
        raise UserError("the training forward needs torch; run: pip install 'mindgap[transformers]'") from error
    return "bfloat16" if torch.cuda.is_available() else "float32"


def _show(found: list[NoiseComparison], traits: dict[str, Any], dtype: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    floor = found[0].floor
    title = f"{floor.rows} responses, {floor.tokens} tokens; log-prob differences in nats per token"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("comparison")
    outside = f"outside [{INSIDE[0]}, {INSIDE[1]}]"
    for column in ("mean", "sd", outside, "largest", "ESS/N token", "sequence", "geometric"):
        table.add_column(column, justify="right")
    for one in found:
        floor = one.floor
        table.add_row(
            one.name,
            f"{floor.mean:+.1e}",
            f"{floor.sd:.1e}",
            f"{floor.outside:.2%}",
            f"{floor.largest:.1e}",
            *(f"{ess:.4f}" for ess in floor.ess.values()),
        )
    console = Console(width=None if Console().is_terminal else 160)
    console.print(table)
    ways = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in traits.items() if name != "name")
    console.print(Text(f"Engine {traits['name']}: {ways}. Trainer: transformers forward, {dtype}."), soft_wrap=True)
