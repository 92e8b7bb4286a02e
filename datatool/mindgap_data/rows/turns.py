"""Turns of a conversation, from OpenAI's role/content or ShareGPT's from/value."""

from typing import Any

from mindgap_data.errors import one_line
from mindgap_data.rendering import THOUGHT_NAMES
from mindgap_data.rows.tools import read_calls
from mindgap_data.rows.values import Row, RowError, described

Turn = dict[str, Any]

_ROLES = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}


def turns_of(row: Row, column: str) -> list[Turn]:
    """The turns of a column.

    Raises:
        RowError: it holds anything else.
    """
    value = row[column]
    if not isinstance(value, list) or not value:
        raise RowError(f"field {column}: must be a list of turns, not {described(value)}")
    return [read_turn(turn, f"{column}[{position}]") for position, turn in enumerate(value)]


def read_turn(turn: Any, where: str) -> Turn:
    """A turn as {role, content}, from OpenAI's role/content or ShareGPT's from/value; further keys are kept."""
    if not isinstance(turn, dict):
        raise RowError(f"field {where}: must be an object, not {described(turn)}")
    names = ("role", "content") if "role" in turn else ("from", "value")
    spoken = turn.get(names[0])
    role = _ROLES.get(spoken.lower()) if isinstance(spoken, str) else None
    if role is None:
        raise RowError(f"field {where}: unknown role {one_line(spoken, 40)}")
    # Parquet fills absent keys of a turn with nulls.
    rest = {key: value for key, value in turn.items() if key not in names and value is not None}
    rest |= _thought(rest, where)
    content = turn.get(names[1])
    if isinstance(spoken, str) and spoken.lower() == "function_call":
        content, rest["tool_calls"] = "", content
    if calls := rest.pop("tool_calls", None):
        rest["tool_calls"], content = read_calls(calls, f"{where}.tool_calls"), "" if content is None else content
    if isinstance(content, list):
        content = _joined(content, where)
    if not isinstance(content, str):
        raise RowError(f"field {where}: {names[1]} must be text, not {described(content)}")
    return {"role": role, "content": content, **rest}


def _thought(turn: Turn, where: str) -> Turn:
    """What was thought before the turn, under the name that records give it."""
    own = THOUGHT_NAMES[0]
    if not isinstance(turn.get(own, ""), str):
        raise RowError(f"field {where}.{own}: must be text, not {described(turn[own])}")
    thoughts = [turn.pop(name) for name in THOUGHT_NAMES if isinstance(turn.get(name), str)]
    return {own: thoughts[0]} if thoughts and thoughts[0].strip() else {}


def _joined(parts: list[Any], where: str) -> str:
    texts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise RowError(f"field {where}: only text parts can be used")
    return "".join(str(text) for text in texts)
