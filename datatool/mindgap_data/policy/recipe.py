"""What an Axolotl recipe says of the model it trains, so that this very model can rewrite its data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mindgap_data.errors import UserError, one_line
from mindgap_data.policy.templates import installed_template
from mindgap_data.yaml_file import YamlFile

# What Axolotl takes when the recipe is silent (axolotl.utils.schemas.config).
_DEFAULT_SEQUENCE_LEN = 512
_FALLBACK = "tokenizer_default_fallback_"


@dataclass(frozen=True)
class Recipe:
    """The policy of a recipe."""

    base_model: str  # hub name or folder
    revision: str | None = None  # revision_of_model
    adapter: str | None = None  # lora_model_dir: the adapter training starts from
    trained_adapter: str | None = None  # output_dir, once it holds an adapter: what training ended with
    tokenizer: str | None = None  # tokenizer_config
    chat_template: str | None = None  # Jinja text; None: the tokenizer's own
    fallback_template: str | None = None  # Jinja text for a tokenizer that has none
    template_arguments: Mapping[str, Any] = field(default_factory=dict)  # chat_template_kwargs
    sequence_len: int = _DEFAULT_SEQUENCE_LEN  # prompt + response, tokens
    special_tokens: Mapping[str, Any] = field(default_factory=dict)
    added_tokens: tuple[str, ...] = ()  # tokens
    trust_remote_code: bool = False
    load_in_4bit: bool = False
    load_in_8bit: bool = False
    dtype: str | None = None  # that training computes in, bfloat16, float16 or float32; None: Axolotl decides


def read_recipe(path: Path | str) -> Recipe:
    """Read an Axolotl YAML.

    Relative paths in it stand as they are: like Axolotl's, they are relative to the working folder.

    Raises:
        UserError: it is not there, not YAML, or a field cannot be used; names file:line.
    """
    document = YamlFile(Path(path), "recipe")
    base_model = document.text("base_model")
    if base_model is None:
        raise UserError(f"{path}: the recipe names no base_model")
    output_dir = document.text("output_dir")
    trained = output_dir is not None and (Path(output_dir) / "adapter_config.json").is_file()
    template, fallback = _templates(document)
    return Recipe(
        base_model=base_model,
        revision=document.text("revision_of_model"),
        adapter=document.text("lora_model_dir"),
        trained_adapter=output_dir if trained else None,
        tokenizer=document.text("tokenizer_config"),
        chat_template=template,
        fallback_template=fallback,
        template_arguments=_mapping(document, "chat_template_kwargs"),
        sequence_len=_sequence_len(document),
        special_tokens=_mapping(document, "special_tokens"),
        added_tokens=tuple(_text_list(document, "tokens")),
        trust_remote_code=document.flag("trust_remote_code"),
        load_in_4bit=document.flag("load_in_4bit"),
        load_in_8bit=document.flag("load_in_8bit"),
        dtype=_dtype(document),
    )


def _dtype(document: YamlFile) -> str | None:
    """What training computes in; Axolotl's ``auto``, its default, takes what the machine has."""
    asked = {name: document.values.get(field) for name, field in (("bfloat16", "bf16"), ("float16", "fp16"))}
    # "full" keeps optimizer states in it as well; bfloat16 and float16 are Axolotl's older names of the same.
    for name, value in asked.items():
        if value in (True, "full") or document.values.get(name) is True:
            return name
    return "float32" if asked["bfloat16"] is False else None


def _sequence_len(document: YamlFile) -> int:
    value = document.values.get("sequence_len")
    if value is None:
        return _DEFAULT_SEQUENCE_LEN
    if type(value) is not int or value < 2:
        raise document.error("sequence_len", f"must be a number of tokens, not {one_line(repr(value), 40)}")
    return value


def _mapping(document: YamlFile, name: str) -> Mapping[str, Any]:
    value = document.values.get(name) or {}
    if not isinstance(value, dict):
        raise document.error(name, f"must be a mapping, not {one_line(repr(value), 40)}")
    return value


def _text_list(document: YamlFile, name: str) -> list[str]:
    value = document.values.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise document.error(name, f"must be a list of texts, not {one_line(repr(value), 40)}")
    return value


def _templates(document: YamlFile) -> tuple[str | None, str | None]:
    """(template, fallback) as Jinja text, chosen as Axolotl does: a dataset's own, else the recipe's."""
    datasets = document.values.get("datasets") or []
    if not isinstance(datasets, list) or not all(isinstance(entry, dict) for entry in datasets):
        raise document.error("datasets", "must be a list of mappings")
    recipe = document.values
    # Axolotl reads a lone chat_template_jinja as chat_template: jinja.
    chosen = [_choice(entry) or _choice(recipe) for entry in datasets] or [_choice(recipe)]
    if any(choice != chosen[0] for choice in chosen):
        raise document.error(
            "datasets", "they have different chat templates; pass the one to rewrite with as --chat-template FILE"
        )
    name, jinja = chosen[0] or ("tokenizer_default", None)
    if name == "tokenizer_default":
        return None, None
    if name == "jinja":
        return _jinja(document, jinja), None
    if name.startswith(_FALLBACK):
        # The tokenizer most likely has its own, so a fallback that is not at hand is no error yet.
        return None, installed_template(name.removeprefix(_FALLBACK), ("axolotl",))
    template = installed_template(name, ("axolotl",))
    if template is None:
        raise document.error("chat_template", _no_template(name))
    system = document.text("default_system_message")
    if system and name == "chatml":
        template = template.replace("You are a helpful assistant.", system)
    return template, None


def _choice(options: Mapping[str, Any]) -> tuple[str, Any] | None:
    name, jinja = options.get("chat_template"), options.get("chat_template_jinja")
    if name:
        return str(name), jinja if name == "jinja" else None
    return ("jinja", jinja) if jinja else None


def _jinja(document: YamlFile, jinja: Any) -> str:
    if not isinstance(jinja, str) or not jinja.strip():
        raise document.error("chat_template", "jinja needs chat_template_jinja: the template's text, or its file")
    try:
        return Path(jinja).read_text(encoding="utf-8") if Path(jinja).is_file() else jinja
    except (OSError, ValueError) as error:
        if "{" in jinja:
            return jinja
        raise document.error("chat_template_jinja", f"{one_line(repr(jinja), 40)} cannot be read") from error


def _no_template(name: str) -> str:
    if find_spec("axolotl") is None:
        return f"{name} is a template of Axolotl's, which is not installed; install it, or pass --chat-template FILE"
    return f"Axolotl has no template named {one_line(repr(name), 40)}; pass --chat-template FILE"
