"""The tokenizer as a chat sees it: prompts, responses, and the token that ends a turn, template by template."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindgap_data.agreement import decoding_error
from mindgap_data.errors import UserError
from mindgap_data.policy.chat import ChatTokenizer
from tiny import CHATML

LLAMA3 = (
    "{{ '<|begin|>' }}{% for message in messages %}<|head|>{{ message['role'] }}<|/head|>\n\n"
    "{{ message['content'] | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant<|/head|>\n\n{% endif %}"
)
# Ends an assistant's turn with nothing of its own.
BARE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
# White space between the text and the token that ends the turn.
SPACED = "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }} <|eot|>{% endfor %}"
STRICT = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turns here') }}{% endif %}" + CHATML

SPECIAL = ["<|im_start|>", "<|im_end|>", "<|begin|>", "<|head|>", "<|/head|>", "<|eot|>", "<|end|>"]
TALK = [{"role": "user", "content": "Hi <b>é</b>"}]


def tokenizer(template, eos="<|end|>"):
    """Bytes 0..255, then the special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(SPECIAL)
    made = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=eos, additional_special_tokens=SPECIAL)
    made.chat_template = template
    return made


def chat(template, eos="<|end|>", extra=()):
    return ChatTokenizer(tokenizer(template, eos), "tiny", extra)


@pytest.mark.parametrize(
    ("template", "end"),
    [(CHATML, "<|im_end|>"), (LLAMA3, "<|eot|>"), (BARE, "<|end|>"), (SPACED, "<|eot|>"), (STRICT, "<|im_end|>")],
    ids=["chatml", "llama3", "bare", "spaced", "strict"],
)
def test_the_token_that_ends_a_turn_is_the_templates_else_the_tokenizers(template, end):
    made = chat(template)
    assert made.hf.convert_ids_to_tokens(made.end_id) == end
    assert made.end_ids == (made.end_id,)


def test_further_end_ids_of_the_generation_config_count_too():
    made = chat(CHATML)
    more = chat(CHATML, extra=(made.end_id, 3))
    assert more.end_ids == (made.end_id, 3)
    assert more.response_text((104 - 33, 3)) == more.response_text((104 - 33, made.end_id)) == "h"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (CHATML, "<|im_start|>user\nHi <b>é</b><|im_end|>\n<|im_start|>assistant\n"),
        (LLAMA3, "<|begin|><|head|>user<|/head|>\n\nHi <b>é</b><|eot|><|head|>assistant<|/head|>\n\n"),
        (BARE, "user: Hi <b>é</b>\nassistant: "),
    ],
    ids=["chatml", "llama3", "bare"],
)
def test_a_prompt_is_the_template_with_the_assistants_header_and_nothing_added(template, text):
    made = chat(template)
    assert made.prompt_text(TALK) == text
    assert made.decode(made.prompt_ids(TALK)) == text
    # What transformers itself makes of the conversation, ids and all.
    wanted = made.hf.apply_chat_template(TALK, add_generation_prompt=True, tokenize=True, return_dict=True)["input_ids"]
    assert list(made.prompt_ids(TALK)) == wanted


@pytest.mark.parametrize("template", [CHATML, LLAMA3, BARE], ids=["chatml", "llama3", "bare"])
@given(text=st.text(st.characters(codec="utf-8"), max_size=30))
def test_a_response_decodes_to_its_text_and_ends_its_turn(template, text):
    made = CACHE.setdefault(template, chat(template))
    if any(token in text for token in SPECIAL):
        return
    ids = made.response_ids(text)
    assert ids[-1] == made.end_id
    assert made.response_text(ids) == text
    assert made.response_text(ids[:-1]) == text
    assert decoding_error(ids, text, None, made) is None


CACHE: dict[str, ChatTokenizer] = {}


def test_an_end_token_within_a_response_is_shown():
    made = chat(CHATML)
    ids = (*made.response_ids("a")[:-1], made.end_id, *made.response_ids("b"))
    assert made.response_text(ids) == "a<|im_end|>b"


def test_fingerprints_are_of_vocabulary_and_template():
    assert chat(CHATML).fingerprint == chat(LLAMA3).fingerprint
    assert chat(CHATML).template != chat(LLAMA3).template
    assert chat(CHATML).template == chat(CHATML + "\n").template


