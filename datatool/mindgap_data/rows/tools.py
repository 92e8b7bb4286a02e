"""Tools: the functions a row offers, and the calls of a turn, in the one form that templates and trainers can read.

Both hold free JSON, which a table of typed columns (Arrow, parquet) cannot keep: it fills in absent keys and reorders
them. So a row's functions and the arguments of a call are kept as JSON text.
"""

import json
from typing import Any

from mindgap_data.rows.values import Row, RowError, described


def read_tools(row: Row) -> str | None:
    """The column ``tools`` as JSON text of a list of functions; None where the row offers none.

    Raises:
        RowError: it is something else.
    """
    value = row.get("tools")
    if value in (None, "", []):
        return None
    found = _loaded(value) if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(tool, dict) for tool in found):
        raise RowError(f"field tools: must be a list of functions, or its JSON text, not {described(value)}")
    return _dumped(found) if found else None


def read_calls(value: Any, where: str) -> list[dict[str, Any]]:
    """A turn's calls as OpenAI has them, each with its arguments as JSON text.

    Raises:
        RowError: they are something else; names the field.
    """
    found = _loaded(value) if isinstance(value, str) else value
    calls = [_call(one) for one in (found if isinstance(found, list) else [found])]
    if not calls or None in calls:
        raise RowError(f"field {where}: must be calls, each with a name and arguments, not {described(value)}")
    return [call for call in calls if call is not None]


def plain_calls(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Name and arguments of each call, as JSON values."""
    functions = [call["function"] for call in calls]
    return [{"name": one["name"], "arguments": _loaded(one["arguments"])} for one in functions]


def calls_text(calls: list[dict[str, Any]]) -> str:
    """Calls as JSON text: the reference that ``tool_call`` compares with."""
    return _dumped(plain_calls(calls))


def tagged_calls(calls: list[dict[str, Any]]) -> str:
    """Calls in the notation of Hermes and Qwen, for readers; a model's template has its own."""
    return "\n".join(f"<tool_call>\n{_dumped(call)}\n</tool_call>" for call in plain_calls(calls))


def _call(value: Any) -> dict[str, Any] | None:
    function = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        return None
    arguments = function.get("arguments", function.get("parameters"))
    if isinstance(arguments, str) and arguments.strip():
        if not isinstance(_loaded(arguments), dict):
            return None
    elif arguments in (None, "") or isinstance(arguments, dict):
        arguments = _dumped(arguments or {})
    else:
        return None
    own_id = {"id": value["id"]} if isinstance(value.get("id"), str) else {}
    return {**own_id, "type": "function", "function": {"name": function["name"], "arguments": arguments}}


def _loaded(text: str) -> Any:
    """The JSON value of a text, or None."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _dumped(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError) as error:
        raise RowError(f"tools cannot be written as JSON: {error}") from None
