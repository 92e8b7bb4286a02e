r"""Tool calls: the response calls the functions the reference calls, with the same arguments.

Calls are read from what models write: ``<tool_call>`` blocks with JSON (Hermes, Qwen) or with
``<function=name><parameter=key>`` (Qwen's coder models), ``[TOOL_CALLS]`` (Mistral), a fenced JSON block, or a
response that is JSON altogether (Llama), with ``parameters`` for ``arguments``. OpenAI's objects with ``function``
and arguments as a text of JSON are read too.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mindgap_data.verify import Verdict
from mindgap_data.verify.answers import strip_thinking
from mindgap_data.verify.strict_json import MAX_JSON, loads, same

MAX_CALLS = 100

_BLOCK = re.compile(r"<tool_call>(.*?)(?:</tool_call>|(?=<tool_call>)|\Z)", re.DOTALL)
_FUNCTION = re.compile(r"\s*<function=([^>\s]{1,200})>(.*?)(?:</function>)?\s*", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\s]{1,200})>\n?(.*?)\n?</parameter>", re.DOTALL)
_MISTRAL_CALL = re.compile(r"\s*([\w.-]{1,200})(?:\[CALL_ID\][\w-]{1,64})?\[ARGS\]", re.DOTALL)
_FENCE = re.compile(r"```(?:json|JSON|tool_call|tool_code)?[ \t]*\n(.*?)\n[ \t]*```", re.DOTALL)


class _NotACallError(Exception):
    """Marked as a tool call, but not one."""


@dataclass(frozen=True)
class Call:
    """One call of a function."""

    name: str
    arguments: Any  # a JSON value, as a rule an object


@dataclass(frozen=True)
class ToolCallVerifier:
    """The response's tool calls are those of the reference: names and arguments, equal as JSON, in any order.

    Text around the calls is ignored. The reference is the answer, read as JSON (a call or a list of calls), or else
    the row's ``tool_calls``, or the ``tool_calls`` of the last turn of its ``messages``.
    """

    kind: ClassVar[str] = "checked"
    needs_answer: ClassVar[bool] = False

    def __call__(self, response: str, answer: str, row: Mapping[str, Any]) -> Verdict:
        """Verdict; a response without a call gives no answer, a malformed call is wrong."""
        try:
            gold = reference_calls(answer, row)
        except _NotACallError:
            gold = []
        if not gold:
            return Verdict.CHECKER_ERROR
        body = strip_thinking(response)
        if body is None or not body.strip():
            return Verdict.NO_ANSWER
        if len(body) > MAX_JSON:
            return Verdict.WRONG
        try:
            calls = calls_in(body)
        except _NotACallError:
            return Verdict.WRONG
        if not calls:
            return Verdict.NO_ANSWER
        return Verdict.CORRECT if _same_calls(gold, calls) else Verdict.WRONG


def reference_calls(answer: str, row: Mapping[str, Any]) -> list[Call]:
    """The calls a row asks for."""
    if answer.strip():
        return _from_json(_loaded(answer))
    messages = row.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    calls = row.get("tool_calls") or (last.get("tool_calls") if isinstance(last, Mapping) else None)
    return _from_json(_loaded(calls) if isinstance(calls, str) else calls) if calls else []


def calls_in(body: str) -> list[Call]:
    """The calls a response makes; empty when nothing in it is marked as one."""
    blocks = _BLOCK.findall(body)
    if blocks:
        return [call for block in blocks[:MAX_CALLS] for call in _from_block(block)]
    if "[TOOL_CALLS]" in body:
        return _from_mistral(body.partition("[TOOL_CALLS]")[2])
    fences = _FENCE.findall(body)
    text = (fences[-1] if fences else body.replace("<|python_tag|>", "")).strip()
    if text[:1] not in ("{", "["):
        return []
    return _from_json(_loaded(text))


def _from_block(block: str) -> list[Call]:
    function = _FUNCTION.fullmatch(block)
    if function is None:
        return _from_json(_loaded(block))
    return [Call(function[1], {key: _parameter(text) for key, text in _PARAMETER.findall(function[2])})]


def _parameter(text: str) -> Any:
    """A parameter written without quotes: JSON where it is some, else text."""
    try:
        return loads(text)
    except (ValueError, RecursionError):
        return text


def _from_mistral(text: str) -> list[Call]:
    """A JSON list of calls, or one or more of name[ARGS]{...}."""
    if _MISTRAL_CALL.match(text) is None:
        return _from_json(_loaded(text))
    calls = []
    for part in text.split("[TOOL_CALLS]")[:MAX_CALLS]:
        name = _MISTRAL_CALL.match(part)
        if name is None:
            raise _NotACallError
        calls.append(Call(name[1], _loaded(part[name.end() :])))
    return calls


def _from_json(value: Any) -> list[Call]:
    values = value if isinstance(value, list) else [value]
    if len(values) > MAX_CALLS:
        raise _NotACallError
    return [_call(item) for item in values]


def _call(value: Any) -> Call:
    if isinstance(value, Mapping) and isinstance(value.get("function"), Mapping):
        value = value["function"]
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise _NotACallError
    arguments = value.get("arguments", value.get("parameters", {}))
    arguments = _loaded(arguments) if isinstance(arguments, str) and arguments.strip() else arguments or {}
    return Call(value["name"], arguments)


def _loaded(text: str) -> Any:
    try:
        return loads(text)
    except (ValueError, RecursionError) as error:
        raise _NotACallError from error


def _same_calls(gold: list[Call], calls: list[Call]) -> bool:
    """Whether they pair off."""
    left = list(calls)
    for call in gold:
        equal = (at for at, c in enumerate(left) if c.name == call.name and same(call.arguments, c.arguments))
        match = next(equal, None)
        if match is None:
            return False
        left.pop(match)
    return not left


def as_text(calls: list[Any]) -> str:
    """A turn's ``tool_calls`` as the text a model would have written, for :class:`ToolCallVerifier`."""
    return "\n".join(f"<tool_call>{json.dumps(call)}</tool_call>" for call in calls)
