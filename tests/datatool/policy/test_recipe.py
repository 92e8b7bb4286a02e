"""What a recipe says of the policy, and what is said of a recipe that cannot be read."""

import sys
from pathlib import Path

import pytest

from mindgap_data.errors import UserError
from mindgap_data.policy import recipe as recipe_module
from mindgap_data.policy import templates as templates_module
from mindgap_data.policy.recipe import Recipe, read_recipe


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text):
        Path("train.yaml").write_text(text)
        return Path("train.yaml")

    return write


def test_a_bare_recipe_trains_the_model_as_axolotl_would_by_default(write):
    assert read_recipe(write("base_model: org/model\n")) == Recipe(base_model="org/model", sequence_len=512)


def test_every_field(write):
    path = write(
        "base_model: org/model\nrevision_of_model: abc\ntokenizer_config: org/tok\nadapter: qlora\n"
        "lora_model_dir: ./lora\noutput_dir: ./out\nsequence_len: 4096\ntrust_remote_code: true\n"
        "load_in_4bit: true\nload_in_8bit: false\n"
        "special_tokens:\n  pad_token: <pad>\ntokens: [<a>, <b>]\nlearning_rate: 1e-4\n"
    )
    assert read_recipe(path) == Recipe(
        base_model="org/model",
        revision="abc",
        adapter="./lora",
        tokenizer="org/tok",
        sequence_len=4096,
        special_tokens={"pad_token": "<pad>"},
        added_tokens=("<a>", "<b>"),
        trust_remote_code=True,
        load_in_4bit=True,
    )


def test_the_trained_adapter_is_that_of_output_dir_once_it_is_there(write):
    path = write("base_model: m\nadapter: lora\noutput_dir: out\n")
    assert read_recipe(path).trained_adapter is None
    Path("out").mkdir()
    Path("out/adapter_config.json").write_text("{}")
    assert read_recipe(path).trained_adapter == "out"
    assert read_recipe(path).adapter is None


TEMPLATES = [
    ("", None),
    ("chat_template: tokenizer_default\n", None),
    ("chat_template: jinja\nchat_template_jinja: '{{ messages }}'\n", "{{ messages }}"),
    ("chat_template_jinja: '{{ messages }}'\n", "{{ messages }}"),
    ("chat_template: jinja\nchat_template_jinja: own.jinja\n", "{{ from_file }}"),
    ("chat_template: jinja\nchat_template_jinja: |\n" + "  {{ messages }}\n" * 500, "{{ messages }}\n" * 500),
    (
        "chat_template: tokenizer_default\ndatasets:\n  - chat_template: jinja\n    chat_template_jinja: '{{ d }}'\n",
        "{{ d }}",
    ),
    ("chat_template: jinja\nchat_template_jinja: '{{ r }}'\ndatasets:\n  - path: x\n  - path: y\n", "{{ r }}"),
]


@pytest.mark.parametrize(("text", "template"), TEMPLATES)
def test_chat_template(write, text, template):
    Path("own.jinja").write_text("{{ from_file }}")
    assert read_recipe(write("base_model: m\n" + text)).chat_template == template


@pytest.mark.parametrize("name", ["chatml", "llama3", "qwen3", "gemma3"])
def test_named_templates_are_axolotls(write, name):
    axolotl = pytest.importorskip("axolotl.utils.chat_templates", reason="axolotl is not installed")
    wanted = axolotl.get_chat_template(name)
    assert read_recipe(write(f"base_model: m\nchat_template: {name}\n")).chat_template == wanted
    fallback = read_recipe(write(f"base_model: m\nchat_template: tokenizer_default_fallback_{name}\n"))
    assert (fallback.chat_template, fallback.fallback_template) == (None, wanted)


def test_a_named_template_without_axolotl(write, monkeypatch):
    for module in (recipe_module, templates_module):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError) as error:
        read_recipe(write("base_model: m\nchat_template: chatml\n"))
    assert error.value.message == (
        "train.yaml:2: chat_template: chatml is a template of Axolotl's, which is not installed; install it, "
        "or pass --chat-template FILE"
    )
    fallback = read_recipe(write("base_model: m\nchat_template: tokenizer_default_fallback_chatml\n"))
    assert fallback.fallback_template is None


