r"""Tool calls: the response calls the functions the reference calls, with the same arguments."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mindgap_data.verify import Verdict
from mindgap_data.verify.answers import strip_thinking
from mindgap_data.verify.calls import Call, NotACallError, calls_in, from_json, loaded
from mindgap_data.verify.strict_json import MAX_JSON, same


@dataclass(frozen=True)
class ToolCallVerifier:
    """The response's tool calls are those of the reference: names and arguments, equal as JSON, in any order.

    Text around the calls is ignored; ``calls`` lists the notations that are read. The reference is the answer, read as
    JSON (a call or a list of calls), or else the row's ``tool_calls``, or the ``tool_calls`` of the last turn of its
    ``messages``.
    """

    kind: ClassVar[str] = "checked"
    needs_answer: ClassVar[bool] = False

    def __call__(self, response: str, answer: str, row: Mapping[str, Any]) -> Verdict:
        """Verdict; no call is no answer; a call that is malformed, or in no notation known here, is wrong."""
        try:
            gold = reference_calls(answer, row)
        except NotACallError:
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
        except NotACallError:
            return Verdict.WRONG
        if not calls:
            return Verdict.NO_ANSWER
        return Verdict.CORRECT if _same_calls(gold, calls) else Verdict.WRONG


def reference_calls(answer: str, row: Mapping[str, Any]) -> list[Call]:
    """The calls a row asks for."""
    if answer.strip():
        return from_json(loaded(answer))
    messages = row.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    calls = row.get("tool_calls") or (last.get("tool_calls") if isinstance(last, Mapping) else None)
    return from_json(loaded(calls) if isinstance(calls, str) else calls) if calls else []


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
