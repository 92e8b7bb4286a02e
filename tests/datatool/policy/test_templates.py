"""Chat templates by name, from a file, and prompt templates; stops that are one token."""

import pytest

from mindgap_data.errors import UserError
from mindgap_data.policy.models import ModelSpec, load_tokenizer
from mindgap_data.policy.templates import installed_template, read_chat_template, read_prompt_template
from templates import axolotl_templates
from tiny import save_tiny_tokenizer


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_name_is_axolotls_template_and_a_file_goes_before_it(tmp_path):
    templates = axolotl_templates()
    if not templates:
        pytest.skip("axolotl is not installed")
    assert read_chat_template("qwen_25") == templates["qwen_25"]
    (tmp_path / "qwen_25").write_text("{{ own }}")
    assert read_chat_template("qwen_25") == "{{ own }}"


def test_what_is_neither_a_file_nor_a_name():
    with pytest.raises(UserError) as error:
        read_chat_template("no_such")
    start = "--chat-template no_such: no such file, and no template has this name; known names: "
    assert error.value.message.startswith(start)
    with pytest.raises(UserError) as error:
        read_chat_template("no/such.jinja")
    assert (
        error.value.message
        == "no/such.jinja: the chat template cannot be read: [Errno 2] No such file or directory: 'no/such.jinja'"
    )
    assert installed_template("../chatml") is None


def test_a_prompt_template_is_text_or_a_file(tmp_path):
    (tmp_path / "prompt.jinja").write_text("Q: {{ problem }}")
    assert read_prompt_template("prompt.jinja") == read_prompt_template("Q: {{ problem }}") == "Q: {{ problem }}"
    with pytest.raises(UserError) as error:
        read_prompt_template("Q: {problem}")
    assert error.value.message == (
        "--prompt-template Q: {problem}: it must show {{ problem }}, and no messages; for a template of whole "
        "conversations use --chat-template"
    )


def test_a_stop_is_one_token(tmp_path):
    save_tiny_tokenizer(tmp_path / "tiny")
    made = load_tokenizer(ModelSpec(model="tiny", stops=("<|im_start|>",)))
    assert made.hf.convert_ids_to_tokens(list(made.end_ids)) == ["<|im_end|>", "<|im_start|>"]
    with pytest.raises(UserError) as error:
        load_tokenizer(ModelSpec(model="tiny", stops=("END",)))
    assert error.value.message == (
        "--stop 'END': 3 tokens of this tokenizer; a response ends with an id, so name a single token"
    )
