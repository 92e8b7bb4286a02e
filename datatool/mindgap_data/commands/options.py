"""Options several commands share, each documented here once, and what they resolve to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from mindgap_data.commands.pairs import pairs_from
from mindgap_data.engines import Engine, Sampling
from mindgap_data.engines.open import EngineSettings
from mindgap_data.errors import UserError
from mindgap_data.policy.models import BUILTIN, ModelSpec
from mindgap_data.rows.formats import FORMATS, Fields

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Policy:
    """The model to be trained, and the engine that runs it."""

    spec: ModelSpec
    settings: EngineSettings


class SectionedCommand(click.Command):
    """A command whose shared options are listed by section, after its own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, the command's own first."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if (entry := parameter.get_help_record(ctx)) is not None:
                sections.setdefault(getattr(parameter, "section", "") or "Options", []).append(entry)
        for title in sorted(sections, key=lambda name: name != "Options"):
            with formatter.section(title):
                formatter.write_dl(sections[title])


def _section(title: str, options: list[Callable[[Any], Any]]) -> Callable[[F], F]:
    """A decorator that adds ``options`` under a heading of their own."""

    def decorate(function: F) -> F:
        before = len(getattr(function, "__click_params__", []))
        for option in reversed(options):
            function = option(function)
        for parameter in function.__click_params__[before:]:  # type: ignore[attr-defined]
            parameter.section = title
        return function

    return decorate


def policy_options(function: F) -> F:
    """Which model, in which engine: ``policy_from`` takes them."""
    return _section(
        "Policy and engine",
        [
            click.option(
                "--recipe",
                type=click.Path(path_type=Path),
                help="Axolotl recipe: takes its base_model, adapter, chat template and sequence_len.",
            ),
            click.option("--model", help=f"Hub name, folder or .gguf file. [default: {BUILTIN}]"),
            click.option("--revision", help="Hub revision of the model."),
            click.option("--adapter", help="LoRA adapter on top of the model: folder or hub name."),
            click.option("--tokenizer", help="Tokenizer, where it is not the model's own."),
            click.option("--chat-template", type=click.Path(path_type=Path), help="File with a Jinja chat template."),
            click.option(
                "--engine",
                type=click.Choice(["auto", "transformers", "vllm", "openai"]),
                default="auto",
                show_default=True,
                help="auto: vLLM where it and a CUDA device are there, else transformers.",
            ),
            click.option(
                "--engine-arg",
                "engine_args",
                multiple=True,
                metavar="NAME=VALUE",
                help="Any argument of the engine, e.g. tensor_parallel_size=2. Repeatable.",
            ),
            click.option(
                "--batch-size",
                type=click.IntRange(min=1),
                default=16,
                show_default=True,
                help="Rows at a time (transformers).",
            ),
            click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1 (transformers)."),
            click.option(
                "--dtype",
                type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
                default="auto",
                show_default=True,
                help="auto: the checkpoint's on CUDA, float32 on CPU.",
            ),
            click.option(
                "--max-context",
                type=click.IntRange(min=2),
                help="Prompt + response, tokens. [default: the recipe's sequence_len, else the model's]",
            ),
            click.option("--base-url", help="OpenAI-compatible server, e.g. http://localhost:8000/v1 (openai)."),
            click.option("--api-key", envvar="OPENAI_API_KEY", help="Its key. [env: OPENAI_API_KEY]"),
            click.option(
                "--concurrency",
                type=click.IntRange(min=1),
                default=32,
                show_default=True,
                help="Requests in flight (openai).",
            ),
            click.option(
                "--request-timeout",
                type=click.FloatRange(min=0, min_open=True),
                default=600.0,
                show_default=True,
                help="Seconds a request may take (openai).",
            ),
        ],
    )(function)


def sampling_options(max_tokens: int) -> Callable[[F], F]:
    """How to sample; the defaults are the model's own distribution."""
    return _section(
        "Sampling",
        [
            click.option(
                "--temperature",
                type=click.FloatRange(min=0),
                default=1.0,
                show_default=True,
                help="Sampling temperature; 0 takes the likeliest token (evaluate only).",
            ),
            click.option(
                "--top-p",
                type=click.FloatRange(min=0, max=1, min_open=True),
                default=1.0,
                show_default=True,
                help="Nucleus sampling; 1 is off.",
            ),
            click.option(
                "--top-k",
                type=click.IntRange(min=0),
                default=0,
                show_default=True,
                help="Keep the k likeliest tokens; 0 is off.",
            ),
            click.option(
                "--min-p",
                type=click.FloatRange(min=0, max=1, max_open=True),
                default=0.0,
                show_default=True,
                help="Drop tokens below this share of the likeliest; 0 is off.",
            ),
            click.option(
                "--repetition-penalty",
                type=click.FloatRange(min=0, min_open=True),
                default=1.0,
                show_default=True,
                help="1 is off.",
            ),
            click.option(
                "--max-tokens",
                type=click.IntRange(min=1),
                default=max_tokens,
                show_default=True,
                help="Longest response drawn; longer ones count as truncated.",
            ),
        ],
    )


