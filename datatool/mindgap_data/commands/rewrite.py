"""`mindgap-data rewrite`: demonstrations in, tiers and behaviour log-probs out."""

import signal
import sys
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mindgap_data.commands.options import (
    Policy,
    SectionedCommand,
    fields_from,
    input_options,
    policy_from,
    policy_options,
    sampling_from,
    sampling_options,
    verifier_options,
    whose_logprobs,
)
from mindgap_data.commands.pairs import pairs_from
from mindgap_data.engines import Sampling
from mindgap_data.engines.open import choose_engine, open_engine
from mindgap_data.errors import UserError
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.policy.models import load_tokenizer
from mindgap_data.record import TIERS, Tier
from mindgap_data.rewrite.guided import GuidedPrompt
from mindgap_data.rewrite.job import OutputPaths, RewriteRun
from mindgap_data.rewrite.stages import Plan
from mindgap_data.rows.formats import RowError, to_problem
from mindgap_data.rows.sources import Source, open_source


@click.command("rewrite", cls=SectionedCommand)
@click.argument("input", metavar="INPUT")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Output JSONL. [default: INPUT.rewritten.jsonl]",
)
@click.option("--stages", default="self,guided,expert", show_default=True, help="Which stages, in this order.")
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Cap on draws per problem and stage; drawing stops at the first correct one.",
)
@click.option(
    "--picker",
    type=click.Choice(["first", "grape", "shortest"]),
    default="first",
    show_default=True,
    help="Which correct draw: first (a uniform pick, at a fraction of the tokens), grape (highest mean policy "
    "log-prob) or shortest. The last two draw all samples.",
)
@click.option(
    "--guided-template",
    type=click.Path(path_type=Path),
    help="Jinja file for the guided prompt, with problem, solution, answer.",
)
@click.option(
    "--score-expert/--no-score-expert",
    default=True,
    show_default=True,
    help="Also score every expert demonstration, so that `gap` can compare before and after.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the draws.")
