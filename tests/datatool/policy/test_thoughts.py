"""Thoughts, template by template: where one stands in a response, and what a demonstration without one becomes."""

import pytest

from mindgap_data.agreement import decoding_error
from mindgap_data.errors import UserError
from mindgap_data.policy.chat import ChatTokenizer
from templates import CHANNELS, OPENED, axolotl_templates, bytes_tokenizer, marks_of
from tiny import CHATML

AXOLOTL = axolotl_templates()
TALK = [{"role": "user", "content": "2 + 2?"}]


def chat(template, expert_thinking=None, **arguments):
    text = AXOLOTL.get(template, template)
    if len(text) < 20:
        pytest.skip(f"axolotl is not installed: no template {template}")
    return ChatTokenizer(bytes_tokenizer(text), "tiny", (), arguments, expert_thinking)


# (template, its arguments, how the prompt ends, response with a thought, by "empty", by "none"; None: refused)
FORMS = [
    (CHATML, {}, "assistant\n", "4", "4", "4"),
    ("qwen_25", {}, "assistant\n", "4", "4", "4"),
    ("llama3", {}, "<|end_header_id|>\n\n", "4", "4", "4"),
    ("qwen3", {}, "<think>\n\n", "hm\n</think>\n\n4", "</think>\n\n4", None),
    ("qwen3", {"enable_thinking": False}, "</think>\n\n", "4", "4", "4"),
    ("qwen3_5", {"enable_thinking": True}, "<think>\n\n", "hm\n</think>\n\n4", "</think>\n\n4", None),
    ("exaone4", {"enable_thinking": True}, "<think>\n", "hm\n</think>\n\n4", "\n</think>\n\n4", None),
    ("gemma4", {}, "<channel|>", "4", "4", "4"),
    (
        "gemma4",
        {"enable_thinking": True},
        "model\n",
        "<|channel>thought\nhm<channel|>4",
        "<|channel>thought\n<channel|>4",
        "4",
    ),
    ("phi_4", {}, "assistant<|im_sep|>", "<think>\nhm\n</think>\n\n4", "<think>\n\n</think>\n\n4", "4"),
    ("command_a_tool_use", {}, "<|CHATBOT_TOKEN|>", *["<|START_RESPONSE|>4"] * 3),
    (OPENED, {}, "<think>\n", "hm\n</think>\n\n4", "\n</think>\n\n4", None),
    (
        CHANNELS,
        {},
        "<|start|>assistant",
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>4",
        "<|channel|>analysis<|message|><|end|><|start|>assistant<|channel|>final<|message|>4",
        "<|channel|>final<|message|>4",
    ),
]


@pytest.mark.parametrize(("template", "arguments", "ending", "thinking", "empty", "none"), FORMS)
def test_a_demonstration_goes_on_where_the_prompt_ends(template, arguments, ending, thinking, empty, none):
    made = chat(template, "empty", **arguments)
    assert made.prompt_text(TALK).endswith(ending)

    def written(tokenizer, thought=None):
        ids = tokenizer.demonstration_ids("4", thought)
        assert ids[-1] == made.end_id
        assert tokenizer.turn(ids)["content"] == "4"
        return tokenizer.decode(ids[:-1])

    assert written(made, "hm") == thinking
    assert written(made) == empty
    if none is None:
        with pytest.raises(UserError) as error:
            chat(template, "none", **arguments)
        assert error.value.message == (
            "--expert-thinking none: the chat template of tiny opens a thought in the prompt, and a demonstration "
            "without one would stand inside it; use empty or skip"
        )
    else:
        assert written(chat(template, "none", **arguments)) == none


@pytest.mark.parametrize(("template", "arguments"), [(one[0], one[1]) for one in FORMS])
def test_a_thought_goes_in_and_comes_out_the_same(template, arguments):
    made = chat(template, **arguments)
    ids = made.demonstration_ids("So \\boxed{4}.", "2 and 2\n\nmake 4")
    turn = {"role": "assistant", "content": "So \\boxed{4}."}
    if made.expert_thinking is not None:
        turn["reasoning_content"] = "2 and 2\n\nmake 4"
        assert made.response_text(ids) == "<think>\n2 and 2\n\nmake 4\n</think>\n\nSo \\boxed{4}."
        # A thought that stands in the text is the same thought.
        assert made.demonstration_ids("<think>2 and 2\n\nmake 4</think>\nSo \\boxed{4}.") == ids
    assert made.turn(ids) == turn
    assert decoding_error(ids, turn["content"], turn.get("reasoning_content"), made) is None


@pytest.mark.parametrize(
    ("template", "usual"),
    [("qwen3", "empty"), (OPENED, "empty"), (CHANNELS, "none"), ("phi_4", "none"), ("llama3", None)],
)
def test_what_is_usual_for_a_template(template, usual):
    assert chat(template).expert_thinking == usual


@pytest.mark.parametrize("template", ["qwen3", OPENED])
def test_a_thought_that_is_never_closed_is_no_answer(template):
    from mindgap_data.verify.answers import strip_thinking

    made = chat(template)
    ids = made.response_ids("2 and 2 make \\boxed{4}")
    assert made.turn(ids) == {"role": "assistant", "content": "", "reasoning_content": "2 and 2 make \\boxed{4}"}
    assert strip_thinking(made.response_text(ids)) is None