@pytest.mark.parametrize("template", [None, " \n"])
def test_no_chat_template(template):
    with pytest.raises(UserError) as error:
        chat(template)
    assert error.value.message == (
        "tiny: the tokenizer has no chat template; name one with --chat-template (a file, or chatml, "
        "llama3, qwen_25, …), or give --prompt-template"
    )


def test_a_template_that_ends_no_turn_and_no_eos_token():
    with pytest.raises(UserError) as error:
        chat(BARE, eos=None)
    assert error.value.message == "tiny: the chat template ends no turn and the tokenizer has no eos token"


def test_a_conversation_the_template_refuses():
    with pytest.raises(UserError) as error:
        chat(STRICT).prompt_ids([{"role": "system", "content": "Be brief."}, *TALK])
    assert error.value.message == "tiny: the chat template refuses this conversation: no system turns here"


def test_a_template_with_a_syntax_error():
    with pytest.raises(UserError) as error:
        chat("{% for message in messages %}")
    assert error.value.message.startswith("tiny: the chat template refuses this conversation: ")


PROMPT = "{% if system %}{{ system }}\n{% endif %}Question: {{ problem }}\nAnswer:"


def test_a_prompt_template_shows_the_problem_and_ends_with_the_tokenizers_end():
    made = chat(PROMPT)
    assert made.prompt_text(TALK) == "Question: Hi <b>é</b>\nAnswer:"
    assert made.prompt_text([{"role": "system", "content": "Be brief."}, *TALK]).startswith("Be brief.\nQuestion: ")
    assert made.hf.convert_ids_to_tokens(made.end_id) == "<|end|>"
    assert made.decode(made.demonstration_ids("It is 4.")) == "It is 4.<|end|>"


@pytest.mark.parametrize(
    ("turns", "what"),
    [
        ([*TALK, {"role": "assistant", "content": "a"}, *TALK], "earlier turns"),
        ([{"role": "system", "content": "s"}, *TALK], "a system turn"),
    ],
)
def test_a_prompt_template_refuses_what_it_would_not_show(turns, what):
    with pytest.raises(UserError) as error:
        chat("Q: {{ problem }}").prompt_text(turns)
    assert error.value.message == (
        f"tiny: the chat template refuses this conversation: it shows one problem, and the conversation has {what}"
    )


def test_where_template_and_model_disagree_the_end_that_is_drawn_is_trained():
    made = ChatTokenizer(tokenizer(CHATML, eos="<|end|>"), "tiny", (261,))
    drawn, written = made.hf.convert_ids_to_tokens(261), "<|im_end|>"
    assert made.end_ids == (261, made.hf.convert_tokens_to_ids(written))
    assert made.demonstration_ids("4")[-1] == 261
    assert made.note == (
        f"tiny: the chat template ends a turn with '{written}' ({made.end_ids[1]}), generation_config.json with "
        f"'{drawn}' (261); both end a draw, which keeps its own, and demonstrations end with '{drawn}' (261), the one "
        "that is drawn"
    )
    assert chat(CHATML).note is None
    # So has a user who names it as a stop.
    kept = ChatTokenizer(tokenizer(CHATML, eos="<|end|>"), "tiny", (261,), stops=(made.end_ids[1],))
    assert (kept.note, kept.end_ids) == (None, (made.end_ids[1], 261))
    # A recipe that names the template's end as the tokenizer's has settled it.
    assert chat(CHATML, eos="<|im_end|>", extra=(3,)).note is None


def test_a_prompt_template_with_a_syntax_error_is_one_line():
    with pytest.raises(UserError) as error:
        chat("{{ problem }}{% if %}")
    assert error.value.message.startswith("tiny: the chat template refuses this conversation: ")


def test_half_a_surrogate_pair_in_a_tool_fails_the_row():
    template = "{% if tools %}{{ tools[0]['name'] }}{% endif %}" + CHATML
    with pytest.raises(UserError, match=r"the chat template refuses this conversation: .* surrogates not allowed"):
        chat(template).prompt_ids(TALK, '[{"name": "\\ud800"}]')
