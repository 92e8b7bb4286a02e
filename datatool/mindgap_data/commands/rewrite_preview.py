"""What `mindgap-data rewrite --dry-run` shows: settings, first prompts and a cost estimate, without the model."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mindgap_data.engines.open import choose_engine
from mindgap_data.errors import UserError
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.policy.models import load_tokenizer
from mindgap_data.rewrite.job import RewriteRequest
from mindgap_data.rewrite.pickers import selection_name
from mindgap_data.rewrite.stages import RewriteOptions
from mindgap_data.rows.problem import Problem
from mindgap_data.rows.turns import Turn
from mindgap_data.rows.values import RowError
from mindgap_data.run.job import RunFiles


def show_preview(request: RewriteRequest, files: RunFiles) -> None:
    """Print what a run would do; reads the tokenizer and the first row.

    Raises:
        UserError: the tokenizer cannot be loaded, or the first row cannot be used.
    """
    console = Console()
    tokenizer = load_tokenizer(request.policy.spec)
    _show_settings(console, request, files)
    _show_prompts(console, request, tokenizer)
    _show_cost(console, request)


def _show_settings(console: Console, request: RewriteRequest, files: RunFiles) -> None:
    spec, engine, options, sampling = request.policy.spec, request.policy.settings, request.options, request.sampling
    name, why = choose_engine(engine)
    distribution = "the model's own" if sampling.is_model_distribution else "the processed"
    settings = {
        "input": request.rows.source.name,
        "output": files.output,
        "model": spec.model,
        "adapter": spec.adapter or "none",
        "engine": f"{name} ({why})",
        "context": engine.max_context or "the model's own",
        "training length": request.policy.sequence_len or "the context",
        "stages": ", ".join(options.stages),
        "samples": f"up to {options.samples} a stage, picker {options.picker}{_guided_picker(options)}",
        "sampling": ", ".join(f"{name} {value}" for name, value in sampling.as_dict().items()),
        "log-probs": f"of {distribution} distribution",
        "verifier": request.verifier.name,
        "seed": options.seed,
    }
    table = Table("setting", "value", title="Resolved settings", title_justify="left")
    for setting, value in settings.items():
        table.add_row(setting, Text(str(value)))
    console.print(table)


def _show_prompts(console: Console, request: RewriteRequest, tokenizer: ChatTokenizer) -> None:
    where, problem = _first_problem(request)
    prompts: dict[str, Sequence[Turn] | None] = {"self": problem.messages}
    for guided in request.options.guided:
        prompts[guided.stage] = guided.messages(problem.messages, problem.expert, problem.answer)
    for stage in request.options.drawing:
        console.print(Text(f"\nPrompt of the {stage} stage, {where}:", style="bold"))
        messages = prompts[stage]
        console.print(
            Text(
                "None: no part of this solution is without the answer."
                if messages is None
                else tokenizer.prompt_text(messages, problem.tools)
            )
        )
    if "expert" in request.options.stages:
        console.print(Text(f"\nThe expert's response, {where}:", style="bold"))
        console.print(Text(problem.expert))


def _guided_picker(options: RewriteOptions) -> str:
    name = selection_name(options.picker_of("guided"), options.sir_power)
    return "" if name == options.picker else f", {name} in the guided stage"


def _first_problem(request: RewriteRequest) -> tuple[str, Problem]:
    raw = next(request.rows.read())
    where = request.rows.source.label(raw.line)
    try:
        return where, request.rows.problem(raw)
    except RowError as error:
        raise UserError(f"{where}: {error}") from error


def _show_cost(console: Console, request: RewriteRequest) -> None:
    rows, options, longest = request.rows.total(), request.options, request.sampling.max_tokens
    if rows is None:
        return
    most = rows * options.samples * len(options.drawing)
    fewest = rows * (1 if options.picker == "first" else options.samples) if options.drawing else 0
    console.print(
        f"Cost: {rows:,} rows, {fewest:,} to {most:,} draws of at most {longest:,} tokens "
        f"(at most {most * longest:,} tokens).",
        highlight=False,
    )
