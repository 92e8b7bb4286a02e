"""Chat templates for tests: those of the installed Axolotl, and small ones with shapes that it has none of."""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SPECIAL = ["<|im_start|>", "<|im_end|>", "<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>"]
SPECIAL += ["<bos>", "<eos>", "<|eot_id|>"]

# The prompt opens a thought, and earlier ones are dropped, as in distills of DeepSeek R1.
OPENED = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}<|im_start|>assistant\n"
    "{{ m['content'].split('</think>')[-1] }}<|im_end|>{% else %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
# A channel for thoughts and one for the text, each with a header; the last turn ends otherwise, as in gpt-oss.
CHANNELS = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{% if m['thinking'] and loop.last %}<|start|>assistant<|channel|>analysis<|message|>{{ m['thinking'] }}<|end|>"
    "{% endif %}<|start|>assistant<|channel|>final<|message|>{{ m['content'] }}"
    "{{ '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}"
    "{% else %}<|start|>{{ m['role'] }}<|message|>{{ m['content'] }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
# Writes what its arguments and the date say.
ASKING = (
    "{{ strftime_now('%d %b %Y') }} {{ persona | default('nobody') }}\n{% for m in messages %}<|im_start|>"
    "{{ m['role'] }}{{ m['name'] }}\n{{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OWN = {"opened": OPENED, "channels": CHANNELS, "asking": ASKING}


def axolotl_templates() -> dict[str, str]:
    """Name -> text of every template in the installed Axolotl's folder, without importing it."""
    spec = find_spec("axolotl")
    folders = (
        [Path(folder) / "utils/chat_templates/templates" for folder in spec.submodule_search_locations or []]
        if spec
        else []
    )
    return {
        file.stem: file.read_text(encoding="utf-8") for folder in folders for file in sorted(folder.glob("*.jinja"))
    }


_MARKS = re.compile(r"<[|｜][^<>'\"{}]{1,40}[|｜]?>|<[a-z_]{2,20}\|>|\[\|[a-z]+\|\]|<(?:end|start)_of_turn>")


def marks_of(template: str) -> list[str]:
    """The special tokens that a template writes, as far as they look like one."""
    return list(dict.fromkeys(_MARKS.findall(template)))


def bytes_tokenizer(template: str | None, eos: str | None = "<eos>", marks: Sequence[str] = ()) -> Any:
    """Bytes 0..255, then the special tokens, and further ``marks``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    special = [*SPECIAL, *(mark for mark in marks if mark not in SPECIAL)]
    backend.add_special_tokens(special)
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=eos, bos_token="<bos>", additional_special_tokens=special
    )
    made.chat_template = template
    return made
