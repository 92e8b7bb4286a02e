"""Tools and several turns: what of a row is read, what becomes of it, and what is said of what cannot be used."""

import json

import pytest

from mindgap_data.rewrite.job import read_problem
from mindgap_data.rows.inputs import InputRows
from mindgap_data.rows.problem import to_problem
from mindgap_data.rows.shapes import Fields
from mindgap_data.rows.sources import open_source
from mindgap_data.rows.values import RowError
from mindgap_data.verify import Verdict
from mindgap_data.verify.tool_call import ToolCallVerifier
from rewritten import write_rows

NONE = Fields()
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}]
ASKED = {"role": "user", "content": "2 + 2?"}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"function": {"name": "add", "arguments": {"b": 2, "a": 2}}}],
}
RESULT = {"role": "tool", "content": "4"}
TOLD = {"role": "assistant", "content": "It is \\boxed{4}."}
READ = {"type": "function", "function": {"name": "add", "arguments": '{"b": 2, "a": 2}'}}


def test_calls_are_the_reference_and_tool_call_checks_them():
    problem = to_problem({"messages": [ASKED, CALL], "tools": TOOLS, "id": "a"}, NONE)
    assert json.loads(problem.tools) == TOOLS
    assert problem.answer == '[{"name": "add", "arguments": {"b": 2, "a": 2}}]'
    assert (problem.verifier, problem.extra) == ("tool_call", {"verifier": "tool_call"})
    check = ToolCallVerifier()
    right = '<tool_call>{"name": "add", "arguments": {"a": 2.0, "b": 2}}</tool_call>'
    assert check(right, problem.answer, problem.checked_row) is Verdict.CORRECT
    assert check(right.replace("2.0", "3"), problem.answer, problem.checked_row) is Verdict.WRONG
    assert check(problem.expert, problem.answer, problem.checked_row) is Verdict.CORRECT


@pytest.mark.parametrize(
    "turn",
    [
        CALL,
        {**CALL, "tool_calls": json.dumps(CALL["tool_calls"])},
        {**CALL, "tool_calls": [{"name": "add", "arguments": '{"b": 2, "a": 2}'}]},
        {"from": "function_call", "value": '{"name": "add", "arguments": {"b": 2, "a": 2}}'},
    ],
    ids=["objects", "text", "arguments as text", "ShareGPT"],
)
def test_calls_are_read_in_every_form(turn):
    problem = to_problem({"messages": [ASKED, turn, RESULT, TOLD]}, NONE)
    assert problem.messages[1] == {"role": "assistant", "content": "", "tool_calls": [READ]}
    assert (problem.answer, problem.verifier) == ("4", None)


UNUSABLE = [
    ({"tools": "hammer"}, "field tools: must be a list of functions, or its JSON text, not str hammer"),
    ({"tools": [1]}, "field tools: must be a list of functions, or its JSON text, not list [1]"),
    (
        {"messages": [ASKED, {**CALL, "tool_calls": [{"name": "add", "arguments": "{"}]}]},
        "field messages[1].tool_calls: must be calls, each with a name and arguments, not list "
        "[{'name': 'add', 'arguments': '{'}]",
    ),
]


@pytest.mark.parametrize(("changes", "reason"), UNUSABLE)
def test_what_is_said_of_tools_that_cannot_be_used(changes, reason):
    with pytest.raises(RowError) as error:
        to_problem({"messages": [ASKED, TOLD], **changes}, NONE)
    assert str(error.value) == reason


def test_every_assistant_turn_is_a_target_with_the_experts_history(tmp_path):
    talk = [ASKED, CALL, RESULT, TOLD, {"role": "user", "content": "Thanks."}]
    path = write_rows(tmp_path / "in.jsonl", [{"id": "a", "messages": talk, "answer": "4", "k": 1}, {"messages": []}])
    rows = InputRows(open_source(str(path)), NONE, turns="all")
    assert rows.total() is None
    first, second, bad = [read_problem(raw, rows) for raw in rows.read()]
    assert (first.id, [turn["role"] for turn in first.messages]) == ("a/1", ["user"])
    assert first.extra == {"input.id": "a", "input.answer": "4", "k": 1, "verifier": "tool_call"}
    assert (second.id, [turn["role"] for turn in second.messages]) == ("a/2", ["user", "assistant", "tool"])
    assert (second.answer, second.verifier, second.expert) == ("4", None, TOLD["content"])
    assert bad.reason == "field messages: must be a list of turns, not list []"


def test_the_answer_column_is_the_last_turns_alone():
    row = {"messages": [ASKED, {"role": "assistant", "content": "Four."}, ASKED, TOLD], "answer": "4"}
    assert to_problem(row, NONE, turn=2).answer == "4"
    with pytest.raises(RowError, match="no reference answer"):
        to_problem(row, NONE, turn=1)
    assert to_problem(row, NONE, turn=1, needs_answer=False).answer == ""
