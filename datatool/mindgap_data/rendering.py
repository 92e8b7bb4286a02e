"""A row's prompt as text and ids: the one function that drawing, scoring and training render with."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

# What a template that asks for today's date gets, so that a prompt is the same on every day. It is the date that
# Llama's templates fall back to; where a template takes one as an argument (date_string), the argument wins.
FIXED_DATE = datetime(2024, 7, 26)
# Names under which templates look for a turn's thought; rows hold it under the first.
THOUGHT_NAMES = ("reasoning_content", "reasoning", "thinking")
_PROBLEM = re.compile(r"\{[{%][^}]*\bproblem\b")
_SYSTEM = re.compile(r"\{[{%][^}]*\bsystem\b")
_NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})


class RenderingError(ValueError):
    """Why a template does not render a conversation, in one line."""


def shows_one_problem(template: str) -> bool:
    """Whether it is a prompt template: it shows ``problem``, the user's turn, instead of ``messages``."""
    return _PROBLEM.search(template) is not None and "messages" not in template


def prompt_text(
    tokenizer: Any,
    template: str,
    messages: Sequence[Mapping[str, Any]],
    tools: Any = None,
    arguments: Mapping[str, Any] = _NO_ARGUMENTS,
) -> str:
    """The conversation with the header of the assistant's next turn.

    Args:
        tokenizer: a transformers tokenizer; its special tokens are the template's.
        template: Jinja text.
        messages: turns; a null member is as good as none, the arguments of a tool call are JSON text or an object.
        tools: JSON text of a list of functions. Anything else is a column that means nothing to the template.
        arguments: of the template, as ``chat_template_kwargs`` has them.

    Raises:
        RenderingError: the template refuses it.
    """
    return render(tokenizer, template, messages, tools, arguments, add_generation_prompt=True)


def prompt_ids(
    tokenizer: Any,
    template: str,
    messages: Sequence[Mapping[str, Any]],
    tools: Any = None,
    arguments: Mapping[str, Any] = _NO_ARGUMENTS,
) -> list[int]:
    """The ids of :func:`prompt_text`."""
    return text_ids(tokenizer, prompt_text(tokenizer, template, messages, tools, arguments))


def text_ids(tokenizer: Any, text: str) -> list[int]:
    """Ids of text that holds its own special tokens: none are added."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def render(
    tokenizer: Any,
    template: str,
    messages: Sequence[Mapping[str, Any]],
    tools: Any,
    arguments: Mapping[str, Any],
    *,
    add_generation_prompt: bool,
) -> str:
    """The conversation as the template writes it; arguments as of :func:`prompt_text`."""
    turns = [_turn(message, template) for message in messages]
    offered = json.loads(tools) if isinstance(tools, str) else None
    given = {name: value for name, value in arguments.items() if value is not None}
    given["add_generation_prompt"] = add_generation_prompt
    try:
        return _rendered(tokenizer, template, turns, offered, given)
    except RenderingError:
        # Most templates write the arguments of a call with ``tojson``; DeepSeek's want them as text.
        as_text = [_with_text_arguments(turn) for turn in turns]
        if as_text == turns:
            raise
        return _rendered(tokenizer, template, as_text, offered, given)


def _rendered(
    tokenizer: Any, template: str, turns: list[dict[str, Any]], tools: Any, arguments: Mapping[str, Any]
) -> str:
    from jinja2 import TemplateError

    try:
        text = str(
            tokenizer.apply_chat_template(
                turns,
                chat_template=template,
                tools=tools,
                tokenize=False,
                **_own_variables(template, turns),
                **arguments,
            )
        )
        text.encode()  # half of a surrogate pair has no ids
    except (TemplateError, TypeError, ValueError, AttributeError, KeyError, IndexError, RecursionError) as error:
        # What a row puts into its turns reaches the template's own filters and arithmetic.
        raise RenderingError(f"the chat template refuses this conversation: {error}") from error
    return text


def _turn(message: Mapping[str, Any], template: str) -> dict[str, Any]:
    """A turn as templates want it."""
    turn = {name: value for name, value in message.items() if value is not None}
    if (thought := turn.get(THOUGHT_NAMES[0])) is not None:
        turn |= {name: thought for name in THOUGHT_NAMES if name in template}
    if isinstance(turn.get("tool_calls"), list):
        turn["tool_calls"] = [_call(call) for call in turn["tool_calls"]]
    return turn


def _call(call: Any) -> Any:
    """A tool call with its arguments as an object: templates write them with ``tojson``."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return call
    try:
        return {**call, "function": {**function, "arguments": json.loads(function["arguments"])}}
    except (ValueError, RecursionError):
        return call


def _with_text_arguments(turn: dict[str, Any]) -> dict[str, Any]:
    """A turn whose calls have their arguments as JSON text."""
    calls = turn.get("tool_calls")
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        return turn
    functions = [dict(call["function"]) if isinstance(call.get("function"), Mapping) else {} for call in calls]
    for function in functions:
        if isinstance(function.get("arguments"), Mapping):
            function["arguments"] = json.dumps(function["arguments"], ensure_ascii=False)
    return turn | {"tool_calls": [{**call, "function": f} for call, f in zip(calls, functions, strict=True)]}


def _own_variables(template: str, turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the template is given beside the conversation, where it asks for it."""
    own: dict[str, Any] = {}
    if "strftime_now" in template:
        own["strftime_now"] = FIXED_DATE.strftime
    if shows_one_problem(template):
        own |= _problem(template, turns)
    return own


def _problem(template: str, turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The variables of a prompt template.

    Raises:
        ValueError: it would not show the whole conversation.
    """
    *before, last = turns
    systems = [turn["content"] for turn in before if turn["role"] in ("system", "developer")]
    if last["role"] != "user" or len(systems) < len(before) or (systems and not _SYSTEM.search(template)):
        what = "earlier turns" if len(systems) < len(before) else "a system turn"
        raise ValueError(f"it shows one problem, and the conversation has {what}")
    return {"problem": last["content"], "system": "\n\n".join(systems)}