@click.option(
    "--round",
    "round_",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Recorded: 0 for the base model, n after the n-th retraining.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first rows.")
@click.option("--dry-run", is_flag=True, help="Show settings, first prompts and a cost estimate; run nothing.")
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
@click.option("--restart", is_flag=True, help="Forget an unfinished run of this output.")
@click.option("--quiet", is_flag=True, help="No progress.")
@verifier_options
@sampling_options(max_tokens=2048)
@input_options
@policy_options
def command(**options: Any) -> None:
    """Rewrite the demonstrations of INPUT onto the policy: self, else guided, else expert.

    INPUT is JSONL (.gz too), parquet, or a Hugging Face dataset (folder or hub name). A run that was
    stopped continues when the same command is given again.

    \b
    Example:
      mindgap-data rewrite recipes/data/word_problems.jsonl --max-tokens 200
    """
    source = open_source(options["input"])
    policy, sampling = policy_from(options), sampling_from(options)
    if sampling.temperature == 0:
        raise UserError("--temperature 0 draws the same response every time, with no behaviour policy; use 0.7 or 1")
    paths = OutputPaths(options["output"] or _default_output(options["input"]))
    stages = _stages(options["stages"])
    guided = GuidedPrompt.from_file(options["guided_template"])
    if options["dry_run"]:
        _dry_run(options, source, policy, sampling, stages, guided, paths)
        return
    paths.refuse_existing(options["overwrite"])
    if options["restart"]:
        paths.journal.unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        summary = _run(options, source, policy, sampling, stages, guided, paths)
    except KeyboardInterrupt:
        print(f"\nStopped; nothing is lost. Run the same command again to continue {paths.output}", file=sys.stderr)
        sys.exit(130)
    _print_summary(summary, paths)


def _run(
    options: dict[str, Any],
    source: Source,
    policy: Policy,
    sampling: Sampling,
    stages: tuple[Tier, ...],
    guided: GuidedPrompt,
    paths: OutputPaths,
) -> dict[str, Any]:
    from mindgap_data.verify.load import load_verifier, verifier_kind
    from mindgap_data.verify.pool import VerifierPool

    engine_name, why = choose_engine(policy.settings)
    if not options["quiet"]:
        print(f"engine {engine_name} ({why}), model {policy.spec.model}", file=sys.stderr)
    checker_options = pairs_from(options["verifier_options"], "--verifier-option")
    with VerifierPool(
        options["verifier"], checker_options, timeout=options["verify_timeout"], workers=options["workers"]
    ) as verifier:
        engine = open_engine(policy.spec, sampling, policy.settings, seed=options["seed"])
        try:
            provenance = {
                **whose_logprobs(policy, engine),
                "tokenizer": engine.tokenizer.fingerprint,
                "chat_template": engine.tokenizer.template,
                "sampling": sampling.as_dict(),
                "sampling_distribution": "model" if sampling.is_model_distribution else "processed",
                "selection": options["picker"],
                "verifier": options["verifier"],
                "verifier_kind": verifier_kind(load_verifier(options["verifier"], checker_options)),
                "seed": options["seed"],
                "round": options["round_"],
            }
            plan = Plan(
                tokenizer=engine.tokenizer,
                sampling=sampling,
                stages=stages,
                samples=options["samples"],
                picker=options["picker"],
                guided=guided,
                max_context=engine.max_context,
                seed=options["seed"],
                score_expert=options["score_expert"],
                provenance=provenance,
            )
            settings = {
                **provenance,
                "input": source.fingerprint,
                "fields": asdict(fields_from(options)),
                "instruction": options["instruction"],
                "limit": options["limit"],
                "stages": list(stages),
                "samples": plan.samples,
                "guided_template": sha256(guided.template.encode()).hexdigest()[:16],
                "max_context": plan.max_context,
                "score_expert": plan.score_expert,
                "verifier_options": checker_options,
            }
            run = RewriteRun(
                source=source,
                fields=fields_from(options),
                instruction=options["instruction"],
                limit=options["limit"],
                plan=plan,
                engine=engine,
                verifier=verifier,
                paths=paths,
                settings=settings,
                quiet=options["quiet"],
            )
            return run.execute()
        finally:
            engine.close()


def _stages(text: str) -> tuple[Tier, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in TIERS]
    if unknown or not names or list(names) != [tier for tier in TIERS if tier in names]:
        raise UserError(f"--stages {text}: some of self,guided,expert is wanted, in this order, each once")
    return cast(tuple[Tier, ...], names)


def _default_output(name: str) -> Path:
    path = Path(name)
    stem = path.name.replace(":", "-")
    for suffix in (".gz", ".jsonl", ".ndjson", ".json", ".parquet"):
        stem = stem.removesuffix(suffix)
    return (path.parent if path.exists() else Path()) / f"{stem}.rewritten.jsonl"


def _dry_run(
    options: dict[str, Any],
    source: Source,
    policy: Policy,
    sampling: Sampling,
    stages: tuple[Tier, ...],
    guided: GuidedPrompt,
    paths: OutputPaths,
) -> None:
    """Show what a run would do, with the tokenizer but without the model."""
    console = Console()
    tokenizer = load_tokenizer(policy.spec)
    engine, why = choose_engine(policy.settings)
    settings = {
        "input": source.name,
        "output": str(paths.output),
        "model": policy.spec.model,
        "adapter": policy.spec.adapter or "none",
        "engine": f"{engine} ({why})",
        "context": policy.settings.max_context or "the model's own",
        "stages": ", ".join(stages),
        "samples": f"up to {options['samples']} a stage, picker {options['picker']}",
        "sampling": ", ".join(f"{name} {value}" for name, value in sampling.as_dict().items()),
        "log-probs": "of the model's own distribution"
        if sampling.is_model_distribution
        else "of the processed distribution",
        "verifier": options["verifier"],
        "seed": options["seed"],
    }
    table = Table("setting", "value", title="Resolved settings", title_justify="left")
    for name, value in settings.items():
        table.add_row(name, Text(str(value)))
    console.print(table)
    _show_prompts(console, options, source, stages, guided, tokenizer)
    rows = source.count()
    if rows is not None:
        rows = min(rows, options["limit"] or rows)
        drawing = [stage for stage in stages if stage != "expert"]
        most = rows * options["samples"] * len(drawing)
        fewest = rows * (1 if options["picker"] == "first" else options["samples"]) if drawing else 0
        console.print(
            f"Cost: {rows:,} rows, {fewest:,} to {most:,} draws of at most {sampling.max_tokens:,} tokens "
            f"(at most {most * sampling.max_tokens:,} tokens).",
            highlight=False,
        )


def _show_prompts(
    console: Console,
    options: dict[str, Any],
    source: Source,
    stages: tuple[Tier, ...],
    guided: GuidedPrompt,
    tokenizer: ChatTokenizer,
) -> None:
    raw = next(source.rows())
    where = source.label(raw.line)
    try:
        if raw.row is None:
            raise RowError(raw.error or "unreadable")
        problem = to_problem(raw.row, fields_from(options), options["instruction"])
    except RowError as error:
        raise UserError(f"{where}: {error}") from error
    for stage in stages:
        if stage == "expert":
            console.print(Text(f"\nThe expert's response, {where}:", style="bold"))
            console.print(Text(problem.expert))
            continue
        messages = list(problem.messages)
        if stage == "guided":
            messages = guided.messages(messages, problem.expert, problem.answer)
        console.print(Text(f"\nPrompt of the {stage} stage, {where}:", style="bold"))
        console.print(Text(tokenizer.prompt_text(messages)))


def _print_summary(summary: dict[str, Any], paths: OutputPaths) -> None:
    console = Console()
    rewritten = summary["rewritten"]
    table = Table(
        title=f"{paths.output}: {rewritten} rows", title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for column in (
        "tier",
        "rows",
        "share",
        "drawn",
        "correct",
        "wrong",
        "truncated",
        "no\nanswer",
        "checker\nerror",
        "leaked",
    ):
        table.add_column(column, justify="left" if column == "tier" else "right")
    for tier, rows in summary["tiers"].items():
        counts = summary["stages"].get(tier, {})
        cells = [
            str(counts.get(name, 0)) if counts else "-"
            for name in ("sampled", "correct", "wrong", "truncated", "no_answer", "checker_error", "leaked")
        ]
        table.add_row(tier, str(rows), f"{rows / rewritten:.1%}", *cells)
    console.print(table)
    pass_rate = summary["pass_rate"]
    saved = summary["tokens_saved_by_early_stopping_estimate"]
    console.print(
        f"pass rate {'-' if pass_rate is None else f'{pass_rate:.1%}'}, "
        f"{summary['drawn_tokens']:,} tokens drawn, about {saved:,} saved by early stopping, "
        f"{summary['scored_tokens']:,} scored, {summary['seconds']:,.1f} s",
        highlight=False,
        soft_wrap=True,
    )
    if summary["near_copies"]:
        console.print(
            f"{summary['near_copies']} rows are near copies of the expert: see attempts.near_copy", highlight=False
        )
    if summary["failed"]:
        console.print(f"{summary['failed']} rows failed, with reasons: {paths.failed}", highlight=False, soft_wrap=True)
