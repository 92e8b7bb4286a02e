"""Tool calls as models write them, against a reference call."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mindgap_data.commands import main
from mindgap_data.verify import Verdict
from mindgap_data.verify.tool_call import ToolCallVerifier

CORRECT, WRONG, NO_ANSWER, ERROR = Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER, Verdict.CHECKER_ERROR
GOLD = '{"name": "weather", "arguments": {"city": "Rome", "days": 3}}'
ARGUMENTS = '{"days": 3, "city": "Rome"}'
OPENAI = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ARGUMENTS}}
CODER = (
    "<tool_call>\n<function=weather>\n<parameter=city>\nRome\n</parameter>\n"
    "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>"
)


@pytest.mark.parametrize(
    ("response", "verdict"),
    [
        (f'<tool_call>\n{{"name": "weather", "arguments": {ARGUMENTS}}}\n</tool_call>', CORRECT),
        (f'Let me look.\n<tool_call>{{"name": "weather", "arguments": {ARGUMENTS}}}</tool_call>', CORRECT),
        (f'<think>rain?</think><tool_call>{{"name": "weather", "arguments": {ARGUMENTS}}}', CORRECT),
        (CODER, CORRECT),
        (f'[TOOL_CALLS][{{"name": "weather", "arguments": {ARGUMENTS}}}]', CORRECT),
        (f"[TOOL_CALLS]weather[ARGS]{ARGUMENTS}", CORRECT),
        (f'{{"name": "weather", "parameters": {ARGUMENTS}}}', CORRECT),
        (f'<|python_tag|>{{"name": "weather", "parameters": {ARGUMENTS}}}', CORRECT),
        (f'```json\n{{"name": "weather", "arguments": {ARGUMENTS}}}\n```', CORRECT),
        (json.dumps([OPENAI]), CORRECT),
        ('{"name": "weather", "arguments": {"city": "Rome", "days": 3.0}}', CORRECT),
        ('{"name": "weather", "arguments": {"city": "Rome", "days": "3"}}', WRONG),
        ('{"name": "weather", "arguments": {"city": "Rome", "days": true}}', WRONG),
        ('{"name": "weather", "arguments": {"city": "Rome"}}', WRONG),
        ('{"name": "weather", "arguments": {"city": "Rome", "days": 3, "unit": "C"}}', WRONG),
        ('{"name": "Weather", "arguments": {"city": "Rome", "days": 3}}', WRONG),
        (f"<tool_call>{GOLD}</tool_call><tool_call>{GOLD}</tool_call>", WRONG),  # twice
        (f"<tool_call>{GOLD[:-1]}</tool_call>", WRONG),
        ("<tool_call>" + "[" * 100_000, WRONG),
        (f"<think>{GOLD}", NO_ANSWER),
        ("It will rain in Rome for 3 days.", NO_ANSWER),
        ("", NO_ANSWER),
    ],
)
def test_one_call(response: str, verdict: Verdict) -> None:
    assert ToolCallVerifier()(response, GOLD, {}) is verdict


TWO = '[{"name": "a", "arguments": {}}, {"name": "b", "arguments": {"x": 1}}]'


@pytest.mark.parametrize(
    ("response", "verdict"),
    [
        ('<tool_call>{"name": "b", "arguments": {"x": 1}}</tool_call><tool_call>{"name": "a"}</tool_call>', CORRECT),
        ('[TOOL_CALLS]a[ARGS]{}[TOOL_CALLS]b[ARGS]{"x": 1}', CORRECT),
        ('<tool_call>{"name": "a", "arguments": {}}</tool_call>', WRONG),
    ],
)
def test_several_calls_in_any_order(response: str, verdict: Verdict) -> None:
    assert ToolCallVerifier()(response, TWO, {}) is verdict


@pytest.mark.parametrize(
    ("answer", "row", "verdict"),
    [
        ("", {"tool_calls": [OPENAI]}, CORRECT),
        ("", {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "tool_calls": [OPENAI]}]}, CORRECT),
        ("", {"tool_calls": json.dumps([OPENAI])}, CORRECT),
        ("", {}, ERROR),
        ("5", {}, ERROR),
        ("no JSON", {"tool_calls": [OPENAI]}, ERROR),
    ],
)
def test_where_the_reference_comes_from(answer: str, row: dict[str, Any], verdict: Verdict) -> None:
    assert ToolCallVerifier()(GOLD, answer, row) is verdict


def test_verify_reads_the_tool_calls_of_a_turn(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Rain?"}, {"role": "assistant", "content": None, "tool_calls": [OPENAI]}]
    file = tmp_path / "in.jsonl"
    file.write_text(json.dumps({"messages": turns, "answer": GOLD}) + "\n")
    result = CliRunner().invoke(main, ["verify", str(file), "--verifier", "tool_call"])
    assert result.stdout.endswith("accuracy 1.0000 of 1 responses\n"), result.output
