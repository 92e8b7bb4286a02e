"""Starting vLLM: the arguments that make its log-probs what the record says, the adapter, and what it raises."""

import dataclasses
import json
import multiprocessing
import os
import threading
from collections.abc import Mapping
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from mindgap_data.errors import AdapterError, UserError, one_line
from mindgap_data.policy.models import resolve_model_path

# What makes the log-probs and the stopping rule what the record says they are.
_OURS = ("model", "revision", "seed", "dtype", "logprobs_mode", "generation_config", "skip_tokenizer_init")
_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the ones vLLM has buffers for
_CPU_CACHE_BYTES = 4 * 2**30  # vLLM would otherwise take nearly all of the host's memory


def engine_arguments(
    model: str,
    revision: str | None,
    max_context: int | None,
    dtype: str | None,
    seed: int,
    adapter: str | None,
    engine_args: Mapping[str, Any],
) -> dict[str, Any]:
    """Arguments of vLLM's engine: ours, then what its user passes through.

    Raises:
        UserError: vLLM is missing, or one of ``engine_args`` is unknown or not the user's to set.
    """
    # A tool that reads private data sends no usage statistics, and shows its own progress.
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    try:
        from vllm.engine.arg_utils import EngineArgs
    except ImportError as error:
        raise UserError(
            f"--engine vllm: vLLM cannot be imported ({one_line(error)}); install it in an environment of its own: "
            "pip install 'mindgap[vllm]'"
        ) from error
    known = {field.name for field in dataclasses.fields(EngineArgs)}
    for name, value in engine_args.items():
        if name not in known:
            raise UserError(f"--engine-arg {name}: vLLM has no such engine argument; `vllm serve --help` lists them")
        if name in _OURS:
            raise UserError(f"--engine-arg {name}: this one is mindgap's own to set; leave it out")
        if name == "data_parallel_size" and value != 1:
            raise UserError(
                f"--engine-arg data_parallel_size={value}: vLLM runs one replica a process; start "
                f"`vllm serve MODEL --data-parallel-size {value} --logprobs-mode processed_logprobs` "
                "and use --engine openai with its address"
            )
    cpu = on_cpu()
    arguments: dict[str, Any] = {
        "model": resolve_model_path(model),
        "revision": revision,
        "seed": seed,
        "dtype": ("float32" if cpu else "auto") if dtype in (None, "auto") else dtype,
        "logprobs_mode": "processed_logprobs",
        "generation_config": "vllm",  # not the model's own sampling defaults
        "skip_tokenizer_init": True,
        "enable_prefix_caching": True,  # the draws of one prompt share its keys and values
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if max_context is not None:
        arguments["max_model_len"] = min(max_context + 1, _own_context(arguments, max_context))
    if cpu:
        # vLLM 0.32 rewinds a seeded draw whose prompt it has cut into chunks, which a CPU generator cannot.
        arguments["enable_chunked_prefill"] = False
        if "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
            arguments["kv_cache_memory_bytes"] = _CPU_CACHE_BYTES
    if adapter is not None:
        arguments |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": _lora_rank(_adapter_folder(adapter))}
    return arguments | dict(engine_args)


def _own_context(arguments: Mapping[str, Any], max_context: int) -> int:
    """The model's own longest context, as vLLM reads it from its configuration."""
    from vllm.config import ModelConfig

    try:
        return int(ModelConfig(**{name: arguments[name] for name in ("model", "revision", "dtype")}).max_model_len)
    except (ValueError, OSError):
        return max_context + 1  # starting the engine says what is wrong


def start_engine(arguments: Mapping[str, Any], model: str) -> Any:
    """vLLM's engine, which raises instead of waiting when one of its processes is killed.

    Raises:
        UserError: it cannot start.
    """
    from vllm import LLM

    faults: tuple[type[Exception], ...] = (TypeError, OSError, RuntimeError, *request_errors())
    before = set(multiprocessing.active_children())
    try:
        engine = LLM(**arguments).llm_engine
        _watch(engine, [child.sentinel for child in set(multiprocessing.active_children()) - before])
        return engine
    except faults as error:
        raise UserError(
            f"--engine vllm cannot start {model!r}: {one_line(error)}; if memory is short, lower --max-context or "
            "set --engine-arg gpu_memory_utilization=0.8"
        ) from error


def _watch(engine: Any, sentinels: list[int]) -> None:
    """Wake a step that waits for a process which was killed; vLLM (0.32) would wait for its output for ever."""
    from vllm.v1.engine.exceptions import EngineDeadError

    outputs = getattr(engine.engine_core, "outputs_queue", None)
    if outputs is None or not sentinels:  # vLLM runs in this process
        return

    def watch() -> None:
        wait(sentinels)
        outputs.put_nowait(EngineDeadError())

    threading.Thread(target=watch, name="mindgap-vllm-watch", daemon=True).start()


def load_adapter(engine: Any, adapter: str, number: int) -> Any:
    """The LoRA request that goes with every request, loaded now so that a broken adapter shows at once.

    Args:
        engine: vLLM's.
        adapter: folder or hub name.
        number: from 1, another one for each adapter of this engine.

    Raises:
        AdapterError: vLLM cannot load it.
    """
    from vllm.lora.request import LoRARequest

    request = LoRARequest(f"policy-{number}", number, str(_adapter_folder(adapter)))
    try:
        loaded = engine.add_lora(request)
    except Exception as error:  # vLLM hands on whatever its worker raised
        raise AdapterError(f"adapter {adapter!r}: vLLM cannot load it: {one_line(error)}") from error
    if not loaded:
        raise AdapterError(f"adapter {adapter!r}: vLLM does not load it on this model")
    return request


def _adapter_folder(adapter: str) -> Path:
    if Path(adapter).is_dir():
        return Path(adapter)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(adapter))
    except (OSError, ValueError) as error:
        raise UserError(f"adapter {adapter!r} is neither a folder nor on the hub: {one_line(error)}") from error


def _lora_rank(folder: Path) -> int:
    """The smallest rank vLLM has buffers for that holds this adapter."""
    file = folder / "adapter_config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        ranks = [int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values())]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdapterError(f"{file}: not the configuration of a LoRA adapter; --adapter takes PEFT's folder") from error
    for rank in _LORA_RANKS:
        if rank >= max(ranks):
            return rank
    raise UserError(f"{file}: rank {max(ranks)} is above vLLM's limit of {_LORA_RANKS[-1]}; use --engine transformers")


def on_cpu() -> bool:
    """Whether vLLM computes on the CPU here."""
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def request_errors() -> tuple[type[Exception], ...]:
    """What vLLM raises when one request is at fault; its own class since 0.12."""
    import vllm.exceptions

    return (ValueError, getattr(vllm.exceptions, "VLLMClientError", ValueError))


def dead_errors() -> tuple[type[Exception], ...]:
    """What vLLM raises when its engine is gone: its own class, or the fault itself where it runs in this process."""
    from vllm.v1.engine.exceptions import EngineDeadError

    return (EngineDeadError, RuntimeError)
