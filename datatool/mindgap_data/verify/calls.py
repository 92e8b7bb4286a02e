r"""Tool calls in the notations in which models write them.

- ``<tool_call>`` with JSON (Hermes, Qwen, EXAONE, Falcon), or with ``<function=name><parameter=key>`` (Qwen's coder
  models); ``<tool_calls>`` with a JSON list (Jamba)
- ``[TOOL_CALLS]`` with a JSON list, or name[ARGS]{...} (Mistral)
- a channel addressed ``to=functions.name`` (gpt-oss)
- ``<|tool_call>call:name{key:<|"|>text<|"|>}`` (Gemma 4), ``<start_function_call>call:...`` (FunctionGemma)
- ``<|START_ACTION|>`` with a JSON list of ``tool_name`` and ``parameters`` (Command A)
- DeepSeek's call tokens, with the arguments fenced (V3) or bare (V3.1)
- ``<function=name>{...}</function>``, ``[name(key=value)]`` (Llama), a fenced JSON block, or JSON alone; OpenAI's
  objects with ``function``, whose arguments are a text of JSON
"""

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mindgap_data.verify.strict_json import loads

MAX_CALLS = 100
MAX_PYTHON = 20_000
MAX_NESTING = 40


class NotACallError(Exception):
    """Marked as a tool call, but not one that can be read."""


@dataclass(frozen=True)
class Call:
    """One call of a function."""

    name: str
    arguments: Any  # a JSON value, as a rule an object


def calls_in(body: str) -> list[Call]:
    """The calls a response makes; empty when nothing in it is marked as one.

    Raises:
        NotACallError: something is marked as a call, and is none, or is written in no notation known here.
    """
    for mark, read in _NOTATIONS:
        if mark in body:
            return _bounded(read(body))
    if _UNKNOWN.search(body):
        raise NotACallError
    fences = _FENCE.findall(body)
    text = (fences[-1] if fences else re.sub(r"<\|(?:python_tag|python_start|python_end|eom_id)\|>", "", body)).strip()
    if _PYTHON_LIST.match(text):
        return _bounded(_from_python(text))
    return from_json(loaded(text)) if _JSON.match(text) else []


def from_json(value: Any) -> list[Call]:
    """The calls of a JSON value: one, or a list of them.

    Raises:
        NotACallError: it is neither.
    """
    return [_call(item) for item in _bounded(value if isinstance(value, list) else [value])]


