"""Which model, in which engine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mindgap_data.commands.options.group import F, option_group
from mindgap_data.commands.pairs import pairs_from
from mindgap_data.engines.open import EngineSettings, Policy
from mindgap_data.errors import UserError
from mindgap_data.policy.models import BUILTIN, ModelSpec
from mindgap_data.policy.recipe import Recipe, read_recipe
from mindgap_data.policy.templates import read_chat_template, read_prompt_template
from mindgap_data.policy.threads import share_processors

_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--recipe",
        type=click.Path(path_type=Path),
        help="Axolotl recipe: takes its base_model, adapter, chat template and sequence_len.",
    ),
    click.option("--model", help=f"Hub name, folder or .gguf file. [default: {BUILTIN}]"),
    click.option("--revision", help="Hub revision of the model."),
    click.option("--adapter", help="LoRA adapter on top of the model: folder or hub name."),
    click.option("--tokenizer", help="Tokenizer, if it is not the model's own."),
    click.option(
        "--chat-template",
        metavar="FILE|NAME",
        help="Jinja chat template: a file, or the name of one that Axolotl or vLLM brings, such as qwen_25 or chatml.",
    ),
    click.option(
        "--prompt-template",
        metavar="FILE|TEXT",
        help="For a base model instead of a chat template: Jinja with {{ problem }}, such as "
        "'Question: {{ problem }} Answer:'. Training needs the same text as chat_template_jinja.",
    ),
    click.option(
        "--stop",
        "stops",
        multiple=True,
        metavar="TOKEN",
        help="A further token that ends a response, such as '<|endoftext|>'. Repeatable.",
    ),
    click.option(
        "--chat-template-arg",
        "template_args",
        multiple=True,
        metavar="NAME=VALUE",
        help="Argument of the chat template, e.g. enable_thinking=false; over the recipe's chat_template_kwargs. "
        "Repeatable.",
    ),
    click.option(
        "--expert-thinking",
        type=click.Choice(["none", "empty", "skip"]),
        help="How a demonstration without a thought is written for a model that thinks. none: the answer alone, which "
        "trains the model to answer at once. empty: an empty thought before it, as in the model's own mode without "
        "thinking. skip: not at all, so such a row gets no expert tier and the model goes on thinking. "
        "[default: empty where the template writes one or opens a thought in the prompt, else none]",
    ),
    click.option(
        "--engine",
        type=click.Choice(["auto", "transformers", "vllm", "openai"]),
        default="auto",
        show_default=True,
        help="auto: vLLM if it is installed and there is a CUDA device, otherwise transformers.",
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
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="Processors torch computes on. [default: all, shared with other processes]",
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
        help="The engine's context, tokens: prompt + response of any draw. [default: the model's]",
    ),
    click.option(
        "--sequence-len",
        type=click.IntRange(min=2),
        help="Training length, tokens: plain prompt + response. [default: the recipe's, else the context]",
    ),
    click.option("--base-url", help="OpenAI-compatible server, e.g. http://localhost:8000/v1 (openai)."),
    click.option(
        "--api-key", help="Key for the server. [default: $OPENAI_API_KEY for api.openai.com, none for other servers]"
    ),
    click.option(
        "--concurrency",
        type=click.IntRange(min=1),
        help="Most requests in flight (openai). [default: as many as make the server faster]",
    ),
    click.option(
        "--request-timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=600.0,
        show_default=True,
        help="Time limit for a request, in seconds (openai).",
    ),
]


def policy_options(function: F) -> F:
    """Hands the command a :class:`Policy` as ``policy``."""
    return option_group("Policy and engine", "policy", _policy, _OPTIONS)(function)


def _policy(recipe: Path | None, chat_template: str | None, prompt_template: str | None, **options: Any) -> Policy:
    """The policy the options name, a recipe's values under their own.

    Raises:
        UserError: the recipe or chat template cannot be read.
    """
    share_processors(options["threads"])
    trained = None if recipe is None else read_recipe(recipe)
    arguments = pairs_from(options["template_args"], "--chat-template-arg")
    options["template_arguments"] = {**(trained.template_arguments if trained else {}), **arguments}
    template = _template(chat_template, prompt_template)
    sequence_len = options["sequence_len"] or (trained.sequence_len if trained else None)
    train_dtype = None if trained is None else trained.dtype
    return Policy(_spec(trained, template, options), _engine_settings(options), sequence_len, train_dtype)


def _template(chat: str | None, prompt: str | None) -> str | None:
    if chat and prompt:
        raise UserError("--prompt-template takes the place of --chat-template; give one of them")
    return read_chat_template(chat) if chat else read_prompt_template(prompt) if prompt else None


def _spec(recipe: Recipe | None, template: str | None, options: dict[str, Any]) -> ModelSpec:
    same = {name: options[name] for name in ("template_arguments", "expert_thinking", "stops", "device", "dtype")}
    model, revision, adapter, tokenizer = (options[name] for name in ("model", "revision", "adapter", "tokenizer"))
    if recipe is None:
        return ModelSpec(model or BUILTIN, revision, adapter, tokenizer, template, **same)
    flags = ("trust_remote_code", "load_in_4bit", "load_in_8bit")
    own_model = model is not None  # then what the recipe says of its model's files is not this one's
    return ModelSpec(
        model=model or recipe.base_model,
        revision=revision or (None if own_model else recipe.revision),
        adapter=adapter or recipe.adapter,
        tokenizer=tokenizer or (None if own_model else recipe.tokenizer),
        chat_template=template or recipe.chat_template,
        fallback_template=recipe.fallback_template,
        special_tokens={} if own_model else recipe.special_tokens,
        added_tokens=() if own_model else recipe.added_tokens,
        **same,
        load_options={name: True for name in flags if getattr(recipe, name)},
    )


def _engine_settings(options: dict[str, Any]) -> EngineSettings:
    return EngineSettings(
        engine=options["engine"],
        batch_size=options["batch_size"],
        max_context=options["max_context"],
        base_url=options["base_url"],
        api_key=options["api_key"],
        concurrency=options["concurrency"],
        timeout=options["request_timeout"],
        engine_args=pairs_from(options["engine_args"], "--engine-arg"),
    )
