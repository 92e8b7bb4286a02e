"""Tool calls in every notation: right ones, wrong twins, and text that only looks like one."""

import time

import pytest

from mindgap_data.verify import Verdict
from mindgap_data.verify.calls import NotACallError, calls_in
from mindgap_data.verify.tool_call import ToolCallVerifier

GOLD = '{"name": "weather", "arguments": {"city": "Rome", "days": 3, "units": ["C", "mm"], "hourly": false}}'
JSON = '{"city": "Rome", "days": 3, "units": ["C", "mm"], "hourly": false}'

# One call in each notation, as the model's family writes it.
NOTATIONS = {
    "hermes": f'<tool_call>\n{{"name": "weather", "arguments": {JSON}}}\n</tool_call>',
    "qwen coder": (
        "<tool_call>\n<function=weather>\n<parameter=city>\nRome\n</parameter>\n<parameter=days>\n3\n</parameter>\n"
        '<parameter=units>\n["C", "mm"]\n</parameter>\n<parameter=hourly>\nfalse\n</parameter>\n'
        "</function>\n</tool_call>"
    ),
    "jamba": f' <tool_calls>[\n{{"name": "weather", "arguments": {JSON}}}\n]</tool_calls>',
    "mistral": f'[TOOL_CALLS][{{"name": "weather", "arguments": {JSON}, "id": "abcdefghi"}}]',
    "mistral args": f"[TOOL_CALLS]weather[CALL_ID]abcdefghi[ARGS]{JSON}",
    "gpt-oss": f"<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{JSON}<|call|>",
    "gpt-oss recipient first": f" to=functions.weather<|channel|>commentary json<|message|>{JSON}",
    "gpt-oss with a thought": (
        "<|channel|>analysis<|message|>They ask for rain, to=functions.sun?<|end|><|start|>assistant"
        f"<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{JSON}<|call|>"
    ),
    "gemma 4": (
        '<|tool_call>call:weather{city:<|"|>Rome<|"|>,days:3,hourly:false,units:[<|"|>C<|"|>,<|"|>mm<|"|>]}<tool_call|>'
    ),
    "functiongemma": (
        "<start_function_call>call:weather{city:<escape>Rome<escape>,days:3,hourly:false,"
        "units:[<escape>C<escape>,<escape>mm<escape>]}<end_function_call>"
    ),
    "command a": (
        "<|START_ACTION|>[\n"
        f'    {{"tool_call_id": "0", "tool_name": "weather", "parameters": {JSON}}}\n'
        "]<|END_ACTION|>"
    ),
    "deepseek v3": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n"
        f"```json\n{JSON}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    ),
    "deepseek v3.1": (
        f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{JSON}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    ),
    "llama json": f'<|python_tag|>{{"name": "weather", "parameters": {JSON}}}',
    "llama function": f"<function=weather>{JSON}</function>",
    "llama python": "<|python_start|>[weather(city='Rome', days=3, units=['C', 'mm'], hourly=False)]<|python_end|>",
    "fenced": f'Let me see.\n```json\n{{"name": "weather", "arguments": {JSON}}}\n```',
}  # fmt: skip


@pytest.mark.parametrize("name", NOTATIONS)
def test_a_call_is_read_and_its_wrong_twins_are_not_taken_for_it(name: str) -> None:
    verify, response = ToolCallVerifier(), NOTATIONS[name]
    assert verify(response, GOLD, {}) is Verdict.CORRECT
    assert verify(f"<think>Rain?</think>\n{response}", GOLD, {}) is Verdict.CORRECT
    for right, wrong in (("weather", "whether"), ("Rome", "Roma"), ("3", "4"), ("mm", "cm"), ("alse", "rue")):
        twin = response.replace(right, wrong).replace("frue", "true").replace("Frue", "True")
        assert verify(twin, GOLD, {}) is Verdict.WRONG, twin
    assert verify(response[: response.rindex("mm")], GOLD, {}) is not Verdict.CORRECT  # cut off


@pytest.mark.parametrize("name", [name for name in NOTATIONS if name not in {"llama json", "fenced", "jamba"}])
def test_a_second_call_is_not_passed_over(name: str) -> None:
    once = NOTATIONS[name]
    listed = {"mistral": (']', ', {"name": "b", "arguments": {}}]'), "command a": ("\n]", ',{"tool_name": "b"}]'),
              "llama python": (")]", "), b()]")}  # fmt: skip
    before, behind = listed.get(name, (once, once + once.replace("weather", "b")))
    twice = once[::-1].replace(before[::-1], behind[::-1], 1)[::-1]
    if name == "gpt-oss recipient first":
        twice = once + "<|call|><|start|>assistant" + once
    assert ToolCallVerifier()(twice, GOLD, {}) is Verdict.WRONG


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("{}", {}),
        ('{text:<|"|>a, b: {c}<|"|>}', {"text": "a, b: {c}"}),
        ('{a:{<|"|>b c<|"|>:1.5,d:null},e:[]}', {"a": {"b c": 1.5, "d": None}, "e": []}),
        ("{n:-3e2, b:true}", {"n": -300.0, "b": True}),
    ],
)
def test_gemmas_spelling_of_json(text: str, arguments: object) -> None:
    assert calls_in(f"<|tool_call>call:f{text}<tool_call|>")[0].arguments == arguments


@pytest.mark.parametrize(
    "text",
    [
        "<|tool_call>call:f{a:b}<tool_call|>",  # a text without its marks
        "<|tool_call>call:f{a:1,a:2}<tool_call|>",  # a key twice
        "<|tool_call>call:f{a:1}x<tool_call|>",
        "<|tool_call>call:f{a:" + "[" * 100_000,
        '<|tool_call>call:f{a:<|"|>never closed',
        "[f(1)]",  # no name
        "[f(**{'a': 1})]",
        "[f(a=__import__('os').getcwd())]",
        "[f(a=" + "(" * 5_000 + "1" + ")" * 5_000 + ")]",
        "[f(a=" + "-" * 15_000 + "1)]",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{}",  # not known here
        '<function_calls><invoke name="f"></invoke></function_calls>',
        "<tool_calls>[" + '{"name": "f"},' * 200 + '{"name": "f"}]</tool_calls>',
    ],
)
def test_what_is_marked_as_a_call_and_is_none(text: str) -> None:
    with pytest.raises(NotACallError):
        calls_in(text)


@pytest.mark.parametrize(
    "text", ["It is sunny.", "[1] is a footnote (see below).", "<|channel|>final<|message|>Sunny.", "a < b"]
)
def test_text_without_a_call(text: str) -> None:
    assert calls_in(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>" * 80_000,
        "<function=a>" * 80_000,
        "<|tool_call>call:f{" * 50_000,
        "<|message|>" + "<|start|>to=a" * 70_000,
        "<｜tool▁call▁begin｜>a<｜tool▁sep｜>" * 30_000,
        "<" * 500_000,
        "<tool" * 200_000,
        "<parameter=a>" * 70_000,
        "```json\n" * 100_000,
    ],
)
def test_hostile_text_takes_no_time(text: str) -> None:
    start = time.process_time()
    ToolCallVerifier()(text, GOLD, {})
    assert time.process_time() - start < 1