def verifier_options(function: F) -> F:
    """How draws are checked."""
    return _section(
        "Verifier",
        [
            click.option(
                "--verifier",
                default="math",
                show_default=True,
                help="math, numeric, exact, choice, regex, json, tool_call, code, judge, none, an entry point or "
                "module:function.",
            ),
            click.option(
                "--verifier-option",
                "verifier_options",
                multiple=True,
                metavar="NAME=VALUE",
                help="Option of the verifier. Repeatable.",
            ),
            click.option(
                "--verify-timeout",
                type=click.FloatRange(min=0, min_open=True),
                default=5.0,
                show_default=True,
                help="Seconds one answer may take to check.",
            ),
            click.option("--workers", type=click.IntRange(min=1), help="Verifier processes. [default: by processors]"),
        ],
    )(function)


def input_options(function: F) -> F:
    """How to read the input's rows: ``fields_from`` takes them."""
    return _section(
        "Input rows",
        [
            click.option(
                "--format",
                "row_format",
                type=click.Choice(FORMATS),
                help="Row format. [default: recognised row by row]",
            ),
            click.option("--messages-field", help="Column with the list of turns."),
            click.option("--prompt-field", help="Column with the problem."),
            click.option("--response-field", help="Column with the expert demonstration."),
            click.option(
                "--answer-field",
                help="Column with the reference answer. [default: answer, else \\boxed{} or #### in the demonstration]",
            ),
            click.option("--id-field", help="Column with the row's id."),
            click.option("--system-field", help="Column with a system prompt."),
            click.option(
                "--instruction", help="Text added to every problem; becomes part of messages, so training sees it too."
            ),
        ],
    )(function)


def policy_from(options: Mapping[str, Any]) -> Policy:
    """The policy that ``policy_options`` name, a recipe's values under the options' own.

    Raises:
        UserError: the recipe or chat template cannot be read, or options contradict each other.
    """
    recipe = None
    if options["recipe"] is not None:
        from mindgap_data.policy.recipe import read_recipe

        recipe = read_recipe(options["recipe"])
    load_options: dict[str, Any] = {}
    if recipe is not None:
        load_options = {
            name: True for name in ("trust_remote_code", "load_in_4bit", "load_in_8bit") if getattr(recipe, name)
        }
    own_model = options["model"] is not None
    spec = ModelSpec(
        model=options["model"] or (recipe.base_model if recipe else BUILTIN),
        revision=options["revision"] or (recipe.revision if recipe and not own_model else None),
        adapter=options["adapter"] or (recipe.adapter if recipe else None),
        tokenizer=options["tokenizer"] or (recipe.tokenizer if recipe and not own_model else None),
        chat_template=_template(options["chat_template"]) or (recipe.chat_template if recipe else None),
        fallback_template=recipe.fallback_template if recipe else None,
        special_tokens=recipe.special_tokens if recipe and not own_model else {},
        added_tokens=recipe.added_tokens if recipe and not own_model else (),
        device=options["device"],
        dtype=options["dtype"],
        load_options=load_options,
    )
    settings = EngineSettings(
        engine=options["engine"],
        batch_size=options["batch_size"],
        max_context=options["max_context"] or (recipe.sequence_len if recipe else None),
        base_url=options["base_url"],
        api_key=options["api_key"],
        concurrency=options["concurrency"],
        timeout=options["request_timeout"],
        engine_args=pairs_from(options["engine_args"], "--engine-arg"),
    )
    return Policy(spec, settings)


def whose_logprobs(policy: Policy, engine: Engine) -> dict[str, Any]:
    """The part of provenance that says whose log-probs these are."""
    return {
        "model": policy.spec.model,
        "revision": engine.revision,
        "adapter": policy.spec.adapter,
        "engine": engine.name,
        "dtype": engine.dtype,
    }


def sampling_from(options: Mapping[str, Any]) -> Sampling:
    """The sampling parameters that ``sampling_options`` name."""
    return Sampling(
        temperature=options["temperature"],
        top_p=options["top_p"],
        top_k=options["top_k"],
        min_p=options["min_p"],
        repetition_penalty=options["repetition_penalty"],
        max_tokens=options["max_tokens"],
    )


def fields_from(options: Mapping[str, Any]) -> Fields:
    """The columns that ``input_options`` name."""
    return Fields(
        format=options["row_format"],
        messages=options["messages_field"],
        prompt=options["prompt_field"],
        response=options["response_field"],
        answer=options["answer_field"],
        id=options["id_field"],
        system=options["system_field"],
    )


def _template(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the chat template cannot be read: {error}") from error
