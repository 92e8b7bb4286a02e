"""Opens the engine a run asks for; `auto` is vLLM where a CUDA device and vLLM are there, else transformers."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from mindgap_data.engines import Engine, Sampling
from mindgap_data.errors import UserError
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.policy.models import ModelSpec, load_tokenizer, resolve_model_path


@dataclass(frozen=True)
class EngineSettings:
    """Which engine runs the policy, and how."""

    engine: str = "auto"  # auto, transformers, vllm, openai
    batch_size: int = 16  # transformers: rows at a time
    max_context: int | None = None  # prompt + response, tokens; None: the model's own
    base_url: str | None = None  # openai: the server
    api_key: str | None = None
    concurrency: int | None = None  # openai: most requests in flight; None: as many as make the server faster
    timeout: float = 600.0  # openai: seconds a request
    engine_args: Mapping[str, Any] = field(default_factory=dict)  # passed to the engine as they are


@dataclass(frozen=True)
class Policy:
    """The model to be trained, and the engine that runs it."""

    spec: ModelSpec
    settings: EngineSettings
    sequence_len: int | None = None  # training length, tokens: plain prompt + response; None: the engine's context
    train_dtype: str | None = None  # what the recipe trains in, where it says so


@contextmanager
def running_engine(policy: Policy, sampling: Sampling, *, seed: int = 0, quiet: bool = False) -> Iterator[Engine]:
    """The policy in its engine, closed at the end; unless ``quiet``, standard error says which it is.

    Raises:
        UserError: the model, the engine's package or the server cannot be had.
    """
    name, why = choose_engine(policy.settings)
    if not quiet:
        print(f"engine {name} ({why}), model {policy.spec.model}", file=sys.stderr)
    engine = open_engine(policy.spec, sampling, policy.settings, seed=seed)
    if not quiet and engine.tokenizer.note:
        print(engine.tokenizer.note, file=sys.stderr)
    try:
        yield engine
    finally:
        engine.close()


def choose_engine(settings: EngineSettings) -> tuple[str, str]:
    """The engine's name and why it was chosen."""
    if settings.engine != "auto":
        return settings.engine, "as asked"
    if settings.base_url:
        return "openai", "a --base-url was given"
    if find_spec("vllm") is None:
        return "transformers", "vLLM is not installed"
    if not _cuda_available():
        return "transformers", "there is no CUDA device"
    return "vllm", "vLLM and a CUDA device are here"


def open_engine(
    spec: ModelSpec,
    sampling: Sampling,
    settings: EngineSettings,
    *,
    seed: int = 0,
    tokenizer: ChatTokenizer | None = None,
) -> Engine:
    """Load the policy into its engine.

    Raises:
        UserError: the model, the engine's package or the server cannot be had.
    """
    name, _ = choose_engine(settings)
    tokenizer = tokenizer or load_tokenizer(spec)
    if name == "vllm":
        return _open_vllm(spec, sampling, settings, seed, tokenizer)
    if name == "openai":
        return _open_openai(spec, sampling, settings, tokenizer)
    from mindgap_data.engines.transformers import TransformersEngine

    _refuse_engine_args(settings)
    return TransformersEngine(
        spec,
        tokenizer=tokenizer,
        sampling=sampling,
        max_context=settings.max_context,
        batch_size=settings.batch_size,
    )


def _open_vllm(
    spec: ModelSpec, sampling: Sampling, settings: EngineSettings, seed: int, tokenizer: ChatTokenizer
) -> Engine:
    if spec.load_options.get("load_in_8bit"):
        raise UserError("the recipe trains an 8-bit model, which vLLM does not quantise to; use --engine transformers")
    if find_spec("vllm") is None:
        raise UserError(
            "--engine vllm: vLLM is not installed; run: pip install 'mindgap[vllm]', or --engine transformers"
        )
    # A QLoRA recipe's policy is the 4-bit model.
    quantized = {"quantization": "bitsandbytes"} if spec.load_options.get("load_in_4bit") else {}
    from mindgap_data.engines.vllm import VllmEngine

    return VllmEngine(
        resolve_model_path(spec.model),
        tokenizer=tokenizer,
        sampling=sampling,
        adapter=spec.adapter,
        revision=spec.revision,
        max_context=settings.max_context,
        dtype=None if spec.dtype == "auto" else spec.dtype,
        seed=seed,
        engine_args={**quantized, **settings.engine_args},
    )


def _open_openai(spec: ModelSpec, sampling: Sampling, settings: EngineSettings, tokenizer: ChatTokenizer) -> Engine:
    if settings.base_url is None:
        raise UserError("--engine openai needs --base-url, for example --base-url http://localhost:8000/v1")
    if find_spec("openai") is None:
        raise UserError("--engine openai: the client is not installed; run: pip install 'mindgap[openai]'")
    from mindgap_data.engines.server.engine import OpenAIEngine

    return OpenAIEngine(
        settings.base_url,
        spec.model,
        tokenizer=tokenizer,
        sampling=sampling,
        max_context=settings.max_context,
        api_key=settings.api_key,
        concurrency=settings.concurrency,
        timeout=settings.timeout,
        engine_args=settings.engine_args,
    )


def _refuse_engine_args(settings: EngineSettings) -> None:
    if settings.engine_args:
        names = ", ".join(settings.engine_args)
        raise UserError(
            f"--engine-arg {names}: the transformers engine takes none; see --device, --dtype, --batch-size"
        )


def _cuda_available() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()