def test_skip_leaves_out_what_has_no_thought_and_nothing_else():
    assert chat(OPENED, "skip").lacks_thought("4", None)
    assert not chat(OPENED, "skip").lacks_thought("4", "hm")
    assert not chat(OPENED, "skip").lacks_thought("<think>hm</think>4", None)
    assert not chat(OPENED, "empty").lacks_thought("4", None)
    assert not chat(CHATML, "skip").lacks_thought("4", None)


def test_tags_are_text_for_a_template_without_thoughts():
    made = chat(CHATML)
    ids = made.demonstration_ids("<think>hm</think>4")
    assert made.turn(ids) == {"role": "assistant", "content": "<think>hm</think>4"}


def test_real_templates_that_hide_earlier_thoughts_do_so_in_prompts():
    talk = [
        *TALK,
        {"role": "assistant", "content": "4", "reasoning_content": "OLD"},
        {"role": "user", "content": "why?"},
    ]
    assert "OLD" not in chat("qwen3").prompt_text(talk)
    assert "OLD" not in chat(CHANNELS).prompt_text(talk)


CALLING = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": '{"a": 2, "b": 2}'}}],
}
TOOL = '[{"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}}}]'
# Templates that write calls, the token the turn ends with where the model has its own, and what stands at its end.
CALLS = [
    ("qwen_25", "<|im_end|>", "</tool_call><|im_end|>"),
    ("qwen3", "<|im_end|>", "</tool_call><|im_end|>"),
    ("qwen3_5", "<|im_end|>", "</tool_call><|im_end|>"),
    ("exaone4", "[|endofturn|]", "</tool_call>[|endofturn|]"),
    ("llama3_2_vision", "<|eot_id|>", "}}<|eot_id|>"),
    ("llama4", "<|eot|>", "}}<|eot|>"),
    ("mistral_v2v3", "<eos>", '"id": "abcdefghi"}]<eos>'),
    ("mistral_v3_tekken", "<eos>", '"id": "abcdefghi"}]<eos>'),
    ("command_a_tool_use", "<|END_OF_TURN_TOKEN|>", "\n]<|END_ACTION|><|END_OF_TURN_TOKEN|>"),
    ("command_a_rag", "<|END_OF_TURN_TOKEN|>", "\n]<|END_ACTION|><|END_OF_TURN_TOKEN|>"),
    ("gemma4", "<|tool_response>", "}<tool_call|><|tool_response>"),
    ("jamba", "<|eom|>", "\n]</tool_calls><|eom|>"),
    ("deepseek_v3", "<｜end▁of▁sentence｜>", "<｜tool▁calls▁end｜><｜end▁of▁sentence｜>"),
]


@pytest.mark.parametrize(("template", "end", "tail"), CALLS)
def test_a_call_is_written_as_the_template_writes_it_and_verified(template, end, tail):
    from mindgap_data.verify import Verdict
    from mindgap_data.verify.tool_call import ToolCallVerifier

    text = AXOLOTL.get(template)
    if text is None:
        pytest.skip(f"axolotl is not installed: no template {template}")
    tokenizer = bytes_tokenizer(text, marks=marks_of(text))
    made = ChatTokenizer(tokenizer, "tiny", (tokenizer.convert_tokens_to_ids(end),))
    call = {**CALLING, "tool_calls": [{**CALLING["tool_calls"][0], "id": "abcdefghi"}]}
    ids = made.call_ids(TALK, call, TOOL)
    assert made.decode(ids).endswith(tail)
    assert ids[-1] in made.end_ids
    assert made.turn(ids)["content"].count("add") == 1
    answer = '[{"name": "add", "arguments": {"b": 2, "a": 2}}]'
    assert ToolCallVerifier()(made.response_text(ids), answer, {}) is Verdict.CORRECT
    if made.expert_thinking is not None:
        assert made.turn(made.call_ids(TALK, {**call, "reasoning_content": "hm"}, TOOL))["reasoning_content"] == "hm"


def test_what_closes_a_text_before_the_end_of_its_turn_belongs_to_it():
    text = AXOLOTL.get("command_a_tool_use")
    if text is None:
        pytest.skip("axolotl is not installed")
    made = ChatTokenizer(bytes_tokenizer(text, eos="<|END_OF_TURN_TOKEN|>", marks=marks_of(text)), "tiny")
    ids = made.demonstration_ids("4")
    assert made.decode(ids) == "<|START_RESPONSE|>4<|END_RESPONSE|><|END_OF_TURN_TOKEN|>"
    assert made.turn(ids) == {"role": "assistant", "content": "4"}
    assert made.response_text(ids) == "4"


@pytest.mark.parametrize("template", ["chatml", "gemma3"])
def test_a_template_without_calls_fails_the_row(template):
    with pytest.raises(UserError) as error:
        chat(template).call_ids(TALK, CALLING, TOOL)
    assert error.value.message == "tiny: the chat template does not write the turn's tool calls after its prompt"
