"""LoRA adapters on top of a model: loaded, exchanged for another one, and checked before either."""

from pathlib import Path
from typing import Any

from mindgap_data.errors import AdapterError, UserError, one_line

_WEIGHTS = "adapter_model.safetensors"


def apply_adapter(model: Any, adapter: str) -> Any:
    """``model`` with an adapter, from a folder or the hub, on top.

    Raises:
        AdapterError: it cannot be loaded.
        UserError: peft is missing.
    """
    try:
        from peft import PeftModel
    except ImportError as error:
        raise UserError("an adapter needs peft; run: pip install 'mindgap[transformers]'") from error
    try:
        return PeftModel.from_pretrained(model, adapter)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise AdapterError(f"adapter {adapter!r} cannot be loaded: {_first_line(error)}") from error


def exchange_adapter(model: Any, adapter: str) -> None:
    """Give a model that has an adapter another one in its place.

    Raises:
        AdapterError: it cannot be loaded; the model keeps the one it has.
    """
    old = model.active_adapter
    new = Path(adapter).name.replace(".", "-")  # a module's name has no dots
    try:
        loaded = model.load_adapter(adapter, adapter_name=new)
        # PEFT leaves what an adapter lacks as it was initialised, and what it has too much aside.
        if astray := [*loaded.missing_keys, *loaded.unexpected_keys]:
            raise ValueError(f"its weights do not fit the model, such as {astray[0]}")
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        if new in model.peft_config:
            model.delete_adapter(new)
            model.set_adapter(old)
        raise AdapterError(f"adapter {adapter!r} cannot be loaded: {_first_line(error)}") from error
    model.set_adapter(new)
    model.delete_adapter(old)
    model.eval()


def refuse_broken_adapter(folder: Path) -> None:
    """Look at an adapter's files before an engine does.

    Raises:
        AdapterError: they are not there, are torn, or hold a weight that is not a number.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not (folder / "adapter_config.json").is_file():
        raise AdapterError(f"adapter '{folder}' cannot be loaded: it has no adapter_config.json")
    try:
        weights = load_file(folder / _WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"adapter '{folder}' cannot be loaded: {_WEIGHTS}: {_first_line(error)}") from error
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise AdapterError(f"adapter '{folder}' cannot be used: {name} is not finite, so its training has diverged")


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return one_line(lines[0] if lines else error)
