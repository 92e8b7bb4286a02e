"""The prompt at training is the prompt at drawing, byte by byte, on every template that Axolotl brings and on ours."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from axolotl.utils.dict import DictDefault
from datasets import load_dataset

from mindgap_axolotl.chat_template import load
from mindgap_data.errors import UserError
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.policy.recipe import read_recipe
from mindgap_data.rows.problem import to_problem
from mindgap_data.rows.shapes import Fields
from rewritten import write_rows
from templates import OWN, axolotl_templates, bytes_tokenizer

STRATEGY = "mindgap_axolotl.chat_template"
TEMPLATES = {**axolotl_templates(), **OWN}
SYSTEM = {"role": "system", "content": "Be  brief.\n"}
ASKED = {"role": "user", "content": "\n2 + 2 <b>é</b>?  "}
TOLD = {"role": "assistant", "content": "Four \\boxed{4}", "reasoning_content": "2 and 2\n\nmake 4"}
AGAIN = {"role": "user", "content": "And 3?", "name": "Bo"}
FUNCTION = {"name": "add", "arguments": {"b": 2, "a": [1.0, "x", {"z": True, "y": "é"}]}}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "abcdefghi", "type": "function", "function": FUNCTION}],
}
SCHEMA = {"type": "object", "properties": {"b": {"type": "integer", "default": None}, "a": {"type": "array"}}}
TOOLS = [
    {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "sub", "description": "Takes.", "parameters": {"type": "object"}}},
]
OTHER_TOOLS = [
    {"type": "function", "function": {"name": "sub", "parameters": {"properties": {"b": {"type": "number"}}}}}
]
TALKS = [
    [ASKED],
    [SYSTEM, ASKED],
    [ASKED, TOLD, AGAIN],
    [ASKED, {"role": "assistant", "content": "<think>\nold\n</think>\n\nFour"}, AGAIN],
    [ASKED, CALL, {"role": "tool", "content": "4", "tool_call_id": "abcdefghi"}],
    [
        ASKED,
        {**CALL, "tool_calls": [{**CALL["tool_calls"][0], "function": {"name": "sub", "arguments": {"c": None}}}]},
        AGAIN,
    ],
]
ARGUMENTS = [{}, {"enable_thinking": True}, {"enable_thinking": False, "persona": "Bo"}]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """(prompt as a run renders it, the row as it reaches the plugin): through the reader, the record and Arrow."""
    offered = [None, None, None, None, TOOLS, OTHER_TOOLS]
    given = zip(TALKS, offered, strict=True)
    problems = [to_problem({"messages": [*talk, TOLD], "tools": tools}, Fields()) for talk, tools in given]
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    written = [record_of(problem) for problem in problems]
    dataset = load_dataset("json", data_files=str(write_rows(path, written)), split="train", cache_dir=str(path.parent))
    return list(zip(TALKS, offered, problems, dataset, strict=True))


def record_of(problem: Any) -> dict[str, Any]:
    return {
        "id": problem.id,
        "messages": [*problem.messages, TOLD],
        "tier": "expert",
        "response_token_ids": [1],
        "behavior_logprobs": None,
        "policy_logprobs": [-1.0],
        "answer": problem.answer,
        "expert": problem.expert,
        **({"tools": problem.tools} if problem.tools else {}),
        "attempts": {"pass_rate": None},
        "provenance": {
            "tool_version": "0", "model": "tiny", "engine": "transformers", "tokenizer": "", "chat_template": "",
            "sampling": {}, "selection": "first", "verifier": "math", "seed": 0,
        },
    }  # fmt: skip


def with_text_arguments(talk: list[dict[str, Any]]) -> list[dict[str, Any]]:
    talk = deepcopy(talk)
    for turn in talk:
        for call in turn.get("tool_calls", []):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"], ensure_ascii=False)
    return talk


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=["plain", "thinking", "not thinking"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_training_sees_the_prompt_that_was_drawn_from(
    name: str, arguments: dict[str, Any], rows: list[Any], tmp_path: Path
) -> None:
    if arguments and not any(argument in TEMPLATES[name] for argument in arguments):
        return
    recipe = {
        "base_model": "tiny",
        "sequence_len": 4096,
        "chat_template": name if name not in OWN else "jinja",
        **({"chat_template_jinja": OWN[name]} if name in OWN else {}),
        "chat_template_kwargs": arguments,
        "datasets": [{"path": "rows.jsonl", "type": STRATEGY}],
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    read = read_recipe(tmp_path / "recipe.yaml")
    assert read.chat_template == TEMPLATES[name]
    drawing = ChatTokenizer(bytes_tokenizer(read.chat_template), "tiny", (), read.template_arguments)
    tokenizer = bytes_tokenizer(None)
    encoder = load(tokenizer, DictDefault(recipe), DictDefault(recipe["datasets"][0])).encoder
    rendered = 0
    for talk, tools, problem, row in rows:
        row = deepcopy(row)
        row["provenance"] |= {
            "tokenizer": drawing.fingerprint,
            "chat_template": drawing.template,
            "chat_template_kwargs": dict(drawing.arguments),
        }
        try:
            drawn = drawing.prompt_ids(problem.messages, problem.tools)
        except UserError:
            with pytest.raises(UserError, match="the chat template refuses this conversation"):
                encoder(row, 0)
            continue
        trained = encoder(row, 0)
        assert trained["input_ids"] == [*drawn, 1]
        assert trained["labels"] == [-100] * len(drawn) + [1]
        if "strftime_now" not in TEMPLATES[name]:
            # transformers' own rendering of the conversation as the user has it, its calls and tools as objects.
            as_given = [{**turn, **({"thinking": t} if (t := turn.get("reasoning_content")) else {})} for turn in talk]
            if name == "deepseek_v3":
                as_given = with_text_arguments(as_given)
            again = tokenizer.apply_chat_template(
                as_given,
                chat_template=TEMPLATES[name],
                tools=tools,
                tokenize=False,
                add_generation_prompt=True,
                **arguments,
            )
            assert drawing.prompt_text(problem.messages, problem.tools) == again
        rendered += 1
    assert rendered


def test_the_date_in_a_prompt_is_the_same_every_day(rows: list[Any]) -> None:
    assert ChatTokenizer(bytes_tokenizer(OWN["asking"]), "tiny").prompt_text([ASKED]).startswith("26 Jul 2024 nobody")


def test_other_arguments_of_the_template_are_refused(rows: list[Any]) -> None:
    row = deepcopy(rows[0][3])
    drawing = ChatTokenizer(bytes_tokenizer(OWN["asking"]), "tiny", (), {"persona": "Bo"})
    row["provenance"] |= {
        "tokenizer": drawing.fingerprint,
        "chat_template": drawing.template,
        "chat_template_kwargs": {"persona": "Bo"},
    }
    entry = {"path": "rows.jsonl", "type": STRATEGY}
    cfg = {"base_model": "tiny", "sequence_len": 512, "chat_template": "jinja", "chat_template_jinja": OWN["asking"]}
    encoder = load(bytes_tokenizer(None), DictDefault(cfg), DictDefault(entry)).encoder
    with pytest.raises(UserError) as error:
        encoder(row, 0)
    assert error.value.message == (
        f"rows.jsonl: row 1 (id {row['id']}): the row was made with chat_template_kwargs {{'persona': 'Bo'}} and this "
        "recipe has chat_template_kwargs: {}; make them the same"
    )