def loaded(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        NotACallError: it is no JSON.
    """
    try:
        return loads(text)
    except (ValueError, RecursionError) as error:
        raise NotACallError from error


def _bounded(calls: list[Any]) -> list[Any]:
    if len(calls) > MAX_CALLS:
        raise NotACallError
    return calls


def _call(value: Any) -> Call:
    if isinstance(value, Mapping) and isinstance(value.get("function"), Mapping):
        value = value["function"]
    name = value.get("name", value.get("tool_name")) if isinstance(value, Mapping) else None
    if not isinstance(name, str):
        raise NotACallError
    arguments = value.get("arguments", value.get("parameters", {}))
    return Call(name, loaded(arguments) if isinstance(arguments, str) and arguments.strip() else arguments or {})


# --- blocks of JSON, and XML ---------------------------------------------------------------------

_BLOCK = re.compile(r"<tool_call>(.*?)(?:</tool_call>|(?=<tool_call>)|\Z)", re.DOTALL)
_FUNCTION = re.compile(r"<function=([^>\s]{1,200})>(.*?)(?:</function>|(?=<function=)|\Z)", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\s]{1,200})>\n?(.*?)\n?</parameter>", re.DOTALL)
_JSON = re.compile(r"\{|\[\s*[{\]]")
_FENCE = re.compile(r"```(?:json|JSON|tool_call|tool_code)?[ \t]*\n(.*?)\n[ \t]*```", re.DOTALL)


def _from_blocks(body: str) -> list[Call]:
    blocks = _BLOCK.findall(body)[: MAX_CALLS + 1]
    return [call for block in blocks for call in (_from_functions(block) if "<function=" in block else _block(block))]


def _block(block: str) -> list[Call]:
    return from_json(loaded(block))


def _from_functions(body: str) -> list[Call]:
    """<function=name> with JSON, or with a <parameter=key> for every argument."""
    calls = []
    for name, inside in _FUNCTION.findall(body)[: MAX_CALLS + 1]:
        text = inside.strip()
        if text.startswith("{"):
            calls.append(Call(name, loaded(text)))
        else:
            calls.append(Call(name, {key: _parameter(value) for key, value in _PARAMETER.findall(inside)}))
    return calls


def _parameter(text: str) -> Any:
    """A parameter written without quotes: JSON where it is some, else text."""
    try:
        return loads(text)
    except (ValueError, RecursionError):
        return text


def _list_between(opens: str, closes: str) -> Callable[[str], list[Call]]:
    """Reads a JSON list of calls between two marks, the second of which may be missing at the end."""

    def read(body: str) -> list[Call]:
        return from_json(loaded(body.partition(opens)[2].partition(closes)[0]))

    return read


# --- Mistral, gpt-oss, DeepSeek ------------------------------------------------------------------

_MISTRAL_CALL = re.compile(r"\s*([\w.-]{1,200})(?:\[CALL_ID\][\w-]{1,64})?\[ARGS\]")
_RECIPIENT = re.compile(r"(?<![\w.])to=(?:functions\.)?([\w.-]{1,200})")
_DEEPSEEK = re.compile(r"<｜tool▁call▁begin｜>(.{1,200}?)<｜tool▁sep｜>(.*?)(?:<｜tool▁call▁end｜>|\Z)", re.DOTALL)
_DEEPSEEK_FENCED = re.compile(r"([^\n]{1,200})\n```json\n(.*?)\n?```\s*", re.DOTALL)


def _from_mistral(body: str) -> list[Call]:
    """A JSON list of calls, or one or more of name[ARGS]{...}."""
    text = body.partition("[TOOL_CALLS]")[2]
    if _MISTRAL_CALL.match(text) is None:
        return from_json(loaded(text))
    calls = []
    for part in text.split("[TOOL_CALLS]")[: MAX_CALLS + 1]:
        name = _MISTRAL_CALL.match(part)
        if name is None:
            raise NotACallError
        calls.append(Call(name[1], loaded(part[name.end() :])))
    return calls


def _from_channels(body: str) -> list[Call]:
    """gpt-oss: messages whose header names a function as the recipient; others are thoughts and talk."""
    calls = []
    for message in re.split(r"<\|start\|>|<\|end\|>|<\|call\|>|<\|return\|>", body):
        header, _, content = message.partition("<|message|>")
        recipient = _RECIPIENT.search(header)
        if recipient and recipient[1] != "assistant":
            calls.append(Call(recipient[1], loaded(content)))
    return calls


def _from_deepseek(body: str) -> list[Call]:
    calls = []
    for before, behind in _DEEPSEEK.findall(body)[: MAX_CALLS + 1]:
        fenced = _DEEPSEEK_FENCED.fullmatch(behind)
        calls.append(Call(fenced[1], loaded(fenced[2])) if fenced else Call(before.strip(), loaded(behind)))
    if not calls:
        raise NotACallError
    return calls


# --- Gemma ---------------------------------------------------------------------------------------

_GEMMA_NUMBER = re.compile(r"-?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][-+]?[0-9]{1,4})?|true|false|null|None")
_GEMMA_KEY = re.compile(r"\s*([\w.-]{1,200})\s*:")


def _from_gemma(opens: str, closes: str, quote: str) -> Callable[[str], list[Call]]:
    """Reads call:name{key:value}, whose texts stand between two of ``quote``."""
    start = re.compile(re.escape(opens) + r"\s*call:([\w.:-]{1,200})(?=\{)")

    def read(body: str) -> list[Call]:
        calls = []
        for block in body.split(opens)[1 : MAX_CALLS + 2]:
            name = start.match(opens + block)
            if name is None:
                raise NotACallError
            arguments, end = _Gemma(block, quote).value(name.end() - len(opens), 0)
            if block[end:].strip() and not block[end:].lstrip().startswith(closes):
                raise NotACallError
            calls.append(Call(name[1], arguments))
        return calls

    return read


@dataclass(frozen=True)
class _Gemma:
    """Gemma's spelling of JSON: keys bare, texts between marks. Reads forward only."""

    text: str
    quote: str

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        """The value at a position, and where it ends."""
        if depth > MAX_NESTING:
            raise NotACallError
        at = self.after_space(at)
        if self.text.startswith(self.quote, at):
            return self.quoted(at)
        if self.text.startswith("{", at):
            return self.items(at, "}", depth)
        if self.text.startswith("[", at):
            return self.items(at, "]", depth)
        number = _GEMMA_NUMBER.match(self.text, at)
        if number is None:
            raise NotACallError
        return (None if number.group() == "None" else loaded(number.group())), number.end()

    def items(self, at: int, close: str, depth: int) -> tuple[Any, int]:
        """What an object or a list holds."""
        found: dict[str, Any] | list[Any] = {} if close == "}" else []
        at = self.after_space(at + 1)
        if self.text.startswith(close, at):
            return found, at + 1
        while True:
            if isinstance(found, dict):
                key, at = self.key(at)
                if key in found:
                    raise NotACallError
                found[key], at = self.value(at, depth + 1)
            else:
                item, at = self.value(at, depth + 1)
                found.append(item)
            at = self.after_space(at)
            if self.text.startswith(close, at):
                return found, at + 1
            if not self.text.startswith(",", at):
                raise NotACallError
            at += 1

    def key(self, at: int) -> tuple[str, int]:
        at = self.after_space(at)
        if self.text.startswith(self.quote, at):
            key, at = self.quoted(at)
            at = self.after_space(at)
            if not self.text.startswith(":", at):
                raise NotACallError
            return key, at + 1
        match = _GEMMA_KEY.match(self.text, at)
        if match is None:
            raise NotACallError
        return match[1], match.end()

    def quoted(self, at: int) -> tuple[str, int]:
        start = at + len(self.quote)
        end = self.text.find(self.quote, start)
        if end < 0:
            raise NotACallError
        return self.text[start:end], end + len(self.quote)

    def after_space(self, at: int) -> int:
        while at < len(self.text) and self.text[at].isspace():
            at += 1
        return at


# --- Llama's lists of Python calls ---------------------------------------------------------------

_PYTHON_LIST = re.compile(r"\[\s*[A-Za-z_][\w.]{0,200}\s*\(")


def _from_python(text: str) -> list[Call]:
    """[name(key=value), ...] with literal values; it is parsed, and never evaluated."""
    if len(text) > MAX_PYTHON:
        raise NotACallError
    try:
        tree = ast.parse(text, mode="eval").body
        if not isinstance(tree, ast.List) or not all(isinstance(item, ast.Call) for item in tree.elts):
            raise NotACallError
        return [_python_call(item) for item in tree.elts if isinstance(item, ast.Call)]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise NotACallError from error


def _python_call(call: ast.Call) -> Call:
    if call.args or any(keyword.arg is None for keyword in call.keywords):
        raise NotACallError
    arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    return Call(ast.unparse(call.func), arguments)


_NOTATIONS: tuple[tuple[str, Callable[[str], list[Call]]], ...] = (
    ("<|tool_call>", _from_gemma("<|tool_call>", "<tool_call|>", '<|"|>')),
    ("<start_function_call>", _from_gemma("<start_function_call>", "<end_function_call>", "<escape>")),
    ("<tool_call>", _from_blocks),
    ("<tool_calls>", _list_between("<tool_calls>", "</tool_calls>")),
    ("[TOOL_CALLS]", _from_mistral),
    ("<|message|>", _from_channels),
    ("<|START_ACTION|>", _list_between("<|START_ACTION|>", "<|END_ACTION|>")),
    ("<｜tool▁call▁begin｜>", _from_deepseek),
    ("<function=", _from_functions),
)
# A mark of another notation: "<|tool_calls_section_begin|>", "<invoke name=...>", "<minimax:tool_call>".
_UNKNOWN = re.compile(r"<[|｜]?[\w▁:]{0,40}(?:tool|function|invoke|action)[^<>\n]{0,100}>", re.IGNORECASE)
