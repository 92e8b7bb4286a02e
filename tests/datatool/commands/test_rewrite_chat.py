"""`rewrite` on conversations with thoughts and tools, by way of its options, and the files checked with `validate`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mindgap_data.commands import main
from rewritten import write_rows
from tiny import save_tiny_model, save_tiny_tokenizer

TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
TALK = [
    {"role": "user", "content": "2 + 2?"},
    {"role": "assistant", "content": "", "tool_calls": [{"name": "add", "arguments": {"a": 2, "b": 2}}]},
    {"role": "tool", "content": "4"},
    {"role": "assistant", "content": "It is \\boxed{4}.", "reasoning_content": "the tool says 4"},
]
# Opens a thought, and closes it where it is told to.
TEMPLATE = (
    "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content.split('</think>')[-1] }}{% for c in m.tool_calls %}<tool_call>{{ c.function | tojson }}</tool_call>"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{{ '<think>\n' if thinking | default(true) else '<think>\n\n</think>\n\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat")
    save_tiny_model(folder / "tiny")
    write_rows(folder / "in.jsonl", [{"id": "a", "messages": TALK, "tools": TOOLS, "answer": "4"}])
    (folder / "t.jinja").write_text(TEMPLATE)
    return folder


@pytest.fixture(autouse=True)
def _here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def invoke(*args: str) -> Result:
    return CliRunner().invoke(main, list(args), catch_exceptions=False)


def rewrite(*args: str) -> Result:
    fixed = ("--model", "tiny", "--stages", "expert", "--overwrite", "--quiet", "-o", "out.jsonl")
    return invoke("rewrite", "in.jsonl", *fixed, *args)


def test_all_turns_of_a_talk_with_tools_and_thoughts() -> None:
    result = rewrite("--chat-template", "t.jinja", "--turns", "all")
    assert result.exit_code == 0, result.output
    first, second = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert first["messages"][-1]["content"] == '<tool_call>{"name": "add", "arguments": {"a": 2, "b": 2}}</tool_call>'
    assert [turn["role"] for turn in second["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert second["messages"][-1] == {
        "role": "assistant",
        "content": "It is \\boxed{4}.",
        "reasoning_content": "the tool says 4",
    }
    assert (first["id"], second["id"], second["provenance"]["expert_thinking"]) == ("a/1", "a/2", "empty")
    check = invoke("validate", "out.jsonl", "--tokenizer", "tiny", "--chat-template", "t.jinja")
    assert check.output == "out.jsonl: 2 rows, all valid (0 self, 0 guided, 2 expert)\n"


def test_an_argument_of_the_template_is_recorded_and_switches_thoughts_off() -> None:
    result = rewrite("--chat-template", "t.jinja", "--chat-template-arg", "thinking=false")
    assert result.exit_code == 0, result.output
    (row,) = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert row["provenance"]["chat_template_kwargs"] == {"thinking": False}
    assert row["messages"][-1] == {"role": "assistant", "content": "It is \\boxed{4}."}
    assert row["expert_reasoning"] == "the tool says 4"
    check = invoke("validate", "out.jsonl", "--tokenizer", "tiny", "--chat-template", "t.jinja")
    assert check.output == "out.jsonl: 1 rows, all valid (0 self, 0 guided, 1 expert)\n"


def test_a_prompt_template_takes_the_place_of_a_chat_template() -> None:
    write_rows(Path("plain.jsonl"), [{"problem": "2 + 2?", "solution": "\\boxed{4}"}])
    prompt = "Question: {{ problem }}\nAnswer:"
    result = invoke(
        "rewrite", "plain.jsonl", "--model", "tiny", "--stages", "expert", "--dry-run", "--prompt-template", prompt
    )
    assert result.exit_code == 0, result.output
    both = rewrite("--chat-template", "t.jinja", "--prompt-template", prompt)
    assert (both.exit_code, both.output) == (
        2,
        "Error: --prompt-template takes the place of --chat-template; give one of them\n",
    )


def test_a_model_without_a_template_says_what_to_give() -> None:
    save_tiny_tokenizer(Path("bare"), None)
    result = invoke("rewrite", "in.jsonl", "--model", "bare", "--dry-run")
    assert (result.exit_code, result.output) == (
        2,
        "Error: bare: the tokenizer has no chat template; name one with --chat-template (a file, or chatml, llama3, "
        "qwen_25, …), or give --prompt-template\n",
    )