@pytest.mark.parametrize(
    ("lines", "dtype"),
    [
        ("", None),
        ("bf16: auto", None),
        ("bf16: true", "bfloat16"),
        ("bf16: full", "bfloat16"),
        ("bfloat16: true", "bfloat16"),
        ("bf16: false\nfp16: true", "float16"),
        ("bf16: false\nfp16: false", "float32"),
    ],
)
def test_what_training_computes_in(write, lines, dtype):
    assert read_recipe(write(f"base_model: m\n{lines}\n")).dtype == dtype


BAD = [
    ("", "train.yaml: the recipe is not a YAML mapping of fields"),
    ("- a\n", "train.yaml: the recipe is not a YAML mapping of fields"),
    ("adapter: lora\n", "train.yaml: the recipe names no base_model"),
    ("base_model:\n", "train.yaml: the recipe names no base_model"),
    ("a: 1\nbase_model: [m]\n", "train.yaml:2: base_model: must be text, not ['m']"),
    ("base_model: m\nb: [1\n", "train.yaml:3: the recipe is not YAML: expected ',' or ']', but got '<stream end>'"),
    (
        "base_model: m\n\tx: 1\n",
        "train.yaml:2: the recipe is not YAML: found character '\\t' that cannot start any token",
    ),
    (
        "base_model: !!python/name:os.system x\n",
        "train.yaml:1: the recipe is not YAML: could not determine a constructor "
        "for the tag 'tag:yaml.org,2002:python/name:os.system'",
    ),
    ("base_model: m\nsequence_len: long\n", "train.yaml:2: sequence_len: must be a number of tokens, not 'long'"),
    ("base_model: m\nsequence_len: 0\n", "train.yaml:2: sequence_len: must be a number of tokens, not 0"),
    ("base_model: m\nload_in_4bit: maybe\n", "train.yaml:2: load_in_4bit: must be true or false, not 'maybe'"),
    ("base_model: m\nspecial_tokens: x\n", "train.yaml:2: special_tokens: must be a mapping, not 'x'"),
    ("base_model: m\ntokens: x\n", "train.yaml:2: tokens: must be a list of texts, not 'x'"),
    ("base_model: m\ndatasets: x\n", "train.yaml:2: datasets: must be a list of mappings"),
    (
        "base_model: m\nchat_template: jinja\n",
        "train.yaml:2: chat_template: jinja needs chat_template_jinja: the template's text, or its file",
    ),
    (
        "base_model: m\ndatasets:\n  - chat_template: chatml\n  - chat_template: llama3\n",
        "train.yaml:2: datasets: "
        "they have different chat templates; pass the one to rewrite with as --chat-template FILE",
    ),
]


@pytest.mark.parametrize(("text", "error"), BAD)
def test_bad_recipes(write, text, error):
    with pytest.raises(UserError) as raised:
        read_recipe(write(text))
    assert raised.value.message == error


@pytest.mark.parametrize("name", ["no_such", "../../x"])
def test_a_template_axolotl_does_not_have(write, name):
    pytest.importorskip("axolotl", reason="axolotl is not installed")
    with pytest.raises(UserError) as raised:
        read_recipe(write(f"base_model: m\nchat_template: {name}\n"))
    assert raised.value.message == (
        f"train.yaml:2: chat_template: Axolotl has no template named '{name}'; pass --chat-template FILE"
    )


def test_a_recipe_that_is_not_there(tmp_path):
    with pytest.raises(UserError) as raised:
        read_recipe(tmp_path / "no.yaml")
    assert raised.value.message == f"{tmp_path / 'no.yaml'}: the recipe cannot be read: No such file or directory"


def test_reading_a_recipe_imports_neither_axolotl_nor_torch(write):
    import subprocess

    path = write("base_model: m\nchat_template: chatml\n").resolve()
    code = (
        "import sys; from mindgap_data.policy.recipe import read_recipe\n"
        f"try: read_recipe({str(path)!r})\n"
        "except Exception as error: print(error)\n"
        "sys.exit(bool({'torch', 'axolotl'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
